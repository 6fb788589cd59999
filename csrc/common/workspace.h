// Scratch memory of CPU kernels.
#pragma once

#include <cstdint>
#include <vector>

namespace pydlx {

// Work space of the calling thread, kept between calls and aligned for any vector.
inline void* thread_workspace(int64_t bytes) {
  constexpr size_t kAlign = 64;
  thread_local std::vector<char> buffer;
  if (buffer.size() < size_t(bytes) + kAlign) buffer = std::vector<char>(size_t(bytes) + kAlign);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  return reinterpret_cast<void*>((address + kAlign - 1) / kAlign * kAlign);
}

}  // namespace pydlx
