// A list of records in JSON text, read in blocks by several threads.
#include "json_records/json_records.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>

#include "json_records/json_text.h"

namespace py = pybind11;

namespace pydlx {
namespace {

constexpr int64_t kBlock = 256 << 10;        // bytes that are read at a time
constexpr int64_t kLargestRecord = 1 << 30;  // bytes
constexpr int kMostThreads = 16;
constexpr int64_t kPartsOfThread = 4;   // a thread that has to wait for a processor leaves its parts to the others
constexpr int64_t kBlocksOfPart = 4;    // at least
constexpr int64_t kBlocksSearched = 4;  // in which the next record must begin
constexpr int64_t kFirstRows = 256;     // for which there is room at first

// The text: bytes in memory, or an open file that is read where it is needed, never as a whole.
class Text {
 public:
  Text(const char* bytes, int64_t size) : bytes_(bytes), size_(size) {}
  Text(int file, int64_t size) : file_(file), size_(size) {}

  int64_t size() const { return size_; }

  // Copies bytes; returns how many there were.
  int64_t read(int64_t from, int64_t count, char* to) const {
    count = std::max<int64_t>(0, std::min(count, size_ - from));
    if (bytes_) {
      std::memcpy(to, bytes_ + from, count);
      return count;
    }
    int64_t done = 0;
    while (done < count) {
      const ssize_t got = pread(file_, to + done, count - done, from + done);
      if (got <= 0) break;  // the file became shorter, or cannot be read: the careful reader will say so
      done += got;
    }
    return done;
  }

 private:
  const char* bytes_ = nullptr;
  int file_ = -1;
  int64_t size_;
};

// A piece of the text that ends with 0, moved along it. A value that is cut at the end is read again with what follows.
class Window {
 public:
  Window(const Text& text, int64_t from, int64_t block) : text_(text), from_(from), block_(block) { grow(); }

  const char* p = nullptr;  // the next byte

  int64_t place() const { return from_ + (p - buffer_.data()); }
  bool at_end() const { return p == buffer_.data() + size_; }

  // Drops everything before a byte and reads on, a block or as much as there is already. False at the end of the text.
  bool read_on(const char* keep) {
    const int64_t dropped = keep - buffer_.data();
    std::memmove(buffer_.data(), keep, size_ - dropped);
    from_ += dropped;
    size_ -= dropped;
    return grow();
  }

 private:
  bool grow() {
    if (size_ > kLargestRecord) return false;
    const int64_t more = std::max(block_, size_);
    if (size_ + more + 1 > room_) {
      room_ = size_ + more + 1;
      buffer_.resize(room_);
    }
    const int64_t got = text_.read(from_ + size_, more, buffer_.data() + size_);
    size_ += got;
    buffer_.data()[size_] = '\0';
    p = buffer_.data();
    return got > 0;
  }

  const Text& text_;
  Bytes buffer_;
  int64_t from_, size_ = 0, room_ = 0;
  const int64_t block_;
};

// Reads records one after the other into columns.
class Reader {
 public:
  // `end` is where the list ends at the latest, of which the rows are to go into these columns.
  Reader(const Text& text, const std::vector<Field>& fields, int64_t from, int64_t end, int64_t block)
      : columns(fields), fields_(fields), from_(from), end_(end), window_(text, from, block) {}

  // Reads records from one that begins here until one begins at `limit` or later, or the list ends. False if one of
  // them is not plain.
  bool records(int64_t limit) {
    for (;;) {
      if (window_.place() >= limit) return true;
      const char* start = window_.p;
      const Masks::Mark mark = columns.masks.mark();
      if (columns.full()) columns.reserve(expected_rows());
      if (record_and_comma()) {
        columns.next_row();
        if (ended_) return true;
        continue;
      }
      columns.masks.back_to(mark);
      if (!window_.at_end() || !window_.read_on(start)) return false;
    }
  }

  // Reads the bracket at which a list begins, and the one at which it ends if it is empty.
  bool opening() {
    for (;;) {
      const char* start = window_.p;
      if (take(window_.p, '[')) {
        skip_spaces(window_.p);
        if (!window_.at_end()) {
          ended_ = take(window_.p, ']');
          return true;
        }
      }
      if (!window_.at_end() || !window_.read_on(start)) return false;
    }
  }

  int64_t place() const { return window_.place(); }
  bool ended() const { return ended_; }

  Columns columns;

 private:
  bool record_and_comma() {
    const char*& p = window_.p;
    if (!record(p)) return false;
    skip_spaces(p);
    if (*p == ']') {
      ++p;
      ended_ = true;
      return true;
    }
    if (!take(p, ',')) return false;
    skip_spaces(p);
    return *p == '{';
  }

  bool record(const char*& p) {
    if (!take(p, '{')) return false;
    uint64_t seen = 0;
    size_t turn = 0;
    if (!take(p, '}')) {
      do {
        const int field = key(p, turn++);
        if (field == kNoKey || !take(p, ':')) return false;
        skip_spaces(p);
        if (field == kUnknown) {
          if (!skip_value(p)) return false;
          continue;
        }
        const uint64_t bit = uint64_t{1} << field;
        if (seen & bit || !value(p, field)) return false;
        seen |= bit;
      } while (take(p, ','));
      if (!take(p, '}')) return false;
    }
    for (size_t field = 0; field < fields_.size(); ++field) {
      if (!(seen >> field & 1) && !columns.fill_absent(field)) return false;
    }
    return true;
  }

  // The field that a key stands for. Most records have the same keys in the same order, so that of the record before is
  // tried first.
  int key(const char*& p, size_t turn) {
    if (!take(p, '"')) return kNoKey;
    const char* name = p;
    while (*p != '"') {
      if (static_cast<unsigned char>(*p) < 0x20 || *p == '\\') return kNoKey;
      ++p;
    }
    const auto length = static_cast<size_t>(p - name);
    ++p;
    if (turn < order_.size() && is(order_[turn], name, length)) return order_[turn];
    int field = kUnknown;
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (is(static_cast<int>(i), name, length)) field = static_cast<int>(i);
    }
    if (turn >= order_.size()) order_.resize(turn + 1, kUnknown);
    order_[turn] = field;
    return field;
  }

  bool is(int field, const char* name, size_t length) const {
    if (field < 0) return false;
    const std::string& wanted = fields_[field].name;
    return wanted.size() == length && std::memcmp(wanted.data(), name, length) == 0;
  }

  bool value(const char*& p, int field) {
    const Field& it = fields_[field];
    switch (it.kind) {
      case Kind::kInteger:
        return take_integer(p, *columns.at<int64_t>(field));
      case Kind::kNumber:
        if (*p == 'n' && !it.needed) return take_word(p, "null") && columns.fill_absent(field);
        return take_number(p, *columns.at<double>(field));
      case Kind::kFlag:
        return flag(p, *columns.at<char>(field));
      case Kind::kCount:
        if (*p == 'n') return take_word(p, "null") && columns.fill_absent(field);
        return count(p, *columns.at<int64_t>(field));
      case Kind::kNumbers:
        if (*p == 'n') return take_word(p, "null") && columns.fill_absent(field);
        return numbers(p, it.width, columns.at<double>(field)) || (empty_array(p) && columns.fill_absent(field));
      case Kind::kMask:
        return mask(p, *columns.at<char>(field));
    }
    return false;
  }

  static bool flag(const char*& p, char& value) {
    if (*p == 't' || *p == 'f') {
      value = *p == 't';
      return take_word(p, value ? "true" : "false");
    }
    int64_t number;
    if (!take_integer(p, number)) return false;
    value = number != 0;
    return true;
  }

  static bool count(const char*& p, int64_t& value) {
    return take_integer(p, value) && value >= 0 && value <= kLargestCount;
  }

  static bool numbers(const char*& p, int64_t width, double* values) {
    if (!take(p, '[')) return false;
    for (int64_t i = 0; i < width; ++i) {
      if (i && !take(p, ',')) return false;
      skip_spaces(p);
      if (!take_number(p, values[i])) return false;
    }
    return take(p, ']');
  }

  // Where `numbers` found the end of the array instead of the first number.
  static bool empty_array(const char*& p) {
    if (*p != ']') return false;
    const char* q = p - 1;
    while (*q == ' ' || *q == '\n' || *q == '\r' || *q == '\t') --q;
    if (*q != '[') return false;
    ++p;
    return true;
  }

  bool mask(const char*& p, char& kind) {
    Masks& masks = columns.masks;
    masks.sizes.insert(masks.sizes.end(), 2, 0);
    for (auto* counts : {&masks.polygons, &masks.codes, &masks.counts}) counts->push_back(0);
    kind = Masks::kPolygons;
    return *p == '[' ? polygons(p) : run_lengths(p, kind);
  }

  bool polygons(const char*& p) {
    ++p;
    do {
      if (!polygon(p)) return false;
    } while (take(p, ','));
    return take(p, ']');
  }

  bool polygon(const char*& p) {
    if (!take(p, '[')) return false;
    std::vector<double>& points = columns.masks.points;
    const size_t before = points.size();
    do {
      double value;
      skip_spaces(p);
      if (!take_number(p, value)) return false;
      points.push_back(value);
    } while (take(p, ','));
    const size_t added = points.size() - before;
    if (added < 6 || added % 2) return false;
    columns.masks.corners.push_back(static_cast<int64_t>(added / 2));
    ++columns.masks.polygons.back();
    return take(p, ']');
  }

  bool run_lengths(const char*& p, char& kind) {
    if (!take(p, '{')) return false;
    bool has_size = false, has_counts = false;
    do {
      if (!take(p, '"')) return false;
      if (!has_size && *p == 's') {
        has_size = true;
        if (!take_word(p, "size\"") || !take(p, ':') || !size(p)) return false;
      } else if (!has_counts && *p == 'c') {
        has_counts = true;
        if (!take_word(p, "counts\"") || !take(p, ':') || !counts(p, kind)) return false;
      } else {
        return false;
      }
    } while (take(p, ','));
    return has_size && has_counts && take(p, '}');
  }

  bool size(const char*& p) {
    int64_t* both = &columns.masks.sizes[columns.masks.sizes.size() - 2];
    if (!take(p, '[')) return false;
    skip_spaces(p);
    if (!count(p, both[0]) || !take(p, ',')) return false;
    skip_spaces(p);
    return count(p, both[1]) && take(p, ']');
  }

  bool counts(const char*& p, char& kind) {
    skip_spaces(p);
    if (*p == '"') {
      kind = Masks::kCode;
      return code(++p);
    }
    kind = Masks::kCounts;
    if (!take(p, '[')) return false;
    if (take(p, ']')) return true;
    Masks& masks = columns.masks;
    do {
      int64_t length;
      skip_spaces(p);
      if (!count(p, length)) return false;
      masks.lengths.push_back(length);
      ++masks.counts.back();
    } while (take(p, ','));
    return take(p, ']');
  }

  // The characters of a string; of escapes only that of the backslash, which COCO's codes have.
  bool code(const char*& p) {
    Masks& masks = columns.masks;
    const size_t before = masks.code.size();
    for (; *p != '"'; ++p) {
      if (*p == '\\' && *++p != '\\') return false;
      const auto c = static_cast<unsigned char>(*p);
      if (c < 0x20 || c >= 0x80) return false;
      masks.code.push_back(*p);
    }
    ++p;
    masks.codes.back() = static_cast<int64_t>(masks.code.size() - before);
    return true;
  }

  static constexpr int kUnknown = -1, kNoKey = -2;

  // How many there will be if the others are as long as those so far. Memory that nothing is written to costs nothing,
  // so too much is better than moving what is there.
  int64_t expected_rows() const {
    if (columns.rows() < kFirstRows) return kFirstRows;
    const double share = static_cast<double>(end_ - from_) / static_cast<double>(window_.place() - from_);
    return static_cast<int64_t>(1.05 * share * static_cast<double>(columns.rows())) + kFirstRows;
  }

  const std::vector<Field>& fields_;
  const int64_t from_, end_;
  Window window_;
  std::vector<int> order_;  // the fields of the last record's keys
  bool ended_ = false;      // the list
};

// Where a record seems to begin after a place: at the brace after "}, ". -1 if there is none near.
int64_t next_record(const Text& text, int64_t from, int64_t searched) {
  Bytes bytes;
  bytes.resize(searched);
  const int64_t size = text.read(from, searched, bytes.data());
  const char* found = bytes.data();
  for (int64_t i = 0; i < size; ++i) {
    if (found[i] != '}') continue;
    bool comma = false;
    for (int64_t next = i + 1; next < size; ++next) {
      const char c = found[next];
      if (c == '{' && comma) return from + next;
      if (c == ',' && !comma) {
        comma = true;
      } else if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
        break;
      }
    }
  }
  return -1;
}

struct Part {
  std::unique_ptr<Reader> reader;
  bool plain = false;
};

struct List {
  Columns columns;
  int64_t end;  // the byte after its bracket
};

// Where the parts of the list begin that are read one by one, but for the first.
std::vector<int64_t> starts_of(const Text& text, int64_t from, int64_t parts, int64_t block) {
  const int64_t size = text.size() - from;
  parts = std::min(parts, size / (kBlocksOfPart * block));
  std::vector<int64_t> starts;
  for (int64_t i = 1; i < parts; ++i) {
    const int64_t found = next_record(text, from + size / parts * i, kBlocksSearched * block);
    if (found >= 0 && (starts.empty() || found > starts.back())) starts.push_back(found);
  }
  return starts;
}

// Puts together what the threads read. Each began where a record seemed to begin; that one does is known once the
// thread before has come to this very place. If not, `misled` is set.
std::optional<List> joined(std::vector<Part>& parts, const std::vector<int64_t>& starts, bool& misled) {
  if (!parts[0].plain) return std::nullopt;
  List list{std::move(parts[0].reader->columns), 0};
  for (size_t i = 0;; ++i) {
    const Reader& reader = *parts[i].reader;
    list.end = reader.place();
    if (reader.ended()) return list;
    if (i == starts.size()) return std::nullopt;
    misled = list.end != starts[i];
    if (misled || !parts[i + 1].plain) return std::nullopt;
    list.columns.append(parts[i + 1].reader->columns);
  }
}

// Reads the list of records that begins at a place.
std::optional<List> read_list(const Text& text, const std::vector<Field>& fields, int64_t from, int threads,
                              int64_t block) {
  const std::vector<int64_t> starts = starts_of(text, from, threads > 1 ? threads * kPartsOfThread : 1, block);
  std::vector<Part> parts(starts.size() + 1);
  const auto read = [&](size_t i) {
    try {
      Part& part = parts[i];
      const int64_t limit = i < starts.size() ? starts[i] : text.size();
      // The first one makes room for what the others read, too.
      part.reader = i ? std::make_unique<Reader>(text, fields, starts[i - 1], limit, block)
                      : std::make_unique<Reader>(text, fields, from, text.size(), block);
      if (i == 0 && !part.reader->opening()) return;
      part.plain = part.reader->ended() || part.reader->records(limit);
    } catch (const std::bad_alloc&) {
      parts[i].plain = false;
    }
  };
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < parts.size(); i = next++) read(i);
  };
  std::vector<std::thread> others;
  try {
    for (int i = 1; i < std::min<int>(threads, static_cast<int>(parts.size())); ++i) others.emplace_back(work);
  } catch (const std::system_error&) {  // no more threads are to be had, and those that there are do it all
  }
  work();
  for (auto& thread : others) thread.join();
  bool misled = false;
  std::optional<List> list = joined(parts, starts, misled);
  return misled ? read_list(text, fields, from, 1, block) : std::move(list);
}

Text text_of(const py::object& source, int64_t size) {
  if (PyBytes_Check(source.ptr())) return {PyBytes_AS_STRING(source.ptr()), PyBytes_GET_SIZE(source.ptr())};
  return {source.cast<int>(), size};
}

py::object read_json_records(const py::object& source, int64_t size, int64_t start, const GivenFields& given,
                             int threads, int64_t block) {
  if (threads < 1 || block < 1) throw std::invalid_argument("threads and block must be positive");
  const std::vector<Field> fields = fields_of(given);
  const Text text = text_of(source, size);
  std::optional<List> list;
  if (start >= 0 && start < text.size()) {
    py::gil_scoped_release others;
    list = read_list(text, fields, start, std::min(threads, kMostThreads), block);
  }
  if (!list) return py::none();
  return py::make_tuple(arrays_of(list->columns, fields), list->end);
}

// Where the list begins that is the value of a key; -1 where there is no such key with a list.
int64_t find_list(const Text& text, const std::string& key) {
  const std::string wanted = '"' + key + '"';
  std::vector<char> block(kBlock + 1);
  for (int64_t from = 0;;) {
    const int64_t size = text.read(from, kBlock, block.data());
    block[size] = '\0';
    const size_t found = std::string_view(block.data(), size).find(wanted);
    if (found != std::string_view::npos) {
      if (found) {  // read again from there, with what follows
        from += static_cast<int64_t>(found);
        continue;
      }
      const char* p = block.data() + wanted.size();
      if (!take(p, ':')) return -1;
      skip_spaces(p);
      return *p == '[' ? from + (p - block.data()) : -1;
    }
    if (size < kBlock) return -1;
    from += size - static_cast<int64_t>(wanted.size());
  }
}

}  // namespace

void add_json_records(py::module_& module) {
  module.def(
      "read_json_records", &read_json_records, py::arg("source"), py::arg("size"), py::arg("start"), py::arg("fields"),
      py::arg("threads"), py::arg("block") = kBlock,
      "Columns of a list of records and where it ends, or None where it is not plain.\n\n"
      "source is bytes or the number of an open file of `size` bytes; the list begins at byte `start`.\n"
      "Each field has a name, a kind (integer, number, flag, count, numbers, mask), a width and whether it must\n"
      "be there.");
  module.def(
      "find_json_list",
      [](const py::object& source, int64_t size, const std::string& key) {
        const Text text = text_of(source, size);
        py::gil_scoped_release others;
        return find_list(text, key);
      },
      py::arg("source"), py::arg("size"), py::arg("key"),
      "The byte at which the list begins that is the first value of a key; -1 where there is none.");
}

}  // namespace pydlx
