// The closed-form solution of one column frequency's system. The system is a symmetric filter along the column,
//
//     q(s) = c0 + c1 s + c2 s^2,  s = 2 - Z - Z^-1,  Z the shift to the next row,  q > 0 on [0, 4]
//          = kappa P(Z) P(Z^-1),  P(Z) = 1 - a Z + b Z^2, its roots outside the unit circle:
//     h0 = sqrt(q(0)), h4 = sqrt(q(4)), g = (m + d) / 2 with m = (h0 + h4) / 2, d^2 = m^2 - 4 c2
//     kappa = g^2, b = c2 / g^2, a = (h4 - h0) / 2g
//
// so q u = x is solved by a recurrence downwards, z_i = x_i + a z_{i-1} - b z_{i-2}, and one upwards, v_i = z_i + a
// v_{i+1} - b v_{i+2}, with u = v / kappa. The initial states at the ends represent the rows outside: mirrored for
// Neumann borders (v_{-1-i} = v_i), mirrored and negated about rows -1 and H for Dirichlet borders.
//
// The state of the recurrence is z_i (first order, b = 0 and a = 1 - t) or (z_i, z_{i-1}) (second order); n steps
// without input multiply it by A^n. For z computed with initial state zero, let f be its state at the last row and V =
// sum_i A^i e z_i the state of the upward recurrence at row 0. Then the true initial state at row 0 is
//
//     first order, Neumann      (1 + r) (t V + r^H f) / (1 - r^2H)          r = 1 - t
//     first order, Dirichlet    -r (1 - r^2) V / (1 - r^(2H + 2))
//     second order, Neumann     (I - A^2H)^-1 (P(A) V + A^H y), y = (f1 + a (1 - b) f1 - b f2, f2 - b f1)
//
// and the one from below follows from the state at the last row alone. Powers of r are stored as 1 - r^n, which keeps
// their digits for t as small as 1e-3.
#pragma once

#include <cmath>

#include "common/maths.cuh"
#include "common/reduce.cuh"
#include "poisson/poisson.h"

namespace pydlx {

// The first- or second-order filter of one column.
struct ColumnFilter {
  float first, second;  // first order: t in `first`; second order: a and b
  float input;          // factor of the input: 1 / (kappa W), including the row transforms' scale
};

// The filter of column frequency `column`, where s = 4 sin^2(pi column / 2W).
template <bool kSecondOrder>
__device__ inline ColumnFilter column_filter(Formulation formulation, float beta, float centre, float side, int column,
                                             int width) {
  const float sine = sinpif(float(column) / (2.0f * float(width)));
  const float s = 4.0f * sine * sine, gain = centre + 2.0f * side, least = centre - 2.0f * side;
  const float g = gain - side * s;
  float c0, c1, c2 = 0.0f, q4;
  if (formulation == kOfficial) {
    const float weight = beta * g;
    c0 = s + weight * gain;
    c1 = 1.0f - weight * side;
    q4 = (4.0f + s) + weight * least;
  } else {
    const float weight = beta * g * g;
    const bool paper = formulation == kPaper;
    c0 = (paper ? s * s : s) + weight * gain * gain;
    c1 = (paper ? 2.0f * s : 1.0f) - 2.0f * weight * gain * side;
    c2 = (paper ? 1.0f : 0.0f) + weight * side * side;
    q4 = (paper ? (4.0f + s) * (4.0f + s) : 4.0f + s) + weight * least * least;
  }
  const float h0 = sqrtf(c0), h4 = sqrtf(q4), mean = 0.5f * (h0 + h4);
  if (!kSecondOrder) return {h0 / mean, 0.0f, 1.0f / (mean * mean * float(width))};
  // d^2 without cancellation, from mean^2 = (c0 + q4 + 2 h0 h4) / 4 and q4 = c0 + 4 c1 + 16 c2.
  const float root = sqrtf(fmaxf(0.5f * c0 + c1 + 0.5f * h0 * h4, 0.0f));
  const float half = 0.5f * (mean + root);
  return {0.5f * (h4 - h0) / half, c2 / (half * half), 1.0f / (half * half * float(width))};
}

template <bool kDirichlet_>
class FirstOrder {
 public:
  using State = float;
  using Power = float;  // 1 - r^n
  static constexpr bool kSecondOrder = false, kDirichlet = kDirichlet_;

  __device__ explicit FirstOrder(const ColumnFilter& filter) : t_(filter.first) {}

  static __device__ float zero() { return 0.0f; }
  static __device__ float newest(float state) { return state; }
  __device__ float step(float state, float x) const { return fmaf(-t_, state, state + x); }

  static __device__ float none() { return 0.0f; }
  __device__ float one() const { return t_; }
  __device__ float joined(float m, float n) const { return fmaf(-m, n, m + n); }
  __device__ float applied(float power, float state) const { return fmaf(-power, state, state); }

  /// sum_{i < n} A^i e z_i for the z that follow from `state` without input, where n is the power's exponent.
  __device__ float echo(float power, float state) const {
    return (1.0f - t_) * fast_reciprocal(t_ * (2.0f - t_)) * joined(power, power) * state;
  }

  __device__ float entering_top(float rows, float echoed, float last) const {
    if (kDirichlet) {
      const float beyond = joined(rows, t_);
      return -(1.0f - t_) * t_ * (2.0f - t_) * echoed * fast_reciprocal(joined(beyond, beyond));
    }
    return (2.0f - t_) * (t_ * echoed + applied(rows, last)) * fast_reciprocal(joined(rows, rows));
  }
  __device__ float entering_below(float last) const { return kDirichlet ? 0.0f : last * fast_reciprocal(t_); }

  /// What a state from below adds to the input of the row above it, and of the row above that.
  __device__ float added_above(float state) const { return step(state, 0.0f); }
  static __device__ float added_second_above(float) { return 0.0f; }

  static __device__ float sum(float x, float y) { return x + y; }

 private:
  float t_;
};

struct Pair {
  float now, before;
};

__device__ inline Pair shuffled_up(const Pair& value, int lanes) {
  return {__shfl_up_sync(kWholeWarp, value.now, lanes), __shfl_up_sync(kWholeWarp, value.before, lanes)};
}
__device__ inline Pair shuffled_down(const Pair& value, int lanes) {
  return {__shfl_down_sync(kWholeWarp, value.now, lanes), __shfl_down_sync(kWholeWarp, value.before, lanes)};
}
__device__ inline Pair shuffled(const Pair& value, int lane) {
  return {__shfl_sync(kWholeWarp, value.now, lane), __shfl_sync(kWholeWarp, value.before, lane)};
}
__device__ inline float shuffled_up(float value, int lanes) { return __shfl_up_sync(kWholeWarp, value, lanes); }
__device__ inline float shuffled_down(float value, int lanes) { return __shfl_down_sync(kWholeWarp, value, lanes); }
__device__ inline float shuffled(float value, int lane) { return __shfl_sync(kWholeWarp, value, lane); }

// Second order: A = (a, -b; 1, 0), whose powers have the form p A + q I.
class SecondOrder {
 public:
  using State = Pair;
  struct Power {
    float p, q;
  };
  static constexpr bool kSecondOrder = true, kDirichlet = false;

  __device__ explicit SecondOrder(const ColumnFilter& filter) : a_(filter.first), b_(filter.second) {}

  static __device__ Pair zero() { return {0.0f, 0.0f}; }
  static __device__ float newest(const Pair& state) { return state.now; }
  __device__ Pair step(const Pair& state, float x) const {
    return {fmaf(a_, state.now, fmaf(-b_, state.before, x)), state.now};
  }

  static __device__ Power none() { return {0.0f, 1.0f}; }
  static __device__ Power one() { return {1.0f, 0.0f}; }
  __device__ Power joined(const Power& m, const Power& n) const {
    const float square = m.p * n.p;
    return {fmaf(a_, square, fmaf(m.p, n.q, m.q * n.p)), fmaf(-b_, square, m.q * n.q)};
  }
  __device__ Pair applied(const Power& power, const Pair& state) const {
    const Pair next = step(state, 0.0f);
    return {fmaf(power.p, next.now, power.q * state.now), fmaf(power.p, next.before, power.q * state.before)};
  }

  /// As for the first order: X state - A^n X A^n state, with X the infinite sum, whose entries are the autocorrelations
  /// of the impulse response.
  __device__ Pair echo(const Power& power, const Pair& state) const {
    const Pair all = endless_echo(state), after = applied(power, endless_echo(applied(power, state)));
    return {all.now - after.now, all.before - after.before};
  }

  __device__ Pair entering_top(const Power& rows, const Pair& echoed, const Pair& last) const {
    const Pair beyond{fmaf(a_ * (1.0f - b_), last.now, last.now) - b_ * last.before, last.before - b_ * last.now};
    const Pair below = applied(rows, beyond), next = step(echoed, 0.0f);
    const float x = (1.0f - b_) * ((1.0f + b_) * echoed.now - a_ * next.now) + below.now;
    const float y = (1.0f - b_) * ((1.0f + b_) * echoed.before - a_ * next.before) + below.before;
    // I - A^2H = (1 - q - p a, p b; -p, 1 - q)
    const Power period = joined(rows, rows);
    const float d = 1.0f - period.q, c = d - period.p * a_;
    const float inverse = fast_reciprocal(c * d + period.p * period.p * b_);
    return {(d * x - period.p * b_ * y) * inverse, (period.p * x + c * y) * inverse};
  }
  __device__ Pair entering_below(const Pair& last) const {
    const float mirrored = (last.now - b_ * last.before) * fast_reciprocal((1.0f - b_) * (1.0f + b_ - a_));
    return {mirrored, fmaf(a_ - b_, mirrored, last.before)};
  }

  __device__ float added_above(const Pair& state) const { return step(state, 0.0f).now; }
  __device__ float added_second_above(const Pair& state) const { return -b_ * state.now; }

  static __device__ Pair sum(const Pair& x, const Pair& y) { return {x.now + y.now, x.before + y.before}; }

 private:
  __device__ Pair endless_echo(const Pair& state) const {
    const float whole = 1.0f + b_, r0 = whole * fast_reciprocal((1.0f - b_) * (whole * whole - a_ * a_));
    const float r1 = a_ * r0 * fast_reciprocal(whole), r2 = a_ * r1 - b_ * r0;
    return {r1 * state.now - b_ * r0 * state.before, r2 * state.now - b_ * r1 * state.before};
  }

  float a_, b_;
};

template <class Filter>
__device__ inline typename Filter::Power power_of(const Filter& filter, int n) {
  auto result = Filter::none();
#pragma unroll 1
  for (auto power = filter.one(); n > 0; n >>= 1, power = filter.joined(power, power)) {
    if (n & 1) result = filter.joined(result, power);
  }
  return result;
}

// The division of a column's rows into chunks: chunk k starts at row k * size; chunk `last` has `last_rows` rows, and
// those after it are empty.
struct Chunks {
  int count, size, last, last_rows, rows;

  __device__ Chunks(int chunks, int chunk_size, int height)
      : count(chunks),
        size(chunk_size),
        last((height - 1) / chunk_size),
        last_rows(height - last * chunk_size),
        rows(height) {}
};

/// A warp joins the chunks of a column, which were solved with initial states of zero: `ends` has z's state at the end
/// of each chunk and `tops` v's state at its top. They are replaced by the true states that enter from above and below.
template <class Filter>
__device__ void join_chunks(const Filter& filter, const Chunks& chunks, typename Filter::State* ends,
                            typename Filter::State* tops) {
  using State = typename Filter::State;
  const int lane = thread_of_block() % kWarp, each = (chunks.count + kWarp - 1) / kWarp;
  const int first = lane * each, stop = min(chunks.count, first + each);
  const auto chunk = power_of(filter, chunks.size), tail = power_of(filter, chunks.last_rows);
  const auto whole = power_of(filter, chunks.rows), stretch = power_of(filter, chunks.size * each);

  // Downwards: only the last lanes may have fewer chunks, and nothing follows them.
  State state = Filter::zero();
#pragma unroll 1
  for (int k = first; k < stop; ++k) state = Filter::sum(filter.applied(chunk, state), ends[k]);
  auto reach = stretch;
#pragma unroll 1
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const State above = shuffled_up(state, apart);
    if (lane >= apart) state = Filter::sum(state, filter.applied(reach, above));
    reach = filter.joined(reach, reach);
  }
  state = shuffled_up(state, 1);
  if (lane == 0) state = Filter::zero();
  State last = Filter::zero();
#pragma unroll 1
  for (int k = first; k < stop; ++k) {
    const State entering = state;
    if (k == chunks.last) last = Filter::sum(filter.applied(tail, entering), ends[k]);
    state = Filter::sum(filter.applied(chunk, entering), ends[k]);
    ends[k] = entering;
  }
  last = shuffled(last, chunks.last / each);

  // Upwards: v's state at the top of chunk k, from the state below it.
  const auto above_chunk = [&](int k, const State& below) {
    const auto& rows = k == chunks.last ? tail : chunk;
    const State own = Filter::sum(tops[k], filter.echo(rows, ends[k]));
    return Filter::sum(own, filter.applied(rows, below));
  };
  const auto climb = [&](const State& bottom) {  // the state at the top of the lane's first chunk
    State top = Filter::zero();
#pragma unroll 1
    for (int k = min(stop, chunks.last + 1) - 1; k >= first; --k) top = above_chunk(k, k == chunks.last ? bottom : top);
    auto distance = stretch;
#pragma unroll 1
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const State below = shuffled_down(top, apart);
      if (lane + apart < kWarp) top = Filter::sum(top, filter.applied(distance, below));
      distance = filter.joined(distance, distance);
    }
    return top;
  };
  const State echoed = shuffled(climb(Filter::zero()), 0);
  State entering = filter.entering_top(whole, echoed, last);
  const State bottom = filter.entering_below(Filter::sum(last, filter.applied(whole, entering)));
  reach = stretch;
#pragma unroll 1
  for (int apart = 1; apart < kWarp; apart *= 2) {
    if (lane & apart) entering = filter.applied(reach, entering);
    reach = filter.joined(reach, reach);
  }
#pragma unroll 1
  for (int k = first; k < stop; ++k) {
    ends[k] = Filter::sum(ends[k], entering);
    entering = filter.applied(chunk, entering);
  }
  State below = shuffled_down(climb(bottom), 1);
  if (lane == kWarp - 1) below = Filter::zero();
#pragma unroll 1
  for (int k = min(stop, chunks.last + 1) - 1; k >= first; --k) {
    if (k == chunks.last) below = bottom;
    const State top = above_chunk(k, below);
    tops[k] = below;
    below = top;
  }
}

}  // namespace pydlx
