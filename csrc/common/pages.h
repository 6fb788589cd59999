// Allocation of large memory directly from the operating system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace pydlx {

constexpr size_t kLargePage = size_t{2} << 20;

// Asks the system to use 2 MiB pages for memory that has not been written yet. With 4 KiB pages, the page faults of the
// first writes to 32 MiB take longer than most kernels take to fill it.
inline void prefer_large_pages([[maybe_unused]] void* fresh, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  const auto begin = reinterpret_cast<uintptr_t>(fresh);
  const uintptr_t first = (begin + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t last = (begin + bytes) / kLargePage * kLargePage;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

// An allocator of memory aligned for any vector. Large blocks come from the system and return to it when freed, whereas
// glibc would keep freed blocks of up to 32 MiB once it has seen one of that size.
template <class T>
struct PageAllocator {
  using value_type = T;

  PageAllocator() = default;
  template <class Other>
  PageAllocator(const PageAllocator<Other>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
#ifdef __linux__
    if (bytes >= kLarge) {
      void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (pages == MAP_FAILED) throw std::bad_alloc();
      prefer_large_pages(pages, bytes);
      return static_cast<T*>(pages);
    }
#endif
    return static_cast<T*>(::operator new(bytes, kAlign));
  }

  void deallocate(T* memory, size_t count) {
#ifdef __linux__
    if (count * sizeof(T) >= kLarge) {
      munmap(memory, count * sizeof(T));
      return;
    }
#endif
    ::operator delete(memory, kAlign);
  }

  template <class Other>
  bool operator==(const PageAllocator<Other>&) const {
    return true;
  }

 private:
  static constexpr size_t kLarge = size_t{1} << 18;
  static constexpr std::align_val_t kAlign{64};
};

// A vector for tables of any size.
template <class T>
using Table = std::vector<T, PageAllocator<T>>;

}  // namespace pydlx
