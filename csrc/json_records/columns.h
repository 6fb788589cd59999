// Records as columns: what the readers of JSON text and of loaded JSON fill.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "common/pages.h"

namespace pydlx {

enum class Kind {
  kInteger,  // int64; always there
  kNumber,   // float64; NaN where it is null or, if it need not be there, absent
  kFlag,     // an integer or a truth value, as bool; false where it is absent
  kCount,    // an integer from 0 to 2^31 - 1, as int64; -1 where it is null or absent
  kNumbers,  // so many float64; NaN where it need not be there and is null, empty or absent
  kPoints,   // so many x, y, v; as pairs of float64 x, y, and a second column of v
  kMask,     // a segmentation
};

struct Field {
  std::string name;
  Kind kind;
  int64_t width;  // of kNumbers and kPoints; 1 for the others
  bool needed;
};

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kLargestCount = (int64_t{1} << 31) - 1;

inline size_t item_size(Kind kind) { return kind == Kind::kFlag || kind == Kind::kMask ? 1 : 8; }

// Memory that grows where it lies if the system can do that, unlike a vector's: a table of 100 MB is not copied.
class Bytes {
  static constexpr size_t kLarge = 4 << 20;

 public:
  Bytes() = default;
  Bytes(Bytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Bytes& operator=(Bytes&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Bytes() { std::free(data_); }

  void resize(size_t size) {
    void* grown = std::realloc(data_, size ? size : 1);
    if (!grown) throw std::bad_alloc();
    data_ = static_cast<char*>(grown);
    if (size >= kLarge) prefer_large_pages(data_, size);
  }
  char* data() const { return data_; }
  char* release() { return std::exchange(data_, nullptr); }

 private:
  char* data_ = nullptr;
};

// What kMask keeps beside its column of kinds.
struct Masks {
  enum : char { kNone = 0, kPolygons = 1, kCode = 2, kCounts = 3 };

  std::vector<int64_t> sizes;                    // two for each record
  std::vector<int64_t> polygons, codes, counts;  // how many of each a record has
  std::vector<int64_t> corners;                  // of each polygon
  std::vector<double> points;
  std::vector<char> code;
  std::vector<int64_t> lengths;

  // How long everything was before a record that may have to be read again.
  struct Mark {
    size_t records, corners, points, code, lengths;
  };
  Mark mark() const { return {polygons.size(), corners.size(), points.size(), code.size(), lengths.size()}; }
  void back_to(const Mark& mark) {
    sizes.resize(2 * mark.records);
    polygons.resize(mark.records);
    codes.resize(mark.records);
    counts.resize(mark.records);
    corners.resize(mark.corners);
    points.resize(mark.points);
    code.resize(mark.code);
    lengths.resize(mark.lengths);
  }

  void append(const Masks& next) {
    join(sizes, next.sizes);
    join(polygons, next.polygons);
    join(codes, next.codes);
    join(counts, next.counts);
    join(corners, next.corners);
    join(points, next.points);
    join(code, next.code);
    join(lengths, next.lengths);
  }

 private:
  template <class T>
  static void join(std::vector<T>& all, const std::vector<T>& next) {
    all.insert(all.end(), next.begin(), next.end());
  }
};

class Columns {
 public:
  explicit Columns(const std::vector<Field>& fields) : fields_(&fields), data_(fields.size()), thirds_(fields.size()) {}

  int64_t rows() const { return rows_; }
  size_t row_size(size_t field) const {
    const Field& it = (*fields_)[field];
    return (it.kind == Kind::kPoints ? 2 : 1) * item_size(it.kind) * it.width;
  }
  // Of the second column of points; 0 for the others.
  size_t third_size(size_t field) const {
    const Field& it = (*fields_)[field];
    return it.kind == Kind::kPoints ? sizeof(double) * it.width : 0;
  }

  // The value of a field in the row that is being filled.
  template <class T>
  T* at(size_t field) {
    return reinterpret_cast<T*>(data_[field].data() + rows_ * row_size(field));
  }

  double* thirds_at(size_t field) {
    return reinterpret_cast<double*>(thirds_[field].data() + rows_ * third_size(field));
  }

  bool full() const { return rows_ == room_; }
  void reserve(int64_t rows) {
    for (size_t field = 0; field < data_.size(); ++field) {
      data_[field].resize(rows * row_size(field));
      if (third_size(field)) thirds_[field].resize(rows * third_size(field));
    }
    room_ = rows;
  }
  void next_row() { ++rows_; }

  // A value for a field that is not in the record; whether it may be absent.
  bool fill_absent(size_t field) {
    const Field& it = (*fields_)[field];
    if (it.needed) return false;
    switch (it.kind) {
      case Kind::kFlag:
        *at<char>(field) = 0;
        return true;
      case Kind::kCount:
        *at<int64_t>(field) = -1;
        return true;
      case Kind::kNumber:
      case Kind::kNumbers:
        for (int64_t i = 0; i < it.width; ++i) at<double>(field)[i] = kMissing;
        return true;
      default:
        return false;
    }
  }

  void append(Columns& next) {
    if (rows_ + next.rows_ > room_) reserve(rows_ + next.rows_);
    for (size_t field = 0; field < data_.size(); ++field) {
      if (next.rows_) std::memcpy(at<char>(field), next.data_[field].data(), next.rows_ * row_size(field));
      if (next.rows_ && third_size(field)) {
        std::memcpy(thirds_at(field), next.thirds_[field].data(), next.rows_ * third_size(field));
      }
      next.data_[field] = Bytes();
      next.thirds_[field] = Bytes();
    }
    rows_ += next.rows_;
    masks.append(next.masks);
    next.masks = Masks();
  }

  // Gives the memory of a field away, cut to the rows that there are; to be freed with std::free.
  char* release(size_t field) {
    data_[field].resize(rows_ * row_size(field));
    return data_[field].release();
  }
  char* release_thirds(size_t field) {
    thirds_[field].resize(rows_ * third_size(field));
    return thirds_[field].release();
  }

  Masks masks;

 private:
  const std::vector<Field>* fields_;
  std::vector<Bytes> data_, thirds_;
  int64_t rows_ = 0, room_ = 0;
};

}  // namespace pydlx
