// Sums of exponentials over the lanes of a warp.
#pragma once

#include "common/log_sum.h"
#include "common/reduce.cuh"

namespace pydlx {

/// The sum over the lanes of a warp, returned in every lane. All lanes must call it.
template <class A>
__device__ inline LogSum<A> sum_of_warp(LogSum<A> value) {
  value.raise(largest_of_warp(value.peak));
  value.sum = sum_of_warp(value.sum);
  return value;
}

}  // namespace pydlx
