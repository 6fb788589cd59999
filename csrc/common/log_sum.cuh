// Sums of exponentials put together over a warp.
#pragma once

#include "common/log_sum.h"
#include "common/reduce.cuh"

namespace pydlx {

/// The sum of what the lanes of a warp hold, known to all of them; to be called by whole warps.
template <class A>
__device__ inline LogSum<A> sum_of_warp(LogSum<A> value) {
  value.raise(largest_of_warp(value.peak));
  value.sum = sum_of_warp(value.sum);
  return value;
}

}  // namespace pydlx
