// Hard suppression on CUDA: all similarities in parallel, then a sweep over the rows by descending score.
//
// The mask kernel writes a bit for each pair of rows: whether the first, if taken, drops the second. A word has 64
// columns; only words with columns after their row are written. That takes n^2 / 2 similarities and n^2 / 16 bytes.
//
// The sweep kernel has one block per batch entry and processes 64 rows per step. The first warp decides which of them
// are taken. Whether a row is taken depends only on earlier rows, so iterating "taken are the rows that no taken row
// drops" converges to the unique solution, after as many iterations as the longest chain of dependencies, mostly 3 or
// 4. Meanwhile the other warps mark the later rows that are dropped by those taken in the previous step. Which rows of
// the current step these drop, the first warp knows already, because it also read the next word of its rows in the
// previous step. So a step needs only one barrier.
//
// Bits are stored for a band of as many rows as fit into kNmsMaskBytes; then both kernels continue with the next band.
#pragma once

#include "nms/nms.cuh"

namespace pydlx {

constexpr int kNmsWord = 64;         // columns of a word, and rows of a step
constexpr int kNmsWordsOfBlock = 4;  // words that a block writes for each of 64 rows
constexpr int kNmsSweepThreads = 1024;

#ifdef __CUDACC__
constexpr int64_t kNmsMaskBytes = 1 << 28;
constexpr int kNmsSharedWords = 4096;  // up to this many words, the sweep keeps the dropped rows in shared memory
#else
constexpr int64_t kNmsMaskBytes = 1 << 14;
constexpr int kNmsSharedWords = 8;
#endif

using NmsWord = unsigned long long;

// A band: rows [first, first + count) of n, whose bits are in mask (B, count, words). first is a multiple of kNmsWord.
struct NmsBand {
  int n, words, first, count;

  __device__ NmsWord* row(NmsWord* mask, int64_t b, int place) const {
    return mask + (b * count + place - first) * words;
  }
  __device__ const NmsWord* row(const NmsWord* mask, int64_t b, int place) const {
    return mask + (b * count + place - first) * words;
  }
  __device__ bool is_last() const { return first + count == n; }
};

// A word with bits 0 to count - 1 set; all bits if count is kNmsWord or more.
__device__ inline NmsWord first_bits(int count) {
  return count >= kNmsWord ? ~NmsWord{0} : (NmsWord{1} << max(count, 0)) - 1;
}

// A block has (kNmsWord rows, kNmsWordsOfBlock words) threads. Columns are staged in shared memory.
template <class A, class Items>
__global__ void __launch_bounds__(kNmsWord* kNmsWordsOfBlock, 1)
    nms_mask_kernel(Items all, int64_t batch, NmsBand band, NmsLimit<A> limit, NmsWord* __restrict__ mask) {
  constexpr int kColumns = kNmsWord * kNmsWordsOfBlock;
  PYDLX_SHARED(typename Items::Item, columns, kColumns);
  const int row = band.first + static_cast<int>(blockIdx.y * kNmsWord + threadIdx.x);
  const int first_word = static_cast<int>(blockIdx.x) * kNmsWordsOfBlock, word = first_word + threadIdx.y;
  const int own_word = row / kNmsWord;  // of all rows of this block
  if (first_word + kNmsWordsOfBlock <= own_word) return;
  for (int64_t b = blockIdx.z; b < batch; b += gridDim.z) {
    const Items entry = all.entry(b, band.n);
    __syncthreads();  // wait until the previous entry's columns have been compared
    columns[thread_of_block()] = entry.other_at(min(first_word * kNmsWord + thread_of_block(), band.n - 1));
    __syncthreads();
    if (row >= band.first + band.count || word < own_word || word >= band.words) continue;
    const auto own = entry.at(row);
    const auto bits_of = [&](int first) {
      unsigned bits = 0;
#pragma unroll 8
      for (int i = 0; i < 32; ++i) {
        if (entry.more_alike_than(limit, own, columns[first + i])) bits |= 1u << i;
      }
      return static_cast<NmsWord>(bits);
    };
    const int first = static_cast<int>(threadIdx.y) * kNmsWord;
    NmsWord bits = bits_of(first) | bits_of(first + 32) << 32;
    bits &= first_bits(band.n - word * kNmsWord);
    if (word == own_word) bits &= ~first_bits(row % kNmsWord + 1);
    band.row(mask, b, row)[word] = bits;
  }
}

// The first warp's part of a step; each lane has two rows.
template <class A>
struct NmsStep {
  NmsWord inside[2], after[2];  // the rows that these rows drop in their own word and in the next
  A score[2];
  int row[2];

  __device__ void load(const NmsBand& band, const NmsWord* mask, const A* falling, const int* rows, int64_t b, int word,
                       int left) {
    for (int i = 0; i < 2; ++i) {
      const int place = word * kNmsWord + 32 * i + static_cast<int>(threadIdx.x);
      inside[i] = after[i] = 0;
      if (place >= left) continue;
      const NmsWord* bits = band.row(mask, b, place);
      inside[i] = bits[word];
      if (word + 1 < band.words) after[i] = bits[word + 1];
      score[i] = falling[b * band.n + place];
      row[i] = rows[b * band.n + place];
    }
  }

  __device__ bool is_among(NmsWord bits, int i) const { return bits >> (32 * i + threadIdx.x) & 1; }

  __device__ NmsWord dropped_by(NmsWord taken, const NmsWord (&bits)[2]) const {
    return bits_of_warp(static_cast<uint64_t>((is_among(taken, 0) ? bits[0] : 0) | (is_among(taken, 1) ? bits[1] : 0)));
  }

  // The rows that are taken, given those not dropped by rows of earlier steps.
  __device__ NmsWord settle(NmsWord alive) const {
    NmsWord taken = alive, before;
    do {
      before = taken;
      taken = alive & ~dropped_by(taken, inside);
    } while (taken != before);
    return taken;
  }

  __device__ void write(NmsWord taken, const NmsResult<A>& to, int64_t place) const {
    for (int i = 0; i < 2; ++i) {
      if (!is_among(taken, i)) continue;
      const int64_t at = place + __popcll(taken & first_bits(32 * i + static_cast<int>(threadIdx.x)));
      to.order[at] = row[i];
      to.rescored[at] = score[i];
    }
  }
};

// The other warps' part: marks the rows that the taken rows of `word` drop in words [begin, end). The warps share the
// work by words and by rows.
__device__ inline void drop_further(const NmsBand& band, const NmsWord* mask, int64_t b, int word, NmsWord taken,
                                    int begin, int end, NmsWord* dropped) {
  if (begin >= end) return;
  const int threads = static_cast<int>(blockDim.x) - kWarp, thread = static_cast<int>(threadIdx.x) - kWarp;
  const int span = min((end - begin + kWarp - 1) / kWarp * kWarp, threads), parts = threads / span;
  const int part = thread / span;
  if (part >= parts) return;
  for (int column = begin + thread % span; column < end; column += span) {
    NmsWord gone = 0;
#pragma unroll 8
    for (int row = part; row < kNmsWord; row += parts) {
      if (taken >> row & 1) gone |= band.row(mask, b, word * kNmsWord + row)[column];
    }
    if (gone) atomicOr(dropped + column, gone);
  }
}

// dropped (B, words) persists from one band to the next. A block has at most kNmsSweepThreads threads, in whole warps.
template <class A>
__global__ void __launch_bounds__(kNmsSweepThreads)
    nms_sweep_kernel(NmsRule<A> rule, int64_t batch, NmsBand band, const NmsWord* __restrict__ mask,
                     const A* __restrict__ falling, const int* __restrict__ rows, NmsWord* __restrict__ dropped,
                     NmsResult<A> to) {
  PYDLX_SHARED(NmsWord, room, kNmsSharedWords);
  PYDLX_SHARED(NmsWord, chosen, 2);
  PYDLX_SHARED(int, total, 1);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    NmsWord* const kept = dropped + b * band.words;
    NmsWord* const gone = band.words <= kNmsSharedWords ? room : kept;
    for (int i = thread; i < band.words; i += threads) gone[i] = band.first > 0 ? kept[i] : 0;
    // Scores are sorted, so the rows that reach the score threshold are at the front; count them.
    int left = 0, found = threads;
    for (int first = 0; first < band.n && found == threads; first += threads) {
      const int place = first + thread;
      found = __syncthreads_count(place < band.n && !rule.drops(falling[b * band.n + place]));
      left += found;
    }
    const int words = (left + kNmsWord - 1) / kNmsWord, begin = band.first / kNmsWord;
    const int end = min((band.first + band.count + kNmsWord - 1) / kNmsWord, words);
    int taken = band.first > 0 ? static_cast<int>(to.taken[b]) : 0;
    NmsWord from_before = 0;
    NmsStep<A> step{};
    if (thread < kWarp && begin < end) step.load(band, mask, falling, rows, b, begin, left);
    __syncthreads();
    for (int word = begin; word <= end; ++word) {
      if (thread >= kWarp) {
        if (word > begin) drop_further(band, mask, b, word - 1, chosen[(word - 1) % 2], word + 1, words, gone);
      } else if (word < end) {
        const NmsWord before = *const_cast<volatile NmsWord*>(gone + word) | from_before;
        const NmsWord now = step.settle(first_bits(left - word * kNmsWord) & ~before);
        if (thread == 0) chosen[word % 2] = now;
        from_before = step.dropped_by(now, step.after);
        step.write(now, to, b * band.n + taken);
        taken += __popcll(now);
        if (word + 1 < end) step.load(band, mask, falling, rows, b, word + 1, left);
      }
      __syncthreads();
    }
    if (thread == 0) {
      total[0] = taken;
      if (begin < end && end < words) atomicOr(gone + end, from_before);
    }
    __syncthreads();
    if (band.is_last()) {
      fill_up(to, b, band.n, total[0]);
    } else {
      if (thread == 0) to.taken[b] = taken;
      for (int i = thread; i < band.words && gone != kept; i += threads) kept[i] = gone[i];
    }
    __syncthreads();  // before the next batch entry
  }
}

}  // namespace pydlx
