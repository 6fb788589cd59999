// Kernels of pooling over time: max, mean, soft (maths and shapes in sequence_pool.h; k-max in k_max.cuh).
//
// A block of 256 threads processes one sequence, or a chunk of its time, and a range of channels: 8 lanes that read 16
// bytes each, 128 bytes of a row; or, if x is not aligned for that, 32 lanes that read one element each. The other 32
// (or 8) rows of threads are spread over time: row r has steps r, r + 32, ... of the chunk and loads kAhead of them at
// once, while the mask of the next ones is being loaded. The threads' results are joined over warps by shuffles, then
// in shared memory. Joins are commutative or in a fixed order, so results do not depend on scheduling.
//
// With one chunk per sequence, the block writes the results. If the batch is too small to fill the device that way,
// chunks write their states, sizeof(state) per channel, and a second kernel joins them.
//
// Bytes: max, mean and soft read the valid rows of x once. The backward of mean does not read x and writes dx once;
// that of soft reads x twice, the second time mostly from cache.
#pragma once

#include <cmath>

#include "common/indexing.cuh"
#include "common/maths.cuh"
#include "common/reduce.cuh"
#include "common/vectors.cuh"
#include "sequence_pool/sequence_pool.h"

namespace pydlx {

constexpr int kPoolThreads = 256;
constexpr int kPoolWarps = kPoolThreads / kWarp;
// Resident blocks per multiprocessor: as many as registers allow without spills.
template <class T>
constexpr int kPoolBlocks = sizeof(T) == sizeof(float) ? 4 : 2;

/// The arrangement of a block's threads over channels and time, for vectors of `size` channels.
template <int size>
struct PoolLayout {
  static constexpr int kLanes = size > 1 ? 8 : kWarp;  // along the channels
  static constexpr int kChannels = kLanes * size;
  static constexpr int kRows = kPoolThreads / kLanes;  // threads along time
  static constexpr int kAhead = size > 1 ? 4 : 8;      // steps that a thread loads at once

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / kLanes; }
};

// Partial results over some steps of one channel. take() adds `count` further steps in order of time, step, step +
// apart, ...; bit i of `valid` says whether the i-th of them is valid. merge() adds another partial result. They are
// plain aggregates, because shared memory is not initialised.

template <class A>
struct MaxState {
  A value;
  int64_t row;  // -1 if no step was valid

  static __device__ MaxState empty() { return {A(0), -1}; }

  template <int count>
  __device__ __forceinline__ void take(const A (&a)[count], unsigned valid, int64_t row_of_first, int64_t apart) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const bool rises = row < 0 || a[i] > value || (a[i] != a[i] && value == value);
      if ((valid >> i & 1u) && rises) *this = {a[i], row_of_first + i * apart};
    }
  }
  __device__ __forceinline__ void merge(const MaxState& other) {
    if (other.row < 0) return;
    const bool is_nan = value != value, other_is_nan = other.value != other.value;
    const bool equal = value == other.value || (is_nan && other_is_nan);
    const bool above = other.value > value || (other_is_nan && !is_nan);
    if (row < 0 || above || (equal && other.row < row)) *this = other;
  }
  __device__ A result() const { return value; }
};

template <class A>
__device__ inline MaxState<A> exchanged(const MaxState<A>& state, int apart) {
  return {exchanged(state.value, apart), exchanged(state.row, apart)};
}

template <class A>
struct MeanState {
  A sum;
  int64_t steps;

  static __device__ MeanState empty() { return {A(0), 0}; }

  template <int count>
  __device__ __forceinline__ void take(const A (&a)[count], unsigned valid, int64_t, int64_t) {
#pragma unroll
    for (int i = 0; i < count; ++i) sum += (valid >> i & 1u) ? a[i] : A(0);
    steps += __popc(valid);
  }
  __device__ __forceinline__ void merge(const MeanState& other) {
    sum += other.sum;
    steps += other.steps;
  }
  __device__ A result() const { return steps > 0 ? sum / static_cast<A>(steps) : A(0); }
};

template <class A>
__device__ inline MeanState<A> exchanged(const MeanState<A>& state, int apart) {
  return {exchanged(state.sum, apart), exchanged(state.steps, apart)};
}

/// Sums relative to the peak m: S = sum exp(x - m), D = sum exp(x - m) (x - m), y = m + D / S. When the peak rises by
/// -s, they become e^s S and e^s (D + s S). The peak is never NaN; S is NaN if any x is.
template <class A>
struct SoftState {
  A peak, total, distance;

  static __device__ SoftState empty() { return {-INFINITY, A(0), A(0)}; }
  // a - peak, where inf - inf is 0.
  static __device__ __forceinline__ A below(A a, A peak) { return a == peak ? A(0) : a - peak; }

  __device__ __forceinline__ void raise(A higher) {
    const A s = below(peak, higher), scale = fast_exp(s);
    distance = scale == A(0) ? A(0) : scale * (distance + s * total);
    total *= scale;
    peak = higher;
  }
  template <int count>
  __device__ __forceinline__ void take(const A (&a)[count], unsigned valid, int64_t, int64_t) {
    A higher = peak;
#pragma unroll
    for (int i = 0; i < count; ++i) higher = (valid >> i & 1u) && a[i] > higher ? a[i] : higher;
    raise(higher);
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const A d = below(a[i], peak), e = (valid >> i & 1u) ? fast_exp(d) : A(0);
      total += e;
      distance += e == A(0) ? A(0) : e * d;
    }
  }
  __device__ __forceinline__ void merge(SoftState other) {
    const A higher = other.peak > peak ? other.peak : peak;
    raise(higher);
    other.raise(higher);
    total += other.total;
    distance += other.distance;
  }
  __device__ A result() const { return total == A(0) ? A(0) : peak + distance / total; }
};

template <class A>
__device__ inline SoftState<A> exchanged(const SoftState<A>& state, int apart) {
  return {exchanged(state.peak, apart), exchanged(state.total, apart), exchanged(state.distance, apart)};
}

/// The division of a batch into units of work for blocks.
struct PoolCut {
  int64_t channel_blocks, chunks, count;

  PoolCut(const SequenceBatch& batch, int64_t channels_each, int64_t chunks)
      : channel_blocks((batch.channels + channels_each - 1) / channels_each),
        chunks(chunks),
        count(batch.count * chunks * channel_blocks) {}

  __device__ int64_t channel_block(int64_t unit) const { return unit % channel_blocks; }
  __device__ int64_t chunk(int64_t unit) const { return unit / channel_blocks % chunks; }
  __device__ int64_t sequence(int64_t unit) const { return unit / (channel_blocks * chunks); }
};

/// A bit mask of which of the `count` steps step, step + apart, ... are before `end` and valid.
template <int count>
__device__ __forceinline__ unsigned valid_steps(const SequenceBatch& batch, int64_t b, int64_t step, int64_t apart,
                                                int64_t end) {
  unsigned valid = 0;
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if (step + i * apart < end && batch.valid(b, step + i * apart)) valid |= 1u << i;
  }
  return valid;
}

/// Goes from `step` in strides of `apart` to `end` and calls visit(rows, valid, step) for every kAhead steps; `rows`
/// has the channels from `channel` on, loaded for valid steps before `last` and zero for others.
template <int size, class T, class Visit>
__device__ __forceinline__ void walk(const SequenceBatch& batch, const T* x, int64_t b, int64_t channel, int64_t step,
                                     int64_t apart, int64_t end, int64_t last, const Visit& visit) {
  constexpr int kAhead = PoolLayout<size>::kAhead;
  const int64_t stride = apart * batch.step_stride;
  const T* from = x + batch.offset(b, step) + channel;
  unsigned next = valid_steps<kAhead>(batch, b, step, apart, last);
  for (; step < end; step += kAhead * apart, from += kAhead * stride) {
    const unsigned valid = next;
    Vector<T, size> rows[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      rows[i] = (valid >> i & 1u) ? *reinterpret_cast<const Vector<T, size>*>(from + i * stride) : Vector<T, size>{};
    }
    next = valid_steps<kAhead>(batch, b, step + kAhead * apart, apart, last);
    visit(rows, valid, step);
  }
}

/// The state of each of the block's channels over `range`, returned in the first kChannels threads. All threads of the
/// block must call it.
template <class State, int size, class T>
__device__ __forceinline__ State pool_of_block(const SequenceBatch& batch, const T* x, int64_t b, int64_t channel,
                                               const StepRange& range,
                                               array_t<State, kPoolWarps, PoolLayout<size>::kChannels>& room) {
  using A = accumulate_t<T>;
  using Layout = PoolLayout<size>;
  State states[size];
#pragma unroll
  for (int v = 0; v < size; ++v) states[v] = State::empty();
  if (channel < batch.channels) {
    const auto visit = [&](const Vector<T, size>(&rows)[Layout::kAhead], unsigned valid, int64_t step) {
#pragma unroll
      for (int v = 0; v < size; ++v) {
        A values[Layout::kAhead];
#pragma unroll
        for (int i = 0; i < Layout::kAhead; ++i) values[i] = static_cast<A>(rows[i].values[v]);
        states[v].take(values, valid, batch.row(b, step), Layout::kRows);
      }
    };
    walk<size>(batch, x, b, channel, range.begin + Layout::row(), Layout::kRows, range.end, range.end, visit);
  }
  __syncthreads();  // wait until the buffer has been read
#pragma unroll
  for (int v = 0; v < size; ++v) {
    for (int apart = Layout::kLanes; apart < kWarp; apart *= 2) states[v].merge(exchanged(states[v], apart));
    if (threadIdx.x % kWarp < Layout::kLanes) {
      room[threadIdx.x / kWarp][Layout::lane() * size + v] = states[v];
    }
  }
  __syncthreads();
  State whole = State::empty();
  if (threadIdx.x >= Layout::kChannels) return whole;
  for (int warp = 0; warp < kPoolWarps; ++warp) whole.merge(room[warp][threadIdx.x]);
  return whole;
}

/// y (B, C), and for max its index.
template <class T>
struct PoolResults {
  T* y;
  int64_t* index;

  template <class State>
  __device__ void write(int64_t place, const State& state) const {
    y[place] = static_cast<T>(state.result());
    if constexpr (std::is_same_v<State, MaxState<accumulate_t<T>>>) index[place] = state.row;
  }
};

/// Writes the results or, if a sequence has several chunks, their states to parts (B, chunks, C).
template <class State, int size, class T>
__global__ void __launch_bounds__(kPoolThreads, PYDLX_BLOCKS(kPoolBlocks<T>))
    pool_kernel(SequenceBatch batch, PoolCut cut, const T* __restrict__ x, PoolResults<T> results,
                State* __restrict__ parts) {
  using Layout = PoolLayout<size>;
  PYDLX_SHARED(State, room, kPoolWarps, Layout::kChannels);
  for (int64_t unit = blockIdx.x; unit < cut.count; unit += gridDim.x) {
    const int64_t b = cut.sequence(unit), chunk = cut.chunk(unit), first = cut.channel_block(unit) * Layout::kChannels;
    const StepRange range = batch.span(b).part(chunk, cut.chunks);
    const State whole = pool_of_block<State, size>(batch, x, b, first + Layout::lane() * size, range, room);
    const int64_t channel = first + threadIdx.x;
    if (threadIdx.x >= Layout::kChannels || channel >= batch.channels) continue;
    if (parts) {
      parts[(b * cut.chunks + chunk) * batch.channels + channel] = whole;
    } else {
      results.write(b * batch.channels + channel, whole);
    }
  }
}

/// Computes the results from the parts. A block of (kWarp, kPoolWarps) threads processes 32 channels of a sequence.
template <class State, class T>
__global__ void __launch_bounds__(kPoolThreads, PYDLX_BLOCKS(kPoolBlocks<T>))
    pool_join_kernel(SequenceBatch batch, PoolCut cut, const State* __restrict__ parts, PoolResults<T> results) {
  PYDLX_SHARED(State, room, kPoolWarps, kWarp);
  const int64_t blocks = (batch.channels + kWarp - 1) / kWarp;
  for (int64_t unit = blockIdx.x; unit < batch.count * blocks; unit += gridDim.x) {
    const int64_t b = unit / blocks, channel = unit % blocks * kWarp + threadIdx.x;
    State state = State::empty();
    const StepRange chunks = StepRange{0, channel < batch.channels ? cut.chunks : 0}.part(threadIdx.y, kPoolWarps);
    for (int64_t i = chunks.begin; i < chunks.end; ++i) {
      state.merge(parts[(b * cut.chunks + i) * batch.channels + channel]);
    }
    state = join_of_parts<kPoolWarps>(room, state, [](State whole, const State& part) {
      whole.merge(part);
      return whole;
    });
    if (threadIdx.y == 0 && channel < batch.channels) results.write(b * batch.channels + channel, state);
  }
}

/// The gradient rule of mean, for one channel.
template <class A>
struct MeanSlope {
  A grad;

  __device__ __forceinline__ A at(A) const { return grad; }
};

/// The gradient rule of soft: dy/dx = w (1 + x - y), with w = e / total and x - y = d - distance / total.
template <class A>
struct SoftSlope {
  A peak, one, grad;  // one: 1 - distance / total; grad: already divided by total

  __device__ __forceinline__ A at(A a) const {
    const A d = SoftState<A>::below(a, peak), e = fast_exp(d);
    return grad * e * (e == A(0) ? A(1) : one + d);
  }
};

/// The number of valid steps of a sequence, returned in all threads. All threads of the block must call it.
__device__ inline int64_t count_of_block(const SequenceBatch& batch, int64_t b, array_t<int64_t, kPoolWarps>& room) {
  const StepRange span = batch.span(b);
  if (!batch.mask) return span.size();
  int64_t count = 0;
  for (int64_t step = span.begin + threadIdx.x; step < span.end; step += kPoolThreads) count += batch.valid(b, step);
  return sum_of_block<kPoolThreads>(count, room);
}

/// Computes dx, for soft from x, for mean without x. If sequences have several chunks, `parts` has pool_kernel's
/// states.
template <bool kSoft, int size, class T>
__global__ void __launch_bounds__(kPoolThreads, PYDLX_BLOCKS(kPoolBlocks<T>))
    pool_backward_kernel(SequenceBatch batch, PoolCut cut, const T* __restrict__ grad, const T* __restrict__ x,
                         const SoftState<accumulate_t<T>>* __restrict__ parts, T* __restrict__ dx) {
  using A = accumulate_t<T>;
  using Layout = PoolLayout<size>;
  using Slope = std::conditional_t<kSoft, SoftSlope<A>, MeanSlope<A>>;
  PYDLX_SHARED(SoftState<A>, room, kPoolWarps, Layout::kChannels);
  PYDLX_SHARED(int64_t, counts, kPoolWarps);
  for (int64_t unit = blockIdx.x; unit < cut.count; unit += gridDim.x) {
    const int64_t b = cut.sequence(unit), chunk = cut.chunk(unit), first = cut.channel_block(unit) * Layout::kChannels;
    const int64_t channel = first + Layout::lane() * size;
    Slope slopes[size];
    if constexpr (kSoft) {
      SoftState<A> whole = SoftState<A>::empty();
      if (!parts) {
        whole = pool_of_block<SoftState<A>, size>(batch, x, b, channel, batch.span(b), room);
      } else if (threadIdx.x < Layout::kChannels && first + threadIdx.x < batch.channels) {
        for (int64_t i = 0; i < cut.chunks; ++i) {
          whole.merge(parts[(b * cut.chunks + i) * batch.channels + first + threadIdx.x]);
        }
      }
      __syncthreads();  // wait until the buffer has been read
      if (threadIdx.x < Layout::kChannels) room[0][threadIdx.x] = whole;
      __syncthreads();
      if (channel >= batch.channels) continue;
#pragma unroll
      for (int v = 0; v < size; ++v) {
        const SoftState<A> state = room[0][Layout::lane() * size + v];
        const A g = static_cast<A>(grad[b * batch.channels + channel + v]);
        slopes[v] = {state.peak, A(1) - state.distance / state.total, g / state.total};
      }
    } else {
      const int64_t count = count_of_block(batch, b, counts);
      if (channel >= batch.channels) continue;
#pragma unroll
      for (int v = 0; v < size; ++v) {
        slopes[v] = {static_cast<A>(grad[b * batch.channels + channel + v]) / static_cast<A>(count)};
      }
    }
    const StepRange part = batch.owned(b).part(chunk, cut.chunks);
    const int64_t valid_end = batch.span(b).end, last = part.end < valid_end ? part.end : valid_end;
    const auto write = [&](const Vector<T, size>(&rows)[Layout::kAhead], unsigned valid, int64_t step) {
#pragma unroll
      for (int i = 0; i < Layout::kAhead; ++i) {
        const int64_t at = step + i * Layout::kRows;
        if (at >= part.end) continue;
        A values[size];
#pragma unroll
        for (int v = 0; v < size; ++v) {
          values[v] = (valid >> i & 1u) ? slopes[v].at(static_cast<A>(rows[i].values[v])) : A(0);
        }
        store_vector<size>(dx + batch.row(b, at) * batch.channels + channel, values);
      }
    };
    const int64_t step = part.begin + Layout::row();
    if constexpr (kSoft) {
      walk<size>(batch, x, b, channel, step, Layout::kRows, part.end, last, write);
    } else {
      const Vector<T, size> none[Layout::kAhead] = {};
      for (int64_t at = step; at < part.end; at += Layout::kAhead * Layout::kRows) {
        write(none, valid_steps<Layout::kAhead>(batch, b, at, Layout::kRows, last), at);
      }
    }
  }
}

}  // namespace pydlx
