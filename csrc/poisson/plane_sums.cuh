// Float64 sums over planes, from which the mean of a solution is computed (poisson.h).
#pragma once

#include "common/reduce.cuh"
#include "poisson/poisson.h"

namespace pydlx {

// Sums of one part of a plane.
struct PlanePartial {
  RowSums rhs;
  double colour;
};

/// Sums over a block of `threads` threads and writes the result. All threads of the block must call it.
template <int threads>
__device__ inline void store_sums(double rhs, double magnitude, double colour, PlanePartial* to) {
  PYDLX_SHARED(double, parts, threads / kWarp);
  const PlanePartial total{{sum_of_block<threads>(rhs, parts), sum_of_block<threads>(magnitude, parts)},
                           sum_of_block<threads>(colour, parts)};
  if (threadIdx.x == 0) *to = total;
}

// The means of the solutions from the sums of `count` parts of each plane.
struct MeanOfPlane {
  const PlanePartial* partials;
  int count;
  double epsilon;
  PoissonProblem problem;

  /// The mean of a plane's solution, returned in every lane. All lanes of the warp must call it.
  __device__ double of(int64_t plane) const {
    PlanePartial sums{{0, 0}, 0};
    for (int k = thread_of_block() % kWarp; k < count; k += kWarp) {
      const PlanePartial part = partials[plane * count + k];
      sums.rhs.sum += part.rhs.sum;
      sums.rhs.magnitude += part.rhs.magnitude;
      sums.colour += part.colour;
    }
    const RowSums rhs{sum_of_warp(sums.rhs.sum), sum_of_warp(sums.rhs.magnitude)};
    return solution_mean(problem, rhs, sum_of_warp(sums.colour), epsilon);
  }
};

}  // namespace pydlx
