// Finds the best pixels of a heat map on the CPU, with lanes over pixels. Included once per instruction set by
// decode_corners_cpu.cpp, which includes every header this needs.

#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Whether one of the pixels in the four vectors at `heat` is above `last`; NaN is.
template <class T>
__attribute__((always_inline)) inline bool any_above(const T* heat, const Vec<accumulate_t<T>>& last) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  const auto low = ~((load_wide(heat) <= last) & (load_wide(heat + L) <= last));
  const auto high = ~((load_wide(heat + 2 * L) <= last) & (load_wide(heat + 3 * L) <= last));
  return any(low | high);
}

// Offers pixels [begin, end) of a batch entry's heat map (C, H, W).
template <class T>
void offer_cells(const DecodeTask& task, const T* heat, int64_t begin, int64_t end, Ranking<accumulate_t<T>>& best) {
  using A = accumulate_t<T>;
  constexpr int64_t kStep = 4 * kVecLanes<A>;
  for (int64_t at = begin; at < end;) {
    const A last = best.last();
    if (last >= 0) {
      const Vec<A> lasts = splat(last);
      while (at + kStep <= end && !any_above(heat + at, lasts)) at += kStep;
    }
    for (const int64_t stop = std::min(end, at + kStep); at < stop; ++at) {
      if (may_rank_above(best.last(), static_cast<A>(heat[at]))) best.offer({cell_score(task, heat, at), at});
    }
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
