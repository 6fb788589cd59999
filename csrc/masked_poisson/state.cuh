// The state of each plane's solve, which the last block of a kernel writes and the next kernels read, so that the host
// is not involved.
#pragma once

#include "common/grid_join.cuh"
#include "masked_poisson/grids.cuh"

namespace pydlx {

constexpr int kBatch = 6;  // iterations between checks of the true residual

struct PlaneState {
  enum Phase : int {
    kIterates,
    kAwaits,  // waits for the true residual: from an initial guess, or at the goal or limit of iterations
    kDone
  };

  double peak, scale;        // largest entry of the right side, and the power of two that brings it to [1, 2)
  double rhs, goal;          // squared norms, of the scaled right side; NaN if it is not finite
  double residual, before;   // squared norms of the residual, now and at the start of the round of iterations
  double slope, last_slope;  // residual . correction
  double energy;             // direction . A direction
  double steps[kBatch];      // step lengths along the directions that have not been added to the solution
  int directions;            // number of these directions
  int iterations;
  Phase phase;
  unsigned arrived;  // blocks of the running kernel that have arrived

  __device__ bool iterates() const { return phase == kIterates; }
  __device__ bool is_solvable() const { return rhs > 0; }
};

/// Joins `value` over the blocks of a plane; returns true in one thread of the last block, which has the result. All
/// threads of the block must call it.
template <class Join>
__device__ inline bool joined_over_plane(double& value, const Place& place, const Tiling& tiling, double* parts,
                                         PlaneState& state, const Join& join) {
  PYDLX_SHARED(double, room, kTileThreads / kWarp);
  parts += static_cast<int64_t>(place.plane) * tiling.count;
  const bool last = join_of_blocks<kTileThreads>(value, place.tile, tiling.count, parts, &state.arrived, room, join);
  return last && threadIdx.x == 0;
}

__device__ inline bool sum_of_plane(double& value, const Place& place, const Tiling& tiling, double* parts,
                                    PlaneState& state) {
  return joined_over_plane(value, place, tiling, parts, state, Sum());
}

/// The output of the planes' residuals and the count of finished planes.
struct Report {
  double* residuals;
  unsigned* done;

  /// Finishes a plane; called by one thread.
  __device__ void close(PlaneState& state, int plane) const {
    state.phase = PlaneState::kDone;
    residuals[plane] = state.is_solvable() ? sqrt(state.residual / state.rhs) : state.rhs;
    atomicAdd(done, 1u);
  }
};

}  // namespace pydlx
