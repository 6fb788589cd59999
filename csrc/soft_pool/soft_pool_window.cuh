// One window of SoftPool, computed in the registers of one thread (maths in soft_pool.h). With peak m, distances
// d_i = a_i - m, weights e_i = exp(d_i), their sum S and the mean distance D = sum e_i d_i / S:
//
//     y = m + D        dy/da_i = e_i / S (1 + d_i - D)        straight-through: e_i / S
//
// Distances are clamped at a value where the weight is 0, so that 0 is never multiplied with -inf. All values are
// relative to the window's own peak, so that neither the range nor the offset of the input costs accuracy. Elements
// outside of the input are -inf; only if the peak itself is -inf must they be distinguished from real elements.
#pragma once

#include <cmath>

#include "common/accumulate.h"
#include "common/maths.cuh"

namespace pydlx {

/// The lower bound of distances; its exponential is 0.
template <class A>
constexpr A kFarBelow = sizeof(A) == sizeof(double) ? A(-800) : A(-150);

template <class A>
__device__ __forceinline__ bool is_infinite_or_nan(A a) {
  return !(fabs(a) < A(INFINITY));
}

/// a - peak, clamped from below; inf - inf is 0.
template <class A>
__device__ __forceinline__ A distance_below(A a, A peak) {
  return a == peak ? A(0) : at_least(a - peak, kFarBelow<A>);
}

/// The gradient of one element from one window, where share = grad / S. Exact: slope_at_peak = 1 - D and exact = 1;
/// straight-through: slope_at_peak = 1 and exact = 0.
template <class A>
__device__ __forceinline__ A gradient_of_cell(A distance, A weight, A share, A slope_at_peak, A exact) {
  return share * weight * fma(exact, distance, slope_at_peak);
}

/// A window of `count` elements, a compile-time constant.
template <class A, int count>
struct SoftPoolWindow {
  A peak, reciprocal, mean;  // m, 1 / S, D
  A distances[count], weights[count];

  /// `cells_inside()` returns how many elements are not padding; it is called only if all are -inf.
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

  /// The largest of elements [first, last), as a tree, because steps of a chain would wait for each other.
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
