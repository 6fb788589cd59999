// Scratch memory of CPU kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "common/poison.h"

namespace pydlx {

// Work space of the calling thread, kept between calls and aligned for any vector.
inline void* thread_workspace(int64_t bytes) {
  constexpr size_t kAlign = 64;
  thread_local std::vector<char> buffer;
  if (buffer.size() < size_t(bytes) + kAlign) buffer = std::vector<char>(size_t(bytes) + kAlign);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  void* const aligned = reinterpret_cast<void*>((address + kAlign - 1) / kAlign * kAlign);
  poison(aligned, bytes);
  return aligned;
}

}  // namespace pydlx
