// The softmaxes of trilinear attention on CUDA. The maths is in trilinear_attention.h.
//
// Softmaxes over rows: one warp per row, with lanes over columns. Softmaxes over columns: one block per 32 columns,
// whose warps share the rows; every thread then joins the warps' partial results in the same order, so results do not
// depend on scheduling.
//
// Bytes: S must be read and Q and C written. Each of the two kernels reads S three times, mostly from cache.
#pragma once

#include <cmath>

#include "common/reduce.cuh"
#include "trilinear_attention/trilinear_attention.h"

namespace pydlx {

constexpr int kAttentionParts = 8;  // warps of a block

// Calls visit(row, entry) for the rows of the batch that this warp processes.
template <class Visit>
__device__ inline void each_row_of_warp(const AttentionTask& task, const Visit& visit) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kAttentionParts + threadIdx.y;
  for (int64_t row = first; row < task.row_count(); row += static_cast<int64_t>(gridDim.x) * kAttentionParts) {
    visit(row, row / task.rows);
  }
}

template <class T>
__global__ void softmax_rows_kernel(AttentionTask task, const T* __restrict__ similarity, T* __restrict__ weights) {
  using A = accumulate_t<T>;
  each_row_of_warp(task, [&](int64_t row, int64_t entry) {
    const T* from = similarity + row * task.columns;
    T* to = weights + row * task.columns;
    const bool has_row = task.has_row(row);
    A peak = -A(INFINITY), sum = 0;
    for (int64_t j = threadIdx.x; has_row && j < task.columns; j += kWarp) {
      if (task.has_column(entry, j) && static_cast<A>(from[j]) > peak) peak = static_cast<A>(from[j]);
    }
    peak = largest_of_warp(peak);
    for (int64_t j = threadIdx.x; has_row && j < task.columns; j += kWarp) {
      if (task.has_column(entry, j)) sum += exp(static_cast<A>(from[j]) - peak);
    }
    const A scale = A(1) / sum_of_warp(sum);
    for (int64_t j = threadIdx.x; j < task.columns; j += kWarp) {
      const bool valid = has_row && task.has_column(entry, j);
      to[j] = static_cast<T>(valid ? exp(static_cast<A>(from[j]) - peak) * scale : A(0));
    }
  });
}

// Calls visit(entry, column) for the blocks of columns that this block processes; idle lanes get a column past the
// last.
template <class Visit>
__device__ inline void each_column_block(const AttentionTask& task, const Visit& visit) {
  const int64_t blocks = (task.columns + kWarp - 1) / kWarp;
  for (int64_t number = blockIdx.x; number < task.batch * blocks; number += gridDim.x) {
    visit(number / blocks, number % blocks * kWarp + threadIdx.x);
  }
}

// Calls visit(index of the element, row) for the elements of a column that this warp processes.
template <class Visit>
__device__ inline void each_cell(const AttentionTask& task, int64_t entry, int64_t column, const Visit& visit) {
  for (int64_t i = threadIdx.y; column < task.columns && i < task.rows; i += kAttentionParts) {
    const int64_t row = entry * task.rows + i;
    visit(row * task.columns + column, row);
  }
}

template <class T>
__global__ void softmax_columns_kernel(AttentionTask task, const T* __restrict__ similarity, T* __restrict__ weights) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(A, partials, kAttentionParts, kWarp);
  each_column_block(task, [&](int64_t entry, int64_t column) {
    A peak = -A(INFINITY), sum = 0;
    each_cell(task, entry, column, [&](int64_t place, int64_t row) {
      if (task.has_row(row) && static_cast<A>(similarity[place]) > peak) peak = static_cast<A>(similarity[place]);
    });
    peak = join_of_parts<kAttentionParts>(partials, peak, Largest());
    each_cell(task, entry, column, [&](int64_t place, int64_t row) {
      if (task.has_row(row)) sum += exp(static_cast<A>(similarity[place]) - peak);
    });
    const A scale = A(1) / join_of_parts<kAttentionParts>(partials, sum, Sum());
    each_cell(task, entry, column, [&](int64_t place, int64_t row) {
      const bool valid = task.has_row(row) && task.has_column(entry, column);
      weights[place] = static_cast<T>(valid ? exp(static_cast<A>(similarity[place]) - peak) * scale : A(0));
    });
  });
}

// The sums over the rows of gradient times weight, (B, m).
template <class T>
__global__ void dot_columns_kernel(AttentionTask task, SoftmaxGradient<T> context, accumulate_t<T>* dots) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(A, partials, kAttentionParts, kWarp);
  each_column_block(task, [&](int64_t entry, int64_t column) {
    A sum = 0;
    each_cell(task, entry, column, [&](int64_t place, int64_t row) {
      if (task.has_row(row)) sum += context.product(place);
    });
    sum = join_of_parts<kAttentionParts>(partials, sum, Sum());
    if (threadIdx.y == 0 && column < task.columns) dots[entry * task.columns + column] = sum;
  });
}

template <class T>
__global__ void softmax_backward_kernel(AttentionTask task, SoftmaxGradient<T> question, SoftmaxGradient<T> context,
                                        const accumulate_t<T>* __restrict__ dots, T* __restrict__ grad) {
  using A = accumulate_t<T>;
  each_row_of_warp(task, [&](int64_t row, int64_t entry) {
    const int64_t first = row * task.columns;
    const bool has_row = task.has_row(row);
    A sum = 0;
    for (int64_t j = threadIdx.x; has_row && j < task.columns; j += kWarp) {
      if (task.has_column(entry, j)) sum += question.product(first + j);
    }
    sum = sum_of_warp(sum);
    for (int64_t j = threadIdx.x; j < task.columns; j += kWarp) {
      const int64_t at = first + j;
      A slope = 0;
      if (has_row && task.has_column(entry, j)) {
        slope =
            static_cast<A>(question.weights[at]) * (static_cast<A>(question.grad[at]) - sum) +
            static_cast<A>(context.weights[at]) * (static_cast<A>(context.grad[at]) - dots[entry * task.columns + j]);
      }
      grad[at] = static_cast<T>(slope);
    }
  });
}

}  // namespace pydlx
