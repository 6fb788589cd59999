// CornerNet's decoding on CUDA, in two kernels: first, blocks rank the pixels of chunks of the heat maps; then one
// block per batch entry merges these rankings and ranks the pairs. The maths is in decode_corners.h.
//
// Bytes: the first kernel reads both heat maps once. It compares a pixel with its neighbours, which are in the cache,
// only if the pixel is above the K-th best that its block has found so far.
#pragma once

#include "common/device.cuh"
#include "decode_corners/decode_corners.h"

namespace pydlx {

constexpr int kDecodeThreads = 256;

// Pixels that a thread of the first kernel reads at a time.
constexpr int kCellsOfThread = 4;

constexpr int64_t kNoIndex = std::numeric_limits<int64_t>::max();

// The state of a ranking in shared memory.
template <class A>
struct RankingState {
  unsigned long long size;
  bool full;
  Ranked<A> last;  // the lowest-ranked kept item, once the ranking is full
};

// The best `count` of the items that a block's threads offer; sorted by rank after `sort`. `kept` has space for `room`
// items, a power of two and at least count + kDecodeThreads. All functions except may_take must be called by all
// threads.
template <class A>
struct BlockRanking {
  Ranked<A>* kept;
  int64_t count, room;
  RankingState<A>& state;

  __device__ void start() {
    if (threadIdx.x == 0) {
      state.size = 0;
      state.full = false;
    }
    __syncthreads();  // also waits until the previous ranking has been read
  }

  // Whether a pixel with this heat could be taken, given that its index is above those of all items offered so far.
  __device__ bool may_take(A heat) const { return !state.full || may_rank_above(state.last.score, heat); }

  // Offers one candidate per thread, in threads where `given` is true.
  __device__ void offer(bool given, const Ranked<A>& candidate) {
    if (given && (!state.full || candidate.above(state.last))) kept[atomicAdd(&state.size, 1ull)] = candidate;
    __syncthreads();
    const bool crowded = static_cast<int64_t>(state.size) + kDecodeThreads > room;
    __syncthreads();  // all threads have read the size
    if (crowded) sort();
  }

  // Bitonic sort in descending order, then truncation to `count`.
  __device__ void sort() {
    const int64_t size = static_cast<int64_t>(state.size);
    int64_t length = 1;
    while (length < size) length *= 2;
    for (int64_t i = size + threadIdx.x; i < length; i += kDecodeThreads) kept[i] = {-A(INFINITY), kNoIndex};
    __syncthreads();
    for (int64_t run = 2; run <= length; run *= 2) {
      for (int64_t step = run / 2; step > 0; step /= 2) {
        for (int64_t t = threadIdx.x; t < length / 2; t += kDecodeThreads) {
          const int64_t i = t / step * (2 * step) + t % step, j = i + step;
          const Ranked<A> a = kept[i], b = kept[j];
          if (b.above(a) == !(i & run)) {
            kept[i] = b;
            kept[j] = a;
          }
        }
        __syncthreads();
      }
    }
    if (threadIdx.x == 0 && size >= count) {
      state.size = count;
      state.full = true;
      state.last = kept[count - 1];
    }
    __syncthreads();
  }
};

// A heat map's pixels in chunks: block x ranks chunk x and writes the best K to the first of `room` slots; if the last
// chunk has fewer than K pixels, all of them.
struct DecodeChunks {
  int64_t count, cells, room;

  // Offset of the ranking of a chunk of a map; each batch entry has two maps, top-left then bottom-right.
  PYDLX_HOST_DEVICE int64_t place(int64_t map, int64_t chunk) const { return (map * count + chunk) * room; }
};

template <class T>
__global__ void rank_cells_kernel(DecodeTask task, DecodeChunks chunks, const T* __restrict__ heat_tl,
                                  const T* __restrict__ heat_br, Ranked<accumulate_t<T>>* ranked) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(RankingState<A>, state, 1);
  const int64_t begin = blockIdx.x * chunks.cells, chunk_end = begin + chunks.cells;
  const int64_t end = chunk_end < task.cells() ? chunk_end : task.cells();
  for (int64_t map = blockIdx.y; map < 2 * task.batch; map += gridDim.y) {
    const T* heat = (map % 2 ? heat_br : heat_tl) + map / 2 * task.cells();
    BlockRanking<A> best{ranked + chunks.place(map, blockIdx.x), task.corners, chunks.room, state[0]};
    best.start();
    for (int64_t first = begin; first < end; first += kCellsOfThread * kDecodeThreads) {
      A values[kCellsOfThread];
#pragma unroll
      for (int k = 0; k < kCellsOfThread; ++k) {
        const int64_t cell = first + k * kDecodeThreads + threadIdx.x;
        if (cell < end) values[k] = static_cast<A>(heat[cell]);
      }
#pragma unroll
      for (int k = 0; k < kCellsOfThread; ++k) {
        const int64_t cell = first + k * kDecodeThreads + threadIdx.x;
        const bool given = cell < end && best.may_take(values[k]);
        best.offer(given, {given ? cell_score(task, heat, cell) : A(0), cell});
      }
    }
    best.sort();
  }
}

// `ranked` is a workspace for each block's ranking of pairs, `corners` for its 2 K corners.
template <class T>
__global__ void pair_corners_kernel(DecodeTask task, DecodeChunks chunks, int64_t room, CornerMaps<T> tl_maps,
                                    CornerMaps<T> br_maps, const Ranked<accumulate_t<T>>* __restrict__ of_chunks,
                                    Ranked<accumulate_t<T>>* ranked, Corner<accumulate_t<T>>* corners,
                                    DecodeResults<accumulate_t<T>> results) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(RankingState<A>, state, 1);
  const int64_t count = task.corners;
  Ranked<A>* kept = ranked + blockIdx.x * room;
  Corner<A>*const tl = corners + 2 * count * blockIdx.x, *const br = tl + count;
  for (int64_t entry = blockIdx.x; entry < task.batch; entry += gridDim.x) {
    BlockRanking<A> cells{kept, count, room, state[0]};
    for (int kind = 0; kind < 2; ++kind) {
      cells.start();
      for (int64_t first = 0; first < chunks.count * count; first += kDecodeThreads) {
        const int64_t at = first + threadIdx.x, chunk = at / count, rank = at % count;
        const bool given = chunk < chunks.count && chunk * chunks.cells + rank < task.cells();
        cells.offer(given, given ? of_chunks[chunks.place(2 * entry + kind, chunk) + rank] : Ranked<A>{});
      }
      cells.sort();
      for (int64_t i = threadIdx.x; i < count; i += kDecodeThreads) {
        (kind ? br : tl)[i] = corner_at(task, kind ? br_maps : tl_maps, entry, kept[i]);
      }
    }
    BlockRanking<A> pairs{kept, task.rows, room, state[0]};
    pairs.start();
    for (int64_t first = 0; first < count * count; first += kDecodeThreads) {
      const int64_t pair = first + threadIdx.x;
      const bool given = pair < count * count;
      A score = kRejectedScore;
      if (given && !is_rejected(task, tl[pair / count], br[pair % count])) {
        score = mean_score(tl[pair / count], br[pair % count]);
      }
      pairs.offer(given, {score, pair});
    }
    pairs.sort();
    for (int64_t row = threadIdx.x; row < task.rows; row += kDecodeThreads) {
      const Ranked<A> pair = kept[row];
      results.write(entry * task.rows + row, tl[pair.index / count], br[pair.index % count], pair.score);
    }
  }
}

}  // namespace pydlx
