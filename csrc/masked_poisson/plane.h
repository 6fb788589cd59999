// Planes of numbers with a margin around them.
#pragma once

#include <cstdint>

#include "masked_poisson/zeroed_memory.h"

namespace pydlx {

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// A plane of numbers, initially zero, with a margin of at least one row and 16 columns on every side, so that loops may
// access whole vectors and stencils one pixel beyond the edge.
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
