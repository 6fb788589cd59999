// Planes of numbers with room around them, and where their memory comes from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "common/tensor_utils.h"

namespace pydlx {

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Large pieces of memory that are done with, kept for the next solve: page by page from the system, they would cost
// it a quarter of its time. What is beyond `kMost` bytes goes back, the oldest first.
class MemoryShelf {
 public:
  using Memory = std::unique_ptr<void, void (*)(void*)>;
  static constexpr size_t kLarge = size_t{1} << 20, kMost = size_t{96} << 20;

  // Never destroyed, for planes may live in threads that outlast static objects.
  static MemoryShelf& instance() {
    static MemoryShelf* shelf = new MemoryShelf;
    return *shelf;
  }

  // A piece of exactly this size, as it was left; empty if there is none.
  Memory take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto piece = pieces_.begin(); piece != pieces_.end(); ++piece) {
      if (piece->first != bytes) continue;
      Memory found = std::move(piece->second);
      pieces_.erase(piece);
      total_ -= bytes;
      return found;
    }
    return {nullptr, &std::free};
  }

  void keep(size_t bytes, Memory memory) {
    const std::lock_guard<std::mutex> lock(mutex_);
    pieces_.emplace_back(bytes, std::move(memory));
    for (total_ += bytes; total_ > kMost; pieces_.pop_front()) total_ -= pieces_.front().first;
  }

 private:
  std::mutex mutex_;
  std::deque<std::pair<size_t, Memory>> pieces_;
  size_t total_ = 0;
};

// Fills memory with zeros, by all threads if it is large.
inline void clear(void* memory, size_t bytes) {
  constexpr int64_t kPiece = int64_t{1} << 16;
  const auto size = static_cast<int64_t>(bytes);
  parallel_for((size + kPiece - 1) / kPiece, 8, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(memory) + begin * kPiece, 0, std::min(size, end * kPiece) - begin * kPiece);
  });
}

// Zeros from the system, the large ones on 2 MiB pages where it has them: passes over several planes at once touch more
// small pages than the processor can keep the addresses of.
inline void* allocate_zeros(size_t bytes) {
  if (bytes < kLargePage) return std::calloc(bytes, 1);
  const size_t whole = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  void* memory = std::aligned_alloc(kLargePage, whole);
  if (!memory) return nullptr;
  prefer_large_pages(memory, whole);
  clear(memory, bytes);
  return memory;
}

// Memory that starts as zeros.
class ZeroedMemory {
 public:
  ZeroedMemory() = default;
  explicit ZeroedMemory(size_t bytes) : bytes_(bytes) {
    if (bytes >= MemoryShelf::kLarge) memory_ = MemoryShelf::instance().take(bytes);
    if (memory_) {
      clear(memory_.get(), bytes);
    } else {
      memory_.reset(allocate_zeros(bytes));
    }
    if (!memory_) throw std::bad_alloc();
  }
  ZeroedMemory(ZeroedMemory&&) = default;
  ZeroedMemory& operator=(ZeroedMemory&& other) {
    std::swap(bytes_, other.bytes_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~ZeroedMemory() {
    if (memory_ && bytes_ >= MemoryShelf::kLarge) MemoryShelf::instance().keep(bytes_, std::move(memory_));
  }

  void* get() const { return memory_.get(); }

 private:
  size_t bytes_ = 0;
  MemoryShelf::Memory memory_{nullptr, &std::free};
};

// A plane of numbers, zero until written, with at least one row and 16 columns of room on every side: loops may run
// over whole vectors and a stencil may look one pixel beyond the edge.
template <class T>
class Plane {
 public:
  Plane() = default;
  Plane(int64_t height, int64_t width)
      : pitch_(round_up(width, kRoom) + kRoom), memory_(((height + 2) * pitch_ + kRoom + kAlignment) * sizeof(T)) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    origin_ = reinterpret_cast<T*>((address + kAlignment - 1) / kAlignment * kAlignment) + pitch_ + kRoom;
  }

  T* row(int64_t i) { return origin_ + i * pitch_; }
  const T* row(int64_t i) const { return origin_ + i * pitch_; }

 private:
  static constexpr int64_t kRoom = 16, kAlignment = 64;
  int64_t pitch_ = 0;
  ZeroedMemory memory_;
  T* origin_ = nullptr;
};

}  // namespace pydlx
