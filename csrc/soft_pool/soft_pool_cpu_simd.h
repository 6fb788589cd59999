// SoftPool's arithmetic over lanes. Included once per instruction set by soft_pool_cpu.cpp, which includes every header
// this needs.
//
// A "lane" is one output of a run of outputs whose windows have the same shape: neighbours along W for a contiguous
// tensor (contiguous_simd.h; halves_simd.h for 2 x 2 windows), channels for a channels-last one (channels_last_simd.h).
// The taps of a run are pointers to lanes of inputs, so the functions here depend neither on layout nor on stride.
//
// The backward processes blocks of input rows. A block visits every window that covers it and accumulates in a fixed
// order in its own buffer, so no two threads write the same element and results do not depend on the number of threads.

namespace pydlx {
namespace PYDLX_SIMD {

// Outputs per run, a multiple of all vectors. Vectors may extend past the last output of a run: lane buffers are large
// enough, and the backward adds 0 there.
constexpr int64_t kLanes = 256;

// All values are taken relative to the peak m of the window, d_i = a_i - m (distance_below). With e_i = exp(d_i),
// S = sum e_i and the mean distance d = sum e_i d_i / S,  y = m + d  and  a_i - y = d_i - d, which loses no digits even
// if m is large.

// y of one window of kTaps > 1 elements per lane. The running maximum is compared with each further element; the
// smaller of the two is put aside in `lower`. The final maximum is the peak, whose weight is 1, so only kTaps - 1
// exponentials are needed. The comparisons are written such that a NaN ends up in exactly one of the two.
template <class A, bool kCareful, int64_t kTaps, class Cell>
__attribute__((always_inline)) inline Vec<A> pooled(const Cell& cell) {
  Vec<A> peak = cell(0), lower[kTaps];
#pragma GCC unroll 8
  for (int64_t t = 1; t < kTaps; ++t) {
    const Vec<A> a = cell(t), same = opaque<A>(peak);  // without `opaque`, g++ selects both by one comparison, slower
    lower[t] = same < a ? same : a;
    peak = a > peak ? a : peak;
  }
  Vec<A> total = splat(A(1)), mean_distance{};
#pragma GCC unroll 8
  for (int64_t t = 1; t < kTaps; ++t) {
    const Vec<A> distance = distance_below<A, kCareful>(lower[t], peak);
    const Vec<A> weight = exp_nonpositive<A>(distance);
    total += weight;
    mean_distance = t == 1 ? weight * distance : mean_distance + weight * distance;
  }
  return peak + mean_distance / total;
}

// One window per lane. kTaps is the number of taps, so that distances and weights stay in registers until they are
// used; with kTaps 0 the number is known only at run time, and they are recomputed.
template <class A, bool kCareful, int64_t kTaps>
struct Windows {
  Vec<A> peak, total{}, mean_distance{};
  Vec<A> distances[kTaps ? kTaps : 1], weights[kTaps ? kTaps : 1];

  // cell(t) returns the vector of elements of tap t.
  template <class Cell>
  __attribute__((always_inline)) Windows(const Cell& cell, int64_t tap_count) {
    const int64_t count = kTaps ? kTaps : tap_count;
    peak = cell(0);
#pragma GCC unroll 8
    for (int64_t t = 1; t < count; ++t) {
      const Vec<A> a = cell(t);
      peak = a > peak ? a : peak;
    }
#pragma GCC unroll 8
    for (int64_t t = 0; t < count; ++t) {
      const int64_t kept = kTaps ? t : 0;
      const Vec<A> distance = distance_below<A, kCareful>(cell(t), peak);
      const Vec<A> weight = exp_nonpositive<A>(distance);
      total = t == 0 ? weight : total + weight;
      mean_distance = t == 0 ? weight * distance : mean_distance + weight * distance;
      distances[kept] = distance;
      weights[kept] = weight;
    }
    mean_distance /= total;
  }

  __attribute__((always_inline)) std::pair<Vec<A>, Vec<A>> distance_and_weight(const A* tap, int64_t t) const {
    if constexpr (kTaps) return {distances[t], weights[t]};
    const Vec<A> distance = distance_below<A, kCareful>(load(tap), peak);
    return {distance, exp_nonpositive<A>(distance)};
  }

  // g w_i (1 + a_i - y), with scale = g / S; slope 0 gives the straight-through form g w_i.
  __attribute__((always_inline)) Vec<A> gradient(const Vec<A>& distance, const Vec<A>& weight, const Vec<A>& scale,
                                                 A slope) const {
    return scale * weight * (slope * distance + (A(1) - slope * mean_distance));
  }
};

// Computes y for the lanes of a run, in whole vectors.
template <class A, bool kCareful, int64_t kTaps>
inline void soft_pool_vectors(const A* const* taps, int64_t tap_count, int64_t lanes, A* y) {
  for (int64_t at = 0; at < lanes; at += kVecLanes<A>) {
    const auto cell = [&](int64_t t) { return load(taps[t] + at); };
    if constexpr (kTaps) {
      store(y + at, pooled<A, kCareful, kTaps>(cell));
    } else {
      const Windows<A, kCareful, 0> windows(cell, tap_count);
      store(y + at, Vec<A>(windows.peak + windows.mean_distance));
    }
  }
}

template <class A, bool kCareful>
inline void soft_pool_run(const A* const* taps, int64_t tap_count, int64_t lanes, A* y) {
  if (tap_count == 4) return soft_pool_vectors<A, kCareful, 4>(taps, tap_count, lanes, y);
  soft_pool_vectors<A, kCareful, 0>(taps, tap_count, lanes, y);
}

// The gradient of a run, at the places of its taps. With kAdd it is added in the lanes where `in_use` is not 0;
// otherwise every tap has its own places, which are written in all lanes. `probe` becomes nonzero if a window has a NaN
// or an infinite peak.
template <class A, bool kCareful, bool kAdd, int64_t kTaps>
inline void soft_pool_vectors_backward(const A* const* taps, A* const* places, int64_t tap_count, int64_t lanes,
                                       const A* grad, const A* in_use, A slope, Vec<A>& probe) {
  const int64_t count = kTaps ? kTaps : tap_count;
  for (int64_t at = 0; at < lanes; at += kVecLanes<A>) {
    const Windows<A, kCareful, kTaps> windows([&](int64_t t) { return load(taps[t] + at); }, tap_count);
    const Vec<A> scale = load(grad + at) / windows.total;
    const auto counts = load(in_use + at) != A(0);
    probe += counts ? windows.mean_distance - windows.mean_distance : splat(A(0));
#pragma GCC unroll 8
    for (int64_t t = 0; t < count; ++t) {
      const auto [d, e] = windows.distance_and_weight(taps[t] + at, t);
      const Vec<A> da = windows.gradient(d, e, scale, slope);
      A* place = places[t] + at;
      if constexpr (kAdd) {
        store(place, Vec<A>(load(place) + (counts ? da : splat(A(0)))));
      } else {
        store(place, da);
      }
    }
  }
}

template <class A, bool kCareful, bool kAdd>
inline void soft_pool_run_backward(const A* const* taps, A* const* places, int64_t tap_count, int64_t lanes,
                                   const A* grad, const A* in_use, A slope, Vec<A>& probe) {
  if (tap_count == 4) {
    return soft_pool_vectors_backward<A, kCareful, kAdd, 4>(taps, places, tap_count, lanes, grad, in_use, slope, probe);
  }
  soft_pool_vectors_backward<A, kCareful, kAdd, 0>(taps, places, tap_count, lanes, grad, in_use, slope, probe);
}

// Copies outputs to their destination. `probe` becomes nonzero if one is not finite: the fast version gives NaN also
// for infinities, so the careful version is then run, at no cost for finite outputs.
template <class A, class T>
inline void copy_out(const A* from, int64_t count, T* to, Vec<A>& probe) {
  if (count < kVecLanes<A>) {
    A rest = 0;
    for (int64_t i = 0; i < count; ++i) {
      rest += from[i] - from[i];
      to[i] = static_cast<T>(from[i]);
    }
    probe[0] += rest;
    return;
  }
  for (int64_t i = 0; i < count; i += kVecLanes<A>) {
    const int64_t at = std::min(i, count - kVecLanes<A>);  // the last vector overlaps the one before
    const Vec<A> value = load(from + at);
    probe += value - value;
    if constexpr (std::is_same_v<T, A>) {
      store(to + at, value);
    } else {
      for (int64_t l = at; l < at + kVecLanes<A>; ++l) to[l] = static_cast<T>(from[l]);
    }
  }
}

// Calls visit(r, d, h, inside) for the tap_rows(s) input rows (d, h) under output row (od, oh); some may lie outside.
template <class Visit>
__attribute__((always_inline)) inline void each_tap_row(const SoftPoolShape& s, int64_t od, int64_t oh,
                                                        const Visit& visit) {
  int64_t r = 0;
  for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
    const int64_t d = od * s.stride[0] - s.padding[0] + kd * s.dilation[0];
    const bool slice_inside = d >= 0 && d < s.in[0];
    for (int64_t kh = 0; kh < s.kernel[1]; ++kh, ++r) {
      const int64_t h = oh * s.stride[1] - s.padding[1] + kh * s.dilation[1];
      visit(r, d, h, slice_inside && h >= 0 && h < s.in[1]);
    }
  }
}

inline int64_t tap_rows(const SoftPoolShape& s) { return s.kernel[0] * s.kernel[1]; }

// Iterates over output rows in memory order.
struct RowCounter {
  const SoftPoolShape& s;
  int64_t plane, od, oh;

  RowCounter(const SoftPoolShape& shape, int64_t index)
      : s(shape), plane(index / (s.out[1] * s.out[0])), od(index / s.out[1] % s.out[0]), oh(index % s.out[1]) {}

  void advance() {
    if (++oh < s.out[1]) return;
    oh = 0;
    if (++od < s.out[0]) return;
    od = 0;
    ++plane;
  }
};

// Writes the rows of a block to `to`, their image or plane.
template <class A, class T>
inline void copy_block_out(const SoftPoolShape& s, const SoftPoolBlock& block, const A* sums, int64_t row_size, T* to) {
  for (int64_t slot = 0; slot < block.rows(); ++slot) {
    T* row = to + block.row(s, slot) * row_size;
    for (int64_t i = 0; i < row_size; ++i) row[i] = static_cast<T>(sums[slot * row_size + i]);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx

#include "soft_pool/channels_last_simd.h"
#include "soft_pool/contiguous_simd.h"
