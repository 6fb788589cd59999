// Zeroed memory for the masked Poisson solver, reused from one solve to the next.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "common/tensor_utils.h"

namespace pydlx {

// A cache of large freed blocks for the next solve, which would otherwise spend a quarter of its time on page faults.
// It keeps at most `kMost` bytes and frees the oldest blocks first.
class MemoryShelf {
 public:
  using Memory = std::unique_ptr<void, void (*)(void*)>;
  static constexpr size_t kLarge = size_t{1} << 20, kMost = size_t{96} << 20;

  // Never destroyed, because planes may live in threads that outlive static objects.
  static MemoryShelf& instance() {
    static MemoryShelf* shelf = new MemoryShelf;
    return *shelf;
  }

  // A block of exactly this size with its old contents; null if there is none.
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

// Fills memory with zeros, in parallel if it is large.
inline void clear(void* memory, size_t bytes) {
  constexpr int64_t kPiece = int64_t{1} << 16;
  const auto size = static_cast<int64_t>(bytes);
  parallel_for((size + kPiece - 1) / kPiece, 8, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(memory) + begin * kPiece, 0, std::min(size, end * kPiece) - begin * kPiece);
  });
}

// Allocates zeroed memory; large blocks use 2 MiB pages where available, because passes over several planes at once
// touch more 4 KiB pages than the TLB has entries.
inline void* allocate_zeros(size_t bytes) {
  if (bytes < kLargePage) return std::calloc(bytes, 1);
  const size_t whole = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  void* memory = std::aligned_alloc(kLargePage, whole);
  if (!memory) return nullptr;
  prefer_large_pages(memory, whole);
  clear(memory, bytes);
  return memory;
}

// Owns memory that is initially zero.
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

}  // namespace pydlx
