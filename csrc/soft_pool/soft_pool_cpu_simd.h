// SoftPool's maths over lanes. Included once per instruction set by soft_pool_cpu.cpp, which brings in every header
// this needs.
//
// How the work is cut. A "lane" is one output of a run of outputs whose windows look alike: neighbours along W for a
// contiguous tensor (contiguous_simd.h), channels for a channels-last one (channels_last_simd.h). The taps of a run are
// pointers to lanes of inputs, so the maths (soft_pool_lanes, soft_pool_lanes_backward) knows neither layout nor
// stride.
//
// The backward works on blocks of input rows; a block visits every window that reaches it and adds up in a fixed order
// in a buffer of its own, so no two threads write one cell and results do not depend on the number of threads.

namespace pydlx {
namespace PYDLX_SIMD {

// Outputs per run, a whole number of vectors. Vectors may reach past the last output of a run: lane buffers have room
// for that, and the backward adds 0 there.
constexpr int64_t kLanes = 64;

// Everything is measured from the peak m of the window, d_i = a_i - m: with e_i = exp(d_i), S = sum e_i and the mean
// distance d = sum e_i d_i / S,  y = m + d  and  a_i - y = d_i - d, which loses no digits however large m is.
template <class A>
struct WindowSums {
  Vec<A> peak, total, mean_distance;
};

// d_i. A cell so far below the peak that its weight vanishes is kept at the distance where it vanishes, so that -inf
// never meets a 0. With kCareful, equal infinities are 0 apart; otherwise they give NaN.
template <class A, bool kCareful>
__attribute__((always_inline)) inline Vec<A> distance_below(const Vec<A>& a, const Vec<A>& peak) {
  Vec<A> distance = a - peak;
  if constexpr (kCareful) distance = a == peak ? splat(A(0)) : distance;
  return distance < ExpConstants<A>::kLowest ? splat(ExpConstants<A>::kLowest) : distance;
}

// kTaps fixes the number of taps at compile time, so that they stay in registers; 0 leaves it open.
template <class A, bool kCareful, int64_t kTaps>
__attribute__((always_inline)) inline WindowSums<A> soft_pool_sums(const A* const* taps, int64_t tap_count,
                                                                   int64_t at) {
  const int64_t count = kTaps ? kTaps : tap_count;
  Vec<A> peak = load(taps[0] + at);
#pragma GCC unroll 4
  for (int64_t t = 1; t < count; ++t) {
    const Vec<A> a = load(taps[t] + at);
    peak = a > peak ? a : peak;
  }
  Vec<A> total{}, weighted{};
#pragma GCC unroll 4
  for (int64_t t = 0; t < count; ++t) {
    const Vec<A> d = distance_below<A, kCareful>(load(taps[t] + at), peak);
    const Vec<A> e = exp_nonpositive<A>(d);
    total += e;
    weighted += e * d;
  }
  return {peak, total, weighted / total};
}

// Writes the outputs of one run. `probe` becomes non-zero where an output is not finite: the quick version gives NaN
// for infinities too, so its caller then runs the careful one, which costs nothing as long as there are none.
template <class T, bool kCareful, int64_t kTaps>
inline void soft_pool_run(const accumulate_t<T>* const* taps, int64_t tap_count, int64_t lanes, T* y,
                          Vec<accumulate_t<T>>& probe) {
  using A = accumulate_t<T>;
  for (int64_t at = 0; at < lanes; at += kVecLanes<A>) {
    const auto sums = soft_pool_sums<A, kCareful, kTaps>(taps, tap_count, at);
    const Vec<A> value = sums.peak + sums.mean_distance;
    probe += lanes_below<A>(at, lanes) ? value - value : splat(A(0));
    if constexpr (std::is_same_v<T, A>) {
      if (at + kVecLanes<A> <= lanes) {
        store(y + at, value);
        continue;
      }
    }
    alignas(64) A wide[kVecLanes<A>];
    store(wide, value);
    const int64_t count = std::min(kVecLanes<A>, lanes - at);
    for (int64_t i = 0; i < count; ++i) y[at + i] = static_cast<T>(wide[i]);
  }
}

template <class T, bool kCareful>
inline void soft_pool_lanes(const accumulate_t<T>* const* taps, int64_t tap_count, int64_t lanes, T* y,
                            Vec<accumulate_t<T>>& probe) {
  if (tap_count == 4) return soft_pool_run<T, kCareful, 4>(taps, tap_count, lanes, y, probe);
  soft_pool_run<T, kCareful, 0>(taps, tap_count, lanes, y, probe);
}

// Adds the gradient of the run to the lanes that its taps came from; taps without a place (nullptr) belong to another
// block.
template <class A, bool kCareful, int64_t kTaps>
inline void soft_pool_run_backward(const A* const* taps, A* const* places, int64_t tap_count, int64_t lanes,
                                   const A* grad, A slope) {
  const int64_t count = kTaps ? kTaps : tap_count;
  for (int64_t at = 0; at < lanes; at += kVecLanes<A>) {
    const auto sums = soft_pool_sums<A, kCareful, kTaps>(taps, tap_count, at);
    const Vec<A> scale = load(grad + at) / sums.total;
    const auto in_use = lanes_below<A>(at, lanes);
#pragma GCC unroll 4
    for (int64_t t = 0; t < count; ++t) {
      if (!places[t]) continue;
      const Vec<A> d = distance_below<A, kCareful>(load(taps[t] + at), sums.peak);
      const Vec<A> da = scale * exp_nonpositive<A>(d) * (slope * (d - sums.mean_distance) + A(1));
      store(places[t] + at, Vec<A>(load(places[t] + at) + (in_use ? da : splat(A(0)))));
    }
  }
}

template <class A, bool kCareful>
inline void soft_pool_lanes_backward(const A* const* taps, A* const* places, int64_t tap_count, int64_t lanes,
                                     const A* grad, bool straight_through) {
  const A slope = straight_through ? A(0) : A(1);
  if (tap_count == 4) return soft_pool_run_backward<A, kCareful, 4>(taps, places, tap_count, lanes, grad, slope);
  soft_pool_run_backward<A, kCareful, 0>(taps, places, tap_count, lanes, grad, slope);
}

// Copies results to where they belong; true if one is a NaN. The quick versions give NaN for infinities too, and are
// then run again with care: that costs nothing as long as there are none.
template <class A, class T>
inline bool copy_out(const A* from, int64_t count, T* to) {
  unsigned nan = 0;
  for (int64_t i = 0; i < count; ++i) {
    nan |= from[i] != from[i];
    to[i] = static_cast<T>(from[i]);
  }
  return nan != 0;
}

// Where the taps of one output row lie: input row (d, h) of tap row r, or outside the input (then `row` is -1).
struct TapRows {
  std::vector<int64_t> row;

  TapRows(const SoftPoolShape& s) : row(s.kernel[0] * s.kernel[1]) {}

  void aim(const SoftPoolShape& s, int64_t od, int64_t oh) {
    for (int64_t kd = 0, r = 0; kd < s.kernel[0]; ++kd) {
      const int64_t d = od * s.stride[0] - s.padding[0] + kd * s.dilation[0];
      for (int64_t kh = 0; kh < s.kernel[1]; ++kh, ++r) {
        const int64_t h = oh * s.stride[1] - s.padding[1] + kh * s.dilation[1];
        row[r] = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1] ? d * s.in[1] + h : -1;
      }
    }
  }
};

// Writes the rows of a block; `to` is the image or plane they belong to. True if one holds a NaN.
template <class A, class T>
inline bool copy_block_out(const SoftPoolShape& s, const SoftPoolBlock& block, const A* sums, int64_t row_size, T* to) {
  bool nan = false;
  for (int64_t slot = 0; slot < block.rows(); ++slot) {
    nan |= copy_out(sums + slot * row_size, row_size, to + block.row(s, slot) * row_size);
  }
  return nan;
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx

#include "soft_pool/channels_last_simd.h"
#include "soft_pool/contiguous_simd.h"
