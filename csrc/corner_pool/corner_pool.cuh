// Corner pooling kernels (maths and shapes in corner_pool.h), over a dense tensor seen as a CornerScan.
//
// Columns (inner > 1): one thread per column, consecutive threads on consecutive columns, so every step of a warp reads
// neighbouring cells. Rows (inner = 1): one warp per row, which scans 32 cells at a time by shuffles. No atomics, no
// index tensor; each sum has one order.
//
// Floor of a forward: read x, write y. Of a backward: read x and g, write dx. Of a pair: read both maps, write y; the
// pair runs as two kernels, the second of which reads and rewrites what the first wrote.
#pragma once

#include <cmath>

#include "common/indexing.cuh"
#include "corner_pool/corner_pool.h"

namespace pydlx {

// Whether `a` is to follow `best` as the maximum: it is greater, or the first NaN.
template <class A>
__host__ __device__ inline bool takes_over(A a, A best) {
  return a > best || (a != a && best == best);
}

// The first cell of column `index` of the scan, counted over blocks.
__host__ __device__ inline int64_t column_start(const CornerScan& s, int64_t index) {
  return index / s.inner * s.length * s.inner + index % s.inner;
}

// With kAdd the maxima are added to what y holds, which is rounded once.
template <class T, bool kAdd>
__global__ void corner_columns_kernel(CornerScan s, const T* __restrict__ x, T* __restrict__ y, int64_t columns) {
  using A = accumulate_t<T>;
  PYDLX_GRID_STRIDE(index, columns) {
    const int64_t start = column_start(s, index);
    A best = -INFINITY;
    for (int64_t k = 0; k < s.length; ++k) {
      const int64_t at = start + s.line(k);
      const A a = static_cast<A>(x[at]);
      if (takes_over(a, best)) best = a;
      y[at] = static_cast<T>(kAdd ? best + static_cast<A>(y[at]) : best);
    }
  }
}

// The cell that holds the maximum waits for its sum until another one takes over; all others are 0 at once.
template <class T>
__global__ void corner_columns_backward_kernel(CornerScan s, const T* __restrict__ grad, const T* __restrict__ x,
                                               T* __restrict__ dx, int64_t columns) {
  using A = accumulate_t<T>;
  PYDLX_GRID_STRIDE(index, columns) {
    const int64_t start = column_start(s, index);
    int64_t holder = start + s.line(0);
    A best = static_cast<A>(x[holder]), sum = static_cast<A>(grad[holder]);
    for (int64_t k = 1; k < s.length; ++k) {
      const int64_t at = start + s.line(k);
      const A a = static_cast<A>(x[at]), g = static_cast<A>(grad[at]);
      if (takes_over(a, best)) {
        dx[holder] = static_cast<T>(sum);
        holder = at;
        best = a;
        sum = g;
      } else {
        dx[at] = static_cast<T>(0);
        sum += g;
      }
    }
    dx[holder] = static_cast<T>(sum);
  }
}

// Every lane's maximum of its own value and those of the lanes below, the first of equals; lanes are in scan order.
template <class A>
__device__ inline A warp_scan(A a, int lane) {
  for (int step = 1; step < kWarp; step *= 2) {
    const A before = __shfl_up_sync(kWholeWarp, a, step);
    if (lane >= step && !takes_over(a, before)) a = before;
  }
  return a;
}

// Calls visit(row start) for the rows of this warp, whole warps at a time; blocks hold `blockDim.x / 32` rows.
template <class Visit>
__device__ inline void for_rows(const CornerScan& s, const Visit& visit) {
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / kWarp);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  for (int64_t row = first; row < s.outer; row += warps) visit(row * s.length);
}

template <class T>
__global__ void corner_rows_kernel(CornerScan s, const T* __restrict__ x, T* __restrict__ y) {
  using A = accumulate_t<T>;
  const int lane = threadIdx.x % kWarp;
  for_rows(s, [&](int64_t start) {
    A best = -INFINITY;
    for (int64_t first = 0; first < s.length; first += kWarp) {
      const bool inside = first + lane < s.length;
      const int64_t at = start + (inside ? s.line(first + lane) : 0);
      A a = warp_scan(inside ? static_cast<A>(x[at]) : A(-INFINITY), lane);
      if (!takes_over(a, best)) a = best;
      if (inside) y[at] = static_cast<T>(a);
      best = __shfl_sync(kWholeWarp, a, kWarp - 1);
    }
  });
}

// Of 32 cells, those where the maximum changes ("heads") begin a run each. A run's sum is taken by its head; the run
// that is open at the end goes on in the next 32, its head (`holder`) and its sum so far with it.
template <class T>
__global__ void corner_rows_backward_kernel(CornerScan s, const T* __restrict__ grad, const T* __restrict__ x,
                                            T* __restrict__ dx) {
  using A = accumulate_t<T>;
  const int lane = threadIdx.x % kWarp;
  for_rows(s, [&](int64_t start) {
    A best = -INFINITY, open = 0;
    int64_t holder = start + s.line(0);
    for (int64_t first = 0; first < s.length; first += kWarp) {
      const bool inside = first + lane < s.length;
      const int64_t at = start + (inside ? s.line(first + lane) : 0);
      const A a = inside ? static_cast<A>(x[at]) : A(-INFINITY);
      const A scanned = warp_scan(a, lane);
      A before = __shfl_up_sync(kWholeWarp, scanned, 1);
      if (lane == 0 || !takes_over(before, best)) before = best;
      const bool head = inside && (takes_over(a, before) || first + lane == 0);
      const unsigned heads = __ballot_sync(kWholeWarp, head);

      const unsigned later = lane + 1 < kWarp ? heads >> (lane + 1) : 0;
      const int run_end = later ? lane + __ffs(later) : kWarp;
      A sum = inside ? static_cast<A>(grad[at]) : A(0);
      for (int step = 1; step < kWarp; step *= 2) {
        const A more = __shfl_down_sync(kWholeWarp, sum, step);
        if (lane + step < run_end) sum += more;
      }

      const int last_head = heads ? kWarp - 1 - __clz(static_cast<int>(heads)) : -1;
      if (inside && lane != last_head) dx[at] = static_cast<T>(head ? sum : A(0));
      open += (heads & 1u) ? A(0) : __shfl_sync(kWholeWarp, sum, 0);
      if (heads) {
        if (lane == 0 && first > 0) dx[holder] = static_cast<T>(open);
        holder = start + s.line(first + last_head);
        open = __shfl_sync(kWholeWarp, sum, last_head);
      }
      const A chunk_best = __shfl_sync(kWholeWarp, scanned, kWarp - 1);
      if (takes_over(chunk_best, best)) best = chunk_best;
    }
    if (lane == 0) dx[holder] = static_cast<T>(open);
  });
}

}  // namespace pydlx
