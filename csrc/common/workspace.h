// Scratch memory of CPU kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/pages.h"
#include "common/poison.h"

namespace pydlx {

// The most memory that a thread keeps for its next call.
constexpr int64_t kKeptWorkspaceBytes = int64_t{16} << 20;

// Uninitialised scratch memory while this object lives, aligned for any vector. A thread must not hold two at a time:
// unless it is large, the memory is the thread's own block, which the next Workspace reuses.
class Workspace {
 public:
  explicit Workspace(int64_t bytes) {
    Block& block = bytes > kKeptWorkspaceBytes ? own_ : kept();
    block.grow(bytes);
    data_ = block.data;
    poison(data_, bytes);
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  struct Block {
    size_t bytes = 0;
    std::byte* data = nullptr;

    Block() = default;
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { clear(); }

    void grow(int64_t wanted) {
      if (data && size_t(wanted) <= bytes) return;
      clear();
      data = PageAllocator<std::byte>().allocate(size_t(wanted));
      bytes = size_t(wanted);
    }

    void clear() {
      if (data) PageAllocator<std::byte>().deallocate(data, bytes);
      data = nullptr;
    }
  };

  static Block& kept() {
    thread_local Block block;
    return block;
  }

  Block own_;
  void* data_;
};

}  // namespace pydlx
