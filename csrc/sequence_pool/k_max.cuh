// Kernels of k-max pooling (maths and shapes in sequence_pool.h).
//
// A block processes one sequence, or a chunk of it, and 32 channels, one per lane; its 8 warps split the time.
//
//   - k up to 8: every thread goes through its part once and keeps the best 4 or 8 values in registers. Then the lists
//     of the warps are merged in three rounds; those of chunks by a second launch of the same kernel, which reads lists
//     instead of x. The result is sorted by time, by counting, and read from x again.
//   - larger k: the k-th largest key of each channel is found by a radix search over 8-bit digits, with counters in
//     shared memory, in 2 passes over x for bfloat16, 3 for float16, 4 for float32, 8 for float64. A further pass
//     counts the values above and equal to that threshold, which gives each part its output positions; the last one
//     writes.
//
// Values are compared as unsigned integers, with NaN above all; ties go to the first in time. Bytes: x must be read
// once, and k values and their rows written. Passes after the first mostly find x in the cache.
#pragma once

#include "common/ranked.cuh"
#include "sequence_pool/sequence_pool.cuh"

namespace pydlx {

template <class T>
using OrderKey = ordered_key_t<accumulate_t<T>>;

/// A value of x that may be among the k largest; key 0 means none.
template <class Key>
struct Candidate {
  Key key;
  int64_t step;

  __device__ bool above(const Candidate& other) const {
    return key > other.key || (key == other.key && step < other.step);
  }
};

/// The `size` best candidates so far, highest first; `size` is a power of two.
template <class Key, int size>
struct BestOf {
  Candidate<Key> best[size];

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < size; ++i) best[i] = {0, INT64_MAX};
  }
  /// Inserts a candidate, which must be later in time than all previous ones.
  __device__ __forceinline__ void add(const Candidate<Key>& candidate) {
    if (candidate.key <= best[size - 1].key) return;
    best[size - 1] = candidate;
#pragma unroll
    for (int i = size - 1; i > 0; --i) {
      if (best[i].key > best[i - 1].key) exchange(i - 1, i);
    }
  }
  /// Merges two lists and keeps the best (bitonic merge, Batcher 1968): the maximum of each entry and the other list's
  /// entry of opposite rank gives a bitonic sequence, which is sorted in log2(size) steps.
  __device__ void merge(const BestOf& other) {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      if (other.best[size - 1 - i].above(best[i])) best[i] = other.best[size - 1 - i];
    }
#pragma unroll
    for (int apart = size / 2; apart > 0; apart /= 2) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        if ((i & apart) == 0 && best[i + apart].above(best[i])) exchange(i, i + apart);
      }
    }
  }

 private:
  __device__ __forceinline__ void exchange(int i, int j) {
    const Candidate<Key> held = best[i];
    best[i] = best[j];
    best[j] = held;
  }
};

/// y and index (B, k, C).
template <class T>
struct KMaxResults {
  T* y;
  int64_t* index;
  int64_t k;
};

/// k-max for k up to `size`, from x, or if given from `lists` (B, chunks, size, C) of an earlier launch. Writes the
/// results, or such lists if `lists_out` is given.
template <int size, class T>
__global__ void __launch_bounds__(kPoolThreads, PYDLX_BLOCKS(2))
    k_best_kernel(SequenceBatch batch, PoolCut cut, const T* __restrict__ x,
                  const Candidate<OrderKey<T>>* __restrict__ lists, int64_t lists_each,
                  Candidate<OrderKey<T>>* __restrict__ lists_out, KMaxResults<T> results) {
  using A = accumulate_t<T>;
  using Key = OrderKey<T>;
  PYDLX_SHARED(Candidate<Key>, room, kPoolWarps / 2, size, kWarp);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t C = batch.channels;
  for (int64_t unit = blockIdx.x; unit < cut.count; unit += gridDim.x) {
    const int64_t b = cut.sequence(unit), channel = cut.channel_block(unit) * kWarp + lane;
    BestOf<Key, size> list;
    list.clear();
    if (channel >= C) {
      // only takes part in barriers
    } else if (lists) {
      const StepRange part = StepRange{0, lists_each}.part(warp, kPoolWarps);
      for (int64_t i = part.begin * size; i < part.end * size; ++i) {
        list.add(lists[(b * lists_each * size + i) * C + channel]);
      }
    } else {
      const StepRange part = batch.span(b).part(cut.chunk(unit), cut.chunks).part(warp, kPoolWarps);
      walk<1>(batch, x, b, channel, part.begin, 1, part.end, part.end,
              [&](const Vector<T, 1>(&rows)[PoolLayout<1>::kAhead], unsigned valid, int64_t step) {
#pragma unroll
                for (int i = 0; i < PoolLayout<1>::kAhead; ++i) {
                  if (valid >> i & 1u) list.add({ordered_key(static_cast<A>(rows[i].values[0])), step + i});
                }
              });
    }
    for (int half = kPoolWarps / 2; half > 0; half /= 2) {
      __syncthreads();  // wait until the buffer has been read
      if (warp >= half && warp < 2 * half) {
#pragma unroll
        for (int i = 0; i < size; ++i) room[warp - half][i][lane] = list.best[i];
      }
      __syncthreads();
      if (warp >= half) continue;
      BestOf<Key, size> other;
#pragma unroll
      for (int i = 0; i < size; ++i) other.best[i] = room[warp][i][lane];
      list.merge(other);
    }
    if (warp > 0 || channel >= C) continue;
    if (lists_out) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        lists_out[((b * cut.chunks + cut.chunk(unit)) * size + i) * C + channel] = list.best[i];
      }
      continue;
    }
#pragma unroll
    for (int i = 0; i < size; ++i) {
      if (i >= results.k) continue;
      const int64_t step = list.best[i].step;
      int64_t place = list.best[i].key == 0 ? i : 0;  // missing values stay last
#pragma unroll
      for (int j = 0; j < size; ++j) {
        if (list.best[i].key != 0 && j < results.k && list.best[j].step < step) ++place;
      }
      const int64_t cell = (b * results.k + place) * C + channel;
      const bool found = list.best[i].key != 0;
      results.y[cell] = found ? x[batch.offset(b, step) + channel] : static_cast<T>(A(0));
      results.index[cell] = found ? batch.row(b, step) : -1;
    }
  }
}

/// The number of 8-bit digits, from the highest, that distinguish values of a type; lower digits of the key depend only
/// on the sign.
template <class T>
constexpr int kOrderDigits = sizeof(T);
template <>
inline constexpr int kOrderDigits<Half> = 3;

template <class T>
__device__ __forceinline__ OrderKey<T> digits_of(T a) {
  return ordered_key(static_cast<accumulate_t<T>>(a)) >> 8 * (sizeof(OrderKey<T>) - kOrderDigits<T>);
}

constexpr int kDigitValues = 256;

/// The value of a digit that the `wanted`-th largest key has, and the number of keys with a larger digit; -1 if there
/// are fewer than `wanted` keys.
struct ChosenDigit {
  int value;
  unsigned above;
};

/// Chooses the digit for each lane's channel from the counts, returned in all warps. All threads of the block must call
/// it.
__device__ inline ChosenDigit choose_digit(const array_t<unsigned, kDigitValues, kWarp>& counts, uint64_t wanted,
                                           array_t<unsigned, kPoolWarps, kWarp>& sums,
                                           array_t<ChosenDigit, kWarp>& chosen) {
  constexpr int kEach = kDigitValues / kPoolWarps;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  unsigned own = 0;
  for (int i = 0; i < kEach; ++i) own += counts[warp * kEach + i][lane];
  sums[warp][lane] = own;
  __syncthreads();
  uint64_t above = 0;
  for (int i = warp + 1; i < kPoolWarps; ++i) above += sums[i][lane];
  if (above < wanted && wanted <= above + own) {
    int value = warp * kEach + kEach - 1;
    for (; above + counts[value][lane] < wanted; --value) above += counts[value][lane];
    chosen[lane] = {value, static_cast<unsigned>(above)};
  } else if (warp == 0 && above + own < wanted) {
    chosen[lane] = {-1, 0};
  }
  __syncthreads();
  return chosen[lane];
}

/// k-max for any k: takes all values above the k-th largest key and the first of those equal to it.
template <class T>
__global__ void __launch_bounds__(kPoolThreads, PYDLX_BLOCKS(2))
    k_max_kernel(SequenceBatch batch, PoolCut cut, const T* __restrict__ x, KMaxResults<T> results) {
  using Key = OrderKey<T>;
  PYDLX_SHARED(unsigned, counts, kDigitValues, kWarp);
  PYDLX_SHARED(unsigned, sums, kPoolWarps, kWarp);
  PYDLX_SHARED(unsigned, equals, kPoolWarps, kWarp);
  PYDLX_SHARED(ChosenDigit, chosen, kWarp);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int64_t unit = blockIdx.x; unit < cut.count; unit += gridDim.x) {
    const int64_t b = cut.sequence(unit), channel = cut.channel_block(unit) * kWarp + lane;
    const StepRange part = batch.span(b).part(warp, kPoolWarps);
    // Calls visit(value, step) for the valid steps of this thread's part, in order of time.
    const auto each = [&](const auto& visit) {
      if (channel >= batch.channels) return;
      walk<1>(batch, x, b, channel, part.begin, 1, part.end, part.end,
              [&](const Vector<T, 1>(&rows)[PoolLayout<1>::kAhead], unsigned valid, int64_t step) {
#pragma unroll
                for (int i = 0; i < PoolLayout<1>::kAhead; ++i) {
                  if (valid >> i & 1u) visit(rows[i].values[0], step + i);
                }
              });
    };
    Key threshold = 0;
    uint64_t wanted =
        static_cast<uint64_t>(results.k);  // rank of the threshold among keys with the digits found so far
    bool takes_all = false;
    for (int shift = 8 * (kOrderDigits<T> - 1); shift >= 0; shift -= 8) {
      for (int i = warp; i < kDigitValues; i += kPoolWarps) counts[i][lane] = 0;
      __syncthreads();
      each([&](T value, int64_t) {
        const Key digits = digits_of(value) >> shift;
        if (digits >> 8 == threshold) atomicAdd(&counts[digits % kDigitValues][lane], 1u);
      });
      __syncthreads();
      const ChosenDigit digit = choose_digit(counts, wanted, sums, chosen);
      takes_all = takes_all || digit.value < 0;
      threshold = threshold << 8 | static_cast<Key>(digit.value < 0 ? 0 : digit.value);
      wanted -= digit.above;
    }
    if (takes_all) {
      threshold = 0;
      wanted = 0;
    }
    unsigned above = 0, equal = 0;
    each([&](T value, int64_t) {
      const Key digits = digits_of(value);
      above += digits > threshold;
      equal += digits == threshold;
    });
    sums[warp][lane] = above;
    equals[warp][lane] = equal;
    __syncthreads();
    int64_t place = 0;
    uint64_t equal_before = 0;
    for (int i = 0; i < warp; ++i) {
      place += sums[i][lane];
      equal_before += equals[i][lane];
    }
    place += static_cast<int64_t>(equal_before < wanted ? equal_before : wanted);
    const auto put = [&](T value, int64_t row) {
      const int64_t cell = (b * results.k + place++) * batch.channels + channel;
      results.y[cell] = value;
      results.index[cell] = row;
    };
    each([&](T value, int64_t step) {
      const Key digits = digits_of(value);
      if (digits > threshold || (digits == threshold && equal_before++ < wanted)) put(value, batch.row(b, step));
    });
    if (channel < batch.channels && warp == kPoolWarps - 1) {
      while (place < results.k) put(static_cast<T>(accumulate_t<T>(0)), -1);
    }
  }
}

/// Adds each gradient to the row that its value came from. Within a channel these rows differ, so there are no
/// conflicts.
template <class T>
__global__ void give_back_kernel(const T* __restrict__ grad, const int64_t* __restrict__ index, T* __restrict__ dx,
                                 int64_t x_rows, int64_t channels, int64_t count) {
  PYDLX_GRID_STRIDE(i, count) {
    if (index[i] >= 0 && index[i] < x_rows) dx[index[i] * channels + i % channels] = grad[i];
  }
}

}  // namespace pydlx
