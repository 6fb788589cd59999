// What one window of SoftPool comes to, in the registers of one thread (maths in soft_pool.h). With peak m, distances
// d_i = a_i - m, weights e_i = exp(d_i), their sum S and the mean distance D = sum e_i d_i / S:
//
//     y = m + D        dy/da_i = e_i / S (1 + d_i - D)        straight-through: e_i / S
//
// Distances end at a floor below which a weight is 0 anyway: 0 times a finite number is 0, also for cells of -inf. Each
// window is measured from its own peak, so that no spread and no offset of the input costs accuracy. Cells outside of
// the input stand as -inf; only where the peak itself is infinite must they be told apart from real ones.
#pragma once

#include <cmath>

#include "common/accumulate.h"
#include "common/maths.cuh"

namespace pydlx {

/// exp() of it is 0.
template <class A>
constexpr A kFarBelow = sizeof(A) == sizeof(double) ? A(-800) : A(-150);

template <class A>
__device__ __forceinline__ bool is_infinite_or_nan(A a) {
  return !(fabs(a) < A(INFINITY));
}

/// a - peak. Equal infinities are 0 apart.
template <class A>
__device__ __forceinline__ A distance_below(A a, A peak) {
  return a == peak ? A(0) : at_least(a - peak, kFarBelow<A>);
}

/// The share of one window in the gradient of a cell: share = grad / S, slope_at_peak = 1 - D, or 1 if
/// straight-through, when `exact` is 0 and else 1.
template <class A>
__device__ __forceinline__ A gradient_of_cell(A distance, A weight, A share, A slope_at_peak, A exact) {
  return share * weight * fma(exact, distance, slope_at_peak);
}

/// A window of `count` cells, known to the compiler.
template <class A, int count>
struct SoftPoolWindow {
  A peak, reciprocal, mean;  // m, 1 / S, D
  A distances[count], weights[count];

  /// `cells_inside()` is how many of the cells are not padding: asked where all are -inf.
  template <class CellsInside>
  __device__ __forceinline__ SoftPoolWindow(const A (&cells)[count], const CellsInside& cells_inside)
      : peak(largest<0, count>(cells)) {
#pragma unroll
    for (int i = 0; i < count; ++i) distances[i] = at_least(cells[i] - peak, kFarBelow<A>);
    A total = 0, weighted = 0;
    if (is_infinite_or_nan(peak)) {
#pragma unroll
      for (int i = 0; i < count; ++i) distances[i] = distance_below(cells[i], peak);
      if (peak == A(-INFINITY)) total = static_cast<A>(cells_inside() - count);
    }
#pragma unroll
    for (int i = 0; i < count; ++i) {
      weights[i] = fast_exp(distances[i]);
      total += weights[i];
      weighted = fma(weights[i], distances[i], weighted);
    }
    reciprocal = fast_reciprocal(total);
    mean = weighted * reciprocal;
  }

  /// Of the cells [first, last), as a tree, since each step waits for the one before.
  template <int first, int last>
  static __device__ __forceinline__ A largest(const A (&cells)[count]) {
    if constexpr (last - first == 1) {
      return cells[first];
    } else {
      return max(largest<first, (first + last) / 2>(cells), largest<(first + last) / 2, last>(cells));
    }
  }

  __device__ __forceinline__ A value() const { return peak + mean; }

  __device__ __forceinline__ void gradients(A grad, A exact, A (&to)[count]) const {
    const A share = grad * reciprocal, slope_at_peak = A(1) - exact * mean;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      to[i] = gradient_of_cell(distances[i], weights[i], share, slope_at_peak, exact);
    }
  }
};

}  // namespace pydlx
