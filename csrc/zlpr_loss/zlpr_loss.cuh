// The zlpr loss on CUDA. The maths is in zlpr_loss.h.
//
// A warp sums a chunk of a row, with lanes over elements. The chunks' sums are then added in order, so results do not
// depend on scheduling. Bytes: as in zlpr_loss.h; the chunks' sums are negligible.
#pragma once

#include "common/indexing.cuh"
#include "common/log_sum.cuh"
#include "zlpr_loss/zlpr_loss.h"

namespace pydlx {

constexpr int kZlprWarps = 8;  // per block
constexpr int kZlprBatch = 4;  // elements that a lane loads at once

// Calls visit(index of the chunk, row, its first element, the end of its elements) for the chunks of this warp.
template <class T, class Label, class Visit>
__device__ inline void each_chunk(const ZlprCells<T, Label>& cells, const Visit& visit) {
  const int64_t chunks = cells.chunks();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kZlprWarps;
  for (int64_t number = static_cast<int64_t>(blockIdx.x) * kZlprWarps + threadIdx.y; number < cells.rows * chunks;
       number += step) {
    const int64_t row = number / chunks, first = row * cells.cells + number % chunks * cells.chunk;
    visit(number, row, first, min(first + cells.chunk, (row + 1) * cells.cells));
  }
}

template <class T, class Label>
__global__ void zlpr_sum_kernel(ZlprCells<T, Label> cells, ZlprSums<accumulate_t<T>, accumulate_t<T>>* sums) {
  using A = accumulate_t<T>;
  each_chunk(cells, [&](int64_t number, int64_t, int64_t first, int64_t end) {
    ZlprSums<A, A> sum;
    for (int64_t at = first + threadIdx.x; at < end; at += kZlprBatch * kWarp) {
      A score[kZlprBatch], label[kZlprBatch];
      for (int i = 0; i < kZlprBatch; ++i) {
        const int64_t place = at + i * kWarp;
        const bool counts = place < end && cells.counts(place);
        score[i] = counts ? static_cast<A>(cells.scores[place]) : -A(INFINITY);
        label[i] = counts ? static_cast<A>(cells.labels[place]) : A(0);
      }
      for (int i = 0; i < kZlprBatch; ++i) {
        if (label[i] > 0) sum.labels.raise(-score[i]);
        if (label[i] < 1) sum.others.raise(score[i]);
      }
      for (int i = 0; i < kZlprBatch; ++i) {
        if (label[i] > 0) sum.labels.sum += label[i] * sum.labels.term(-score[i]);
        if (label[i] < 1) sum.others.sum += (1 - label[i]) * sum.others.term(score[i]);
      }
    }
    sum.labels = sum_of_warp(sum.labels);
    sum.others = sum_of_warp(sum.others);
    if (threadIdx.x == 0) sums[number] = sum;
  });
}

template <class A>
__global__ void zlpr_finish_kernel(int64_t rows, int64_t chunks, const ZlprSums<A, A>* __restrict__ sums, A* parts) {
  PYDLX_GRID_STRIDE(row, rows) {
    ZlprSums<A, A> all;
    for (int64_t i = 0; i < chunks; ++i) all.add(sums[row * chunks + i]);
    parts[2 * row] = all.labels.value();
    parts[2 * row + 1] = all.others.value();
  }
}

// weight exp(x) as weight exp(x / 2)^2, because exp(x) alone may overflow when the weight is a soft label close to 0.
template <class A>
__device__ inline A weighted_exp(A weight, A x) {
  const A root = exp(x / 2);
  return weight * root * root;
}

template <class T, class Label>
__global__ void zlpr_backward_kernel(ZlprCells<T, Label> cells, const accumulate_t<T>* __restrict__ grad,
                                     const accumulate_t<T>* __restrict__ parts, T* __restrict__ grad_scores) {
  using A = accumulate_t<T>;
  each_chunk(cells, [&](int64_t, int64_t row, int64_t first, int64_t end) {
    for (int64_t place = first + threadIdx.x; place < end; place += kWarp) {
      A slope = 0;
      if (cells.counts(place)) {
        const A score = static_cast<A>(cells.scores[place]), label = static_cast<A>(cells.labels[place]);
        if (label > 0) slope -= grad[2 * row] * weighted_exp(label, -score - parts[2 * row]);
        if (label < 1) slope += grad[2 * row + 1] * weighted_exp(1 - label, score - parts[2 * row + 1]);
      }
      grad_scores[place] = static_cast<T>(slope);
    }
  });
}

}  // namespace pydlx
