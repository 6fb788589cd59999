// GlobalPointer's loss on CUDA. The maths and the shapes are in global_pointer_loss.h.
//
// Scores are computed in square tiles. A block processes the tiles of a range of tokens on one side (its `own` tokens),
// with all tokens of the other side; in the forward pass its own tokens are the starts of spans. The backward pass runs
// twice, with starts and with ends as own tokens, so that each block accumulates the gradients of its own tokens and no
// other block writes them. Vectors are rotated when they are loaded into shared memory, with a table of cosines and
// sines.
//
// A thread has every kTileThreads-th row and column of a tile. A row of a tile in shared memory is an odd number of
// 16-byte loads, so lanes that load different 16 bytes at once have no bank conflicts. The slopes that the backward
// pass multiplies with the other side's vectors go through shared memory half a tile at a time, which keeps a block
// within 48 KiB.
//
// Work for each item and head: 2 L^2 d operations forward and 8 L^2 d backward (scores and products, in both runs),
// half of that with a triangle.
#pragma once

#include "common/indexing.cuh"
#include "common/log_sum.cuh"
#include "global_pointer_loss/global_pointer_loss.h"

namespace pydlx {

constexpr int kTileThreads = 16;  // along each side of a tile
constexpr int kPointerThreads = kTileThreads * kTileThreads;
constexpr int kPointerWarps = kPointerThreads / kWarp;

/// 16 bytes of numbers, loaded at once.
template <class A>
struct alignas(16) Numbers {
  static constexpr int kCount = 16 / sizeof(A);
  A at[kCount];
};

template <class A>
struct TileSizes {
  static constexpr int kSide = sizeof(A) == 4 ? 64 : 32;  // tokens
  static constexpr int kCells = kSide / kTileThreads;     // rows, and columns, per thread
  static constexpr int kDepth = 64;                       // elements of a vector in shared memory at once
  static constexpr int kLoads = kDepth / Numbers<A>::kCount;
  static constexpr int kOutputs = kLoads / kTileThreads;  // 16-byte pieces of a row of gradients per thread
  static constexpr int kHalf = kSide / 2;
  static constexpr int kWords = kSide / 32;  // 32-bit words of the bits that mark the gold spans of a row
};

template <class A>
using VectorTile = array_t<Numbers<A>, TileSizes<A>::kSide, TileSizes<A>::kLoads + 1>;
template <class A>
using SlopeTile = array_t<Numbers<A>, TileSizes<A>::kSide, TileSizes<A>::kHalf / Numbers<A>::kCount + 1>;
template <class A>
using GoldBits = array_t<unsigned, TileSizes<A>::kSide, TileSizes<A>::kWords>;
template <class A>
using TokenFlags = array_t<int, TileSizes<A>::kSide>;

/// The own and the other side of the scores. `cells`, the gold spans' indices, are sorted by own tokens first.
template <class T>
struct PointerSides {
  using A = accumulate_t<T>;
  const T *own, *other;
  VectorStrides own_strides, other_strides;
  const A *own_bias, *other_bias;  // or null
  const int64_t* cells;
  bool own_starts;
  T* grad;
  A* grad_bias;  // or null

  static PointerSides starts(const GlobalPointerArrays<T>& x) {
    return {x.query, x.key, x.query_strides, x.key_strides, x.start_bias, x.end_bias,
            x.cells, true,  x.grad_query,    x.grad_start};
  }

  static PointerSides ends(const GlobalPointerArrays<T>& x) {
    return {x.key,        x.query,          x.key_strides, x.query_strides, x.end_bias,
            x.start_bias, x.cells + x.gold, false,         x.grad_key,      x.grad_end};
  }
};

/// Parameters common to all blocks. `turns` (L, d) has the cosine and sine for each pair of elements; null without
/// rotary.
template <class T>
struct PointerTask {
  using A = accumulate_t<T>;
  GlobalPointerShape shape;
  PointerSides<T> sides;
  const A* turns;
  const bool* mask;
  int64_t gold;

  PYDLX_HOST_DEVICE int64_t blocks() const { return (shape.length + TileSizes<A>::kSide - 1) / TileSizes<A>::kSide; }
  PYDLX_HOST_DEVICE int64_t chunks() const { return (shape.size + TileSizes<A>::kDepth - 1) / TileSizes<A>::kDepth; }
  __device__ bool valid(int64_t item, int64_t position) const {
    return position < shape.length && (!mask || mask[item * shape.length + position]);
  }
};

/// The shared memory of a block.
template <class A>
struct PointerMemory {
  VectorTile<A>&own, &other;
  GoldBits<A>& bits;
  TokenFlags<A>&own_valid, &other_valid;
};

#define PYDLX_POINTER_MEMORY(A, memory)                                                \
  PYDLX_SHARED(Numbers<A>, own_tile, TileSizes<A>::kSide, TileSizes<A>::kLoads + 1);   \
  PYDLX_SHARED(Numbers<A>, other_tile, TileSizes<A>::kSide, TileSizes<A>::kLoads + 1); \
  PYDLX_SHARED(unsigned, gold_bits, TileSizes<A>::kSide, TileSizes<A>::kWords);        \
  PYDLX_SHARED(int, own_flags, TileSizes<A>::kSide);                                   \
  PYDLX_SHARED(int, other_flags, TileSizes<A>::kSide);                                 \
  const PointerMemory<A> memory { own_tile, other_tile, gold_bits, own_flags, other_flags }

/// A block's part of the work: one head of one item, and kSide own tokens.
template <class T>
struct PointerBlock {
  using A = accumulate_t<T>;
  using Sizes = TileSizes<A>;
  static constexpr int kVector = Numbers<A>::kCount;

  const PointerTask<T>& task;
  const PointerMemory<A>& memory;
  int64_t item, head, first;  // first: the first own token
  int64_t other = 0;          // first token of the other side

  __device__ PointerBlock(const PointerTask<T>& task, const PointerMemory<A>& memory, int64_t number)
      : task(task), memory(memory) {
    first = number % task.blocks() * Sizes::kSide;
    item = number / task.blocks() / task.shape.heads;
    head = number / task.blocks() % task.shape.heads;
  }

  __device__ int thread() const { return static_cast<int>(threadIdx.y * kTileThreads + threadIdx.x); }
  __device__ int64_t types() const { return task.shape.types_of_head(); }
  __device__ int64_t type_number(int64_t type) const { return item * task.shape.types + head * types() + type; }
  __device__ int64_t own_position(int i) const { return first + threadIdx.y + i * kTileThreads; }
  __device__ int64_t other_position(int j) const { return other + threadIdx.x + j * kTileThreads; }

  __device__ bool counts(int i, int j) const {
    if (!memory.own_valid[threadIdx.y + i * kTileThreads] || !memory.other_valid[threadIdx.x + j * kTileThreads]) {
      return false;
    }
    if (!task.shape.triangle) return true;
    return task.sides.own_starts ? own_position(i) <= other_position(j) : own_position(i) >= other_position(j);
  }

  /// Whether any of the kSide tokens from `token` on is valid; writes to shared memory which are.
  __device__ bool note_valid(int64_t token, TokenFlags<A>& flags) const {
    __syncthreads();  // wait until the previous tile is done
    const bool is_valid = thread() < Sizes::kSide && task.valid(item, token + thread());
    if (thread() < Sizes::kSide) flags[thread()] = is_valid;
    return __syncthreads_or(is_valid);
  }

  /// Loads elements [chunk * kDepth, ...) of the vectors of kSide tokens, rotated; zeros for padding.
  __device__ void load_vectors(const T* from, const VectorStrides& strides, int64_t token, int64_t chunk,
                               const TokenFlags<A>& flags, VectorTile<A>& to) const {
    const int64_t size = task.shape.size;
    for (int number = thread(); number < Sizes::kSide * Sizes::kDepth / 2; number += kPointerThreads) {
      const int row = number / (Sizes::kDepth / 2), place = 2 * (number % (Sizes::kDepth / 2));
      const int64_t at = chunk * Sizes::kDepth + place, position = token + row;
      A even = 0, odd = 0;
      if (flags[row] && at < size) {
        const T* pair = from + strides.place(item, head, position) + at;
        even = static_cast<A>(pair[0]);
        if (at + 1 < size) odd = static_cast<A>(pair[1]);
        if (task.turns) {
          const A cosine = task.turns[position * size + at], sine = task.turns[position * size + at + 1];
          const A turned = even * cosine - odd * sine;
          odd = odd * cosine + even * sine;
          even = turned;
        }
      }
      to[row][place / kVector].at[place % kVector] = even;
      to[row][place / kVector].at[place % kVector + 1] = odd;
    }
  }

  __device__ void load_own(int64_t chunk) const {
    load_vectors(task.sides.own, task.sides.own_strides, first, chunk, memory.own_valid, memory.own);
  }
  __device__ void load_other(int64_t chunk) const {
    load_vectors(task.sides.other, task.sides.other_strides, other, chunk, memory.other_valid, memory.other);
  }

  /// Computes the scores of a tile without biases. Afterwards the last chunks of both sides are in shared memory.
  __device__ void compute_scores(A (&scores)[Sizes::kCells][Sizes::kCells], bool own_is_loaded) const {
    for (auto& row : scores) {
      for (A& score : row) score = 0;
    }
    for (int64_t chunk = 0; chunk < task.chunks(); ++chunk) {
      if (chunk > 0) __syncthreads();  // wait until the previous chunk has been read
      if (!own_is_loaded) load_own(chunk);
      load_other(chunk);
      __syncthreads();
      const int64_t left = task.shape.size - chunk * Sizes::kDepth;
      const int loads = static_cast<int>(min(int64_t{Sizes::kLoads}, (left + kVector - 1) / kVector));
      for (int k = 0; k < loads; ++k) {
        Numbers<A> rows[Sizes::kCells], columns[Sizes::kCells];
        for (int i = 0; i < Sizes::kCells; ++i) rows[i] = memory.own[threadIdx.y + i * kTileThreads][k];
        for (int j = 0; j < Sizes::kCells; ++j) columns[j] = memory.other[threadIdx.x + j * kTileThreads][k];
        for (int i = 0; i < Sizes::kCells; ++i) {
          for (int j = 0; j < Sizes::kCells; ++j) {
            for (int v = 0; v < kVector; ++v) scores[i][j] += rows[i].at[v] * columns[j].at[v];
          }
        }
      }
    }
    for (auto& row : scores) {
      for (A& score : row) score *= static_cast<A>(task.shape.scale);
    }
  }

  /// Marks the gold spans of a type in this tile. Returns false, without marking, if the block's tokens have none.
  __device__ bool mark_gold(int64_t type) const {
    const int64_t length = task.shape.length, begin = (type_number(type) * length + first) * length;
    const int64_t end = begin + min(int64_t{Sizes::kSide}, length - first) * length;
    int64_t low = 0, high = task.gold;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (task.sides.cells[middle] < begin) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == task.gold || task.sides.cells[low] >= end) return false;
    __syncthreads();  // wait until the previous marks have been read
    for (int i = thread(); i < Sizes::kSide * Sizes::kWords; i += kPointerThreads) {
      memory.bits[i / Sizes::kWords][i % Sizes::kWords] = 0;
    }
    __syncthreads();
    for (int64_t i = low + thread(); i < task.gold && task.sides.cells[i] < end; i += kPointerThreads) {
      const int64_t cell = task.sides.cells[i] - begin, column = cell % length - other;
      if (cell >= 0 && column >= 0 && column < Sizes::kSide) {
        atomicOr(&memory.bits[cell / length][column / 32], 1u << (column % 32));
      }
    }
    __syncthreads();
    return true;
  }

  __device__ bool is_gold(int i, int j) const {
    const int column = static_cast<int>(threadIdx.x) + j * kTileThreads;
    return memory.bits[threadIdx.y + i * kTileThreads][column / 32] >> (column % 32) & 1;
  }

  /// Calls visit(i, j, whether the span is gold, score) for this thread's spans of one type that count.
  template <class Visit>
  __device__ void each_cell(int64_t type, const A (&scores)[Sizes::kCells][Sizes::kCells], const Visit& visit) const {
    const bool has_gold = mark_gold(type);
    const int64_t row = type_number(type) * task.shape.length;
    for (int i = 0; i < Sizes::kCells; ++i) {
      for (int j = 0; j < Sizes::kCells; ++j) {
        if (!counts(i, j)) continue;
        A score = scores[i][j];
        if (task.sides.own_bias) {
          score += task.sides.own_bias[row + own_position(i)] + task.sides.other_bias[row + other_position(j)];
        }
        if (score == -A(INFINITY)) continue;
        visit(i, j, has_gold && is_gold(i, j), score);
      }
    }
  }

  /// Calls visit() for each tile with spans that count, with `other` set to the tile.
  template <class Visit>
  __device__ void each_tile(const Visit& visit) {
    if (!note_valid(first, memory.own_valid)) return;
    const bool triangle = task.shape.triangle, starts = task.sides.own_starts;
    const int64_t begin = triangle && starts ? first : 0;
    const int64_t end = triangle && !starts ? first + 1 : task.shape.length;
    for (other = begin; other < end; other += Sizes::kSide) {
      if (note_valid(other, memory.other_valid)) visit();
    }
  }
};

/// A warp's partial sums of a type; all bytes zero is the initial state.
template <class A>
struct PointerSums {
  LogSum<A> gold, others;

  __device__ void add(const PointerSums& more) {
    gold.add(more.gold);
    others.add(more.others);
  }
};

template <class A>
__global__ void pointer_turns_kernel(GlobalPointerShape shape, A* turns) {
  const int64_t pairs = shape.size / 2;
  PYDLX_GRID_STRIDE(index, shape.length * pairs) {
    const double angle = static_cast<double>(index / pairs) * rotary_angle(index % pairs, shape.size);
    turns[2 * index] = static_cast<A>(cos(angle));
    turns[2 * index + 1] = static_cast<A>(sin(angle));
  }
}

/// sums: (B, C, blocks of tokens, warps).
template <class T>
__global__ void pointer_sum_kernel(PointerTask<T> task, PointerSums<accumulate_t<T>>* sums) {
  using A = accumulate_t<T>;
  using Sizes = TileSizes<A>;
  PYDLX_POINTER_MEMORY(A, memory);
  const int64_t count = task.shape.batch * task.shape.heads * task.blocks();
  for (int64_t number = blockIdx.x; number < count; number += gridDim.x) {
    PointerBlock<T> block(task, memory, number);
    const bool single = block.types() == 1;
    PointerSums<A> sum;
    const auto keep = [&](int64_t type) {
      sum.gold = sum_of_warp(sum.gold);
      sum.others = sum_of_warp(sum.others);
      if (block.thread() % kWarp == 0) {
        const int64_t place = block.type_number(type) * task.blocks() + number % task.blocks();
        sums[place * kPointerWarps + block.thread() / kWarp].add(sum);
      }
      sum = PointerSums<A>();
    };
    bool own_is_loaded = false;
    block.each_tile([&] {
      A scores[Sizes::kCells][Sizes::kCells];
      block.compute_scores(scores, own_is_loaded);
      own_is_loaded = task.chunks() == 1;
      for (int64_t type = 0; type < block.types(); ++type) {
        A peak = 0;
        A others[Sizes::kCells][Sizes::kCells];
        for (auto& row : others) {
          for (A& other : row) other = -A(INFINITY);
        }
        block.each_cell(type, scores, [&](int i, int j, bool gold, A score) {
          if (gold) return sum.gold.add(-score);
          others[i][j] = score;
          peak = score > peak ? score : peak;
        });
        sum.others.raise(peak);
        for (auto& row : others) {
          for (A& other : row) sum.others.sum += sum.others.term(other);
        }
        if (!single) keep(type);
      }
    });
    if (single) keep(0);
  }
}

/// Adds the partial sums, with one warp per item and type.
template <class A>
__global__ void pointer_finish_kernel(int64_t count, int64_t pieces, const PointerSums<A>* __restrict__ sums,
                                      A* __restrict__ parts) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPointerWarps;
  for (int64_t number = static_cast<int64_t>(blockIdx.x) * kPointerWarps + threadIdx.y; number < count;
       number += step) {
    PointerSums<A> all;
    for (int64_t i = threadIdx.x; i < pieces; i += kWarp) all.add(sums[number * pieces + i]);
    all.gold = sum_of_warp(all.gold);
    all.others = sum_of_warp(all.others);
    if (threadIdx.x == 0) {
      parts[2 * number] = all.gold.value();
      parts[2 * number + 1] = all.others.value();
    }
  }
}

/// A thread's elements of its rows of gradients, in pieces of 16 bytes.
template <class A>
using GradientRows = Numbers<A>[TileSizes<A>::kCells][TileSizes<A>::kOutputs];

/// Adds the product of a tile's slopes and the other side's vectors, whose current chunk is in shared memory.
template <class T>
__device__ inline void add_product(
    const PointerBlock<T>& block,
    const accumulate_t<T> (&slopes)[TileSizes<accumulate_t<T>>::kCells][TileSizes<accumulate_t<T>>::kCells],
    SlopeTile<accumulate_t<T>>& shared, GradientRows<accumulate_t<T>>& gradients) {
  using A = accumulate_t<T>;
  using Sizes = TileSizes<A>;
  constexpr int kVector = Numbers<A>::kCount, kColumns = Sizes::kCells / 2;
  for (int half = 0; half < 2; ++half) {
    __syncthreads();  // wait until the previous half has been read and vectors have been loaded
    for (int i = 0; i < Sizes::kCells; ++i) {
      for (int j = 0; j < kColumns; ++j) {
        const int column = static_cast<int>(threadIdx.x) + j * kTileThreads;
        shared[threadIdx.y + i * kTileThreads][column / kVector].at[column % kVector] = slopes[i][half * kColumns + j];
      }
    }
    __syncthreads();
    for (int n = 0; n < Sizes::kHalf / kVector; ++n) {
      Numbers<A> rows[Sizes::kCells];
      for (int i = 0; i < Sizes::kCells; ++i) rows[i] = shared[threadIdx.y + i * kTileThreads][n];
      for (int v = 0; v < kVector; ++v) {
        for (int q = 0; q < Sizes::kOutputs; ++q) {
          const Numbers<A> vector =
              block.memory.other[half * Sizes::kHalf + n * kVector + v][threadIdx.x + q * kTileThreads];
          for (int i = 0; i < Sizes::kCells; ++i) {
            for (int w = 0; w < kVector; ++w) gradients[i][q].at[w] += rows[i].at[v] * vector.at[w];
          }
        }
      }
    }
  }
}

/// Rotates the gradients of the block's own tokens back and writes them; zeros for padding.
template <class T>
__device__ inline void store_gradients(const PointerBlock<T>& block, int64_t chunk,
                                       const GradientRows<accumulate_t<T>>& gradients) {
  using A = accumulate_t<T>;
  using Sizes = TileSizes<A>;
  constexpr int kVector = Numbers<A>::kCount;
  const PointerTask<T>& task = block.task;
  const int64_t size = task.shape.size;
  for (int i = 0; i < Sizes::kCells; ++i) {
    const int64_t position = block.own_position(i);
    if (position >= task.shape.length) continue;
    T* to = task.sides.grad + ((block.item * task.shape.heads + block.head) * task.shape.length + position) * size;
    for (int q = 0; q < Sizes::kOutputs; ++q) {
      for (int v = 0; v < kVector; v += 2) {
        const int64_t at = chunk * Sizes::kDepth + (threadIdx.x + q * kTileThreads) * kVector + v;
        if (at >= size) continue;
        A even = gradients[i][q].at[v] * static_cast<A>(task.shape.scale);
        A odd = gradients[i][q].at[v + 1] * static_cast<A>(task.shape.scale);
        if (task.turns) {
          const A cosine = task.turns[position * size + at], sine = task.turns[position * size + at + 1];
          const A back = even * cosine + odd * sine;
          odd = odd * cosine - even * sine;
          even = back;
        }
        to[at] = static_cast<T>(even);
        if (at + 1 < size) to[at + 1] = static_cast<T>(odd);
      }
    }
  }
}

/// The gradients of one side's vectors and biases; grad_bias must start as zeros. There is a block for each chunk of
/// the vectors; each of them computes the slopes again, and that of the first chunk sums the biases' gradients.
template <class T>
__global__ void pointer_backward_kernel(PointerTask<T> task, const accumulate_t<T>* __restrict__ grad,
                                        const accumulate_t<T>* __restrict__ parts) {
  using A = accumulate_t<T>;
  using Sizes = TileSizes<A>;
  PYDLX_POINTER_MEMORY(A, memory);
  PYDLX_SHARED(Numbers<A>, slope_tile, Sizes::kSide, Sizes::kHalf / Numbers<A>::kCount + 1);
  const int64_t chunks = task.chunks(), count = task.shape.batch * task.shape.heads * task.blocks() * chunks;
  for (int64_t number = blockIdx.x; number < count; number += gridDim.x) {
    PointerBlock<T> block(task, memory, number / chunks);
    const int64_t chunk = number % chunks;
    GradientRows<A> gradients = {};
    bool own_is_loaded = false;
    block.each_tile([&] {
      A scores[Sizes::kCells][Sizes::kCells], slopes[Sizes::kCells][Sizes::kCells] = {};
      block.compute_scores(scores, own_is_loaded);
      own_is_loaded = chunks == 1;
      for (int64_t type = 0; type < block.types(); ++type) {
        const A *above = grad + 2 * block.type_number(type), *part = parts + 2 * block.type_number(type);
        A own_sums[Sizes::kCells] = {};
        block.each_cell(type, scores, [&](int i, int j, bool gold, A score) {
          const A slope = gold ? -above[0] * exp(-score - part[0]) : above[1] * exp(score - part[1]);
          slopes[i][j] += slope;
          own_sums[i] += slope;
        });
        if (!task.sides.grad_bias || chunk > 0) continue;
        for (int i = 0; i < Sizes::kCells; ++i) {
          A sum = own_sums[i];
          for (int apart = kTileThreads / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, apart);
          if (threadIdx.x == 0 && block.own_position(i) < task.shape.length) {
            task.sides.grad_bias[block.type_number(type) * task.shape.length + block.own_position(i)] += sum;
          }
        }
      }
      if (chunk + 1 < chunks) {
        __syncthreads();  // wait until the last chunk has been read
        block.load_other(chunk);
      }
      add_product(block, slopes, slope_tile, gradients);
    });
    store_gradients(block, chunk, gradients);
  }
}

}  // namespace pydlx
