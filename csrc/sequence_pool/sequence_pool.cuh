// Kernels of pooling over time (maths and shapes in sequence_pool.h).
//
// A block takes one sequence and kPoolChannels channels. Time is cut into kPoolParts parts, a warp each, whose lanes
// read neighbouring channels. What the parts found is put together in the order of time by every thread for itself, so
// results do not depend on scheduling, and the earlier of two equal values wins.
//
// Floors: max, mean, soft read the valid rows of x once; so do the backwards of mean (which reads no x) and soft
// (twice, the second time mostly from cache), which write all of dx once. k-max reads x once from memory and, for every
// bit of its keys and two times more, from cache. The backward of max and k-max is a fill with zeros and one write per
// value.
#pragma once

#include <cmath>

#include "common/indexing.cuh"
#include "common/reduce.cuh"
#include "sequence_pool/sequence_pool.h"

namespace pydlx {

constexpr int kPoolChannels = kWarp;
constexpr int kPoolParts = 8;

// One number, or one state, per thread: in shared memory.
template <class V>
using PoolPartials = array_t<V, kPoolParts, kPoolChannels>;

// What a reduction has found in some steps: add() sees the next step, merge() takes in what a later part found.
// Plain aggregates, since shared memory is not initialised.

template <class A>
struct MaxState {
  A value;
  int64_t row;  // -1: nothing seen

  static __host__ __device__ MaxState empty() { return {A(0), -1}; }
  __host__ __device__ void add(A a, int64_t r) {
    const bool first_nan = a != a && value == value;
    if (row < 0 || a > value || first_nan) *this = {a, r};
  }
  __host__ __device__ void merge(const MaxState& later) {
    if (later.row >= 0) add(later.value, later.row);
  }
  __host__ __device__ A result() const { return value; }
};

template <class A>
struct MeanState {
  A sum;
  int64_t steps;

  static __host__ __device__ MeanState empty() { return {A(0), 0}; }
  __host__ __device__ void add(A a, int64_t) { merge({a, 1}); }
  __host__ __device__ void merge(const MeanState& later) {
    sum += later.sum;
    steps += later.steps;
  }
  __host__ __device__ A result() const { return steps > 0 ? sum / static_cast<A>(steps) : A(0); }
};

// All that the backward of mean needs; no x is read.
template <class A>
struct CountState {
  int64_t steps;

  static __host__ __device__ CountState empty() { return {0}; }
  __host__ __device__ void add(A, int64_t) { ++steps; }
  __host__ __device__ void merge(const CountState& later) { steps += later.steps; }
  __host__ __device__ A gradient(A, A grad) const { return grad / static_cast<A>(steps); }
};

// Sums measured from the peak m: S = sum exp(x - m), D = sum exp(x - m) (x - m), y = m + D / S. Taken to a peak that
// lies -s higher they become e^s S and e^s (D + s S).
template <class A>
struct SoftState {
  A peak, total, distance;

  static __host__ __device__ SoftState empty() { return {-INFINITY, A(0), A(0)}; }
  // Equal infinities are 0 apart.
  static __host__ __device__ A below(A a, A peak) { return a == peak ? A(0) : a - peak; }

  __host__ __device__ void add(A a, int64_t) { merge({a, A(1), A(0)}); }
  __host__ __device__ void merge(const SoftState& later) {
    const bool rises = later.peak > peak;
    const SoftState high = rises ? later : *this, low = rises ? *this : later;
    const A s = below(low.peak, high.peak), scale = exp(s);
    // At s = -inf nothing is left of the lower sums, but a NaN.
    const A moved = s == -INFINITY ? low.distance : low.distance + s * low.total;
    *this = {high.peak, high.total + scale * low.total, high.distance + scale * moved};
  }
  __host__ __device__ A result() const { return total == A(0) ? A(0) : peak + distance / total; }
  __host__ __device__ A gradient(A a, A grad) const {
    const A d = below(a, peak), e = exp(d);
    return grad * (e / total) * (e == A(0) ? A(1) : A(1) + d - distance / total);
  }
};

// Runs over the channels and sequences that come to this block. Inactive threads are beyond the last channel; they take
// part in barriers and nothing else.
struct PoolPosition {
  int64_t b, channel;
  bool active;

  __device__ PoolPosition(const SequenceBatch& batch, int64_t unit)
      : b(unit % batch.count),
        channel(unit / batch.count * kPoolChannels + threadIdx.x),
        active(channel < batch.channels) {}
};

inline int64_t pool_units(const SequenceBatch& batch) {
  return batch.count * ((batch.channels + kPoolChannels - 1) / kPoolChannels);
}

// Calls visit(value, step) for the valid steps of this thread's part, in the order of time.
template <class T, class Visit>
__device__ inline void each_step(const SequenceBatch& batch, const T* x, const PoolPosition& at, const Visit& visit) {
  using A = accumulate_t<T>;
  if (!at.active) return;
  const StepRange part = batch.span(at.b).part(threadIdx.y, kPoolParts);
  for (int64_t step = part.begin; step < part.end; ++step) {
    if (!batch.valid(at.b, step)) continue;
    visit(x ? static_cast<A>(x[batch.offset(at.b, step) + at.channel]) : A(0), step);
  }
}

// What the whole sequence holds in this thread's channel, known to all parts.
template <class State, class T>
__device__ inline State whole_sequence(const SequenceBatch& batch, const T* x, const PoolPosition& at,
                                       PoolPartials<State>& partials) {
  State state = State::empty();
  each_step(batch, x, at, [&](accumulate_t<T> a, int64_t step) { state.add(a, batch.row(at.b, step)); });
  return join_of_parts<kPoolParts>(partials, state, [](State whole, const State& part) {
    whole.merge(part);
    return whole;
  });
}

template <class State>
struct KeepsRow {
  static constexpr bool value = false;
};
template <class A>
struct KeepsRow<MaxState<A>> {
  static constexpr bool value = true;
};

// y (B, C), and for max its index.
template <class State, class T>
__global__ void pool_kernel(SequenceBatch batch, const T* __restrict__ x, T* __restrict__ y,
                            int64_t* __restrict__ index, int64_t units) {
  PYDLX_SHARED(State, partials, kPoolParts, kPoolChannels);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const PoolPosition at(batch, unit);
    const State whole = whole_sequence<State>(batch, x, at, partials);
    if (!at.active || threadIdx.y != 0) continue;
    const int64_t place = at.b * batch.channels + at.channel;
    y[place] = static_cast<T>(whole.result());
    if constexpr (KeepsRow<State>::value) index[place] = whole.row;
  }
}

// dx from SoftState, or from CountState with no x.
template <class State, class T>
__global__ void pool_backward_kernel(SequenceBatch batch, const T* __restrict__ grad, const T* __restrict__ x,
                                     T* __restrict__ dx, int64_t units) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(State, partials, kPoolParts, kPoolChannels);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const PoolPosition at(batch, unit);
    const State whole = whole_sequence<State>(batch, x, at, partials);
    if (!at.active) continue;
    const A g = static_cast<A>(grad[at.b * batch.channels + at.channel]);
    const StepRange span = batch.span(at.b), part = batch.owned(at.b).part(threadIdx.y, kPoolParts);
    for (int64_t step = part.begin; step < part.end; ++step) {
      const bool valid = step < span.end && batch.valid(at.b, step);
      const A a = valid && x ? static_cast<A>(x[batch.offset(at.b, step) + at.channel]) : A(0);
      dx[batch.row(at.b, step) * batch.channels + at.channel] = static_cast<T>(valid ? whole.gradient(a, g) : A(0));
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- k-max

// Unsigned integers in the order of the numbers, NaN above all: the bits of a negative number run backwards.
__device__ inline uint32_t order_key(float a) {
  if (a != a) return UINT32_MAX;
  const uint32_t bits = __float_as_uint(a == 0 ? 0.0f : a);
  return bits >> 31 ? ~bits : bits | uint32_t{1} << 31;
}
__device__ inline uint64_t order_key(double a) {
  if (a != a) return UINT64_MAX;
  const uint64_t bits = static_cast<uint64_t>(__double_as_longlong(a == 0 ? 0.0 : a));
  return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}

// Sum over the parts before `parts`; a collective of the block.
__device__ inline int64_t sum_of_parts(PoolPartials<int64_t>& partials, int64_t mine, int parts) {
  __syncthreads();
  partials[threadIdx.y][threadIdx.x] = mine;
  __syncthreads();
  int64_t sum = 0;
  for (int i = 0; i < parts; ++i) sum += partials[i][threadIdx.x];
  return sum;
}

// y and index (B, k, C). The k-th largest key of a channel is found bit by bit; what lies above it is taken and, of
// what equals it, the first. Each part knows how much the parts before it take, hence where its own values go.
template <class T>
__global__ void k_max_kernel(SequenceBatch batch, const T* __restrict__ x, T* __restrict__ y,
                             int64_t* __restrict__ index, int64_t k, int64_t units) {
  using A = accumulate_t<T>;
  using Key = decltype(order_key(A(0)));
  PYDLX_SHARED(int64_t, partials, kPoolParts, kPoolChannels);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const PoolPosition at(batch, unit);
    Key threshold = 0;
    for (Key bit = Key{1} << (8 * sizeof(Key) - 1); bit; bit >>= 1) {
      int64_t reach = 0;
      each_step(batch, x, at, [&](A a, int64_t) { reach += order_key(a) >= (threshold | bit); });
      if (sum_of_parts(partials, reach, kPoolParts) >= k) threshold |= bit;
    }
    int64_t above = 0, equal = 0;
    each_step(batch, x, at, [&](A a, int64_t) {
      above += order_key(a) > threshold;
      equal += order_key(a) == threshold;
    });
    const int64_t ties = k - sum_of_parts(partials, above, kPoolParts);
    const int64_t above_before = sum_of_parts(partials, above, threadIdx.y);
    int64_t equal_before = sum_of_parts(partials, equal, threadIdx.y);
    int64_t place = above_before + (equal_before < ties ? equal_before : ties);
    const auto put = [&](T value, int64_t row) {
      const int64_t cell = (at.b * k + place++) * batch.channels + at.channel;
      y[cell] = value;
      index[cell] = row;
    };
    each_step(batch, x, at, [&](A a, int64_t step) {
      const Key key = order_key(a);
      if (key > threshold || (key == threshold && equal_before++ < ties)) {
        put(static_cast<T>(a), batch.row(at.b, step));
      }
    });
    if (at.active && threadIdx.y == kPoolParts - 1) {
      while (place < k) put(static_cast<T>(A(0)), -1);
    }
  }
}

// Each gradient goes to the row its value came from. No two values of a channel come from one cell.
template <class T>
__global__ void give_back_kernel(const T* __restrict__ grad, const int64_t* __restrict__ index, T* __restrict__ dx,
                                 int64_t x_rows, int64_t channels, int64_t count) {
  PYDLX_GRID_STRIDE(i, count) {
    if (index[i] >= 0 && index[i] < x_rows) dx[index[i] * channels + i % channels] = grad[i];
  }
}

}  // namespace pydlx
