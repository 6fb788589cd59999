// The text that records are read from, and the piece of it that is in memory.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "json_records/columns.h"

namespace pydlx {

constexpr int64_t kLargestRecord = 1 << 30;  // bytes

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

}  // namespace pydlx
