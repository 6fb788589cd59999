// How far the solve of each plane is: numbers that the last block of a kernel writes and the next kernels read, so that
// the host need not ask.
#pragma once

#include "common/grid_join.cuh"
#include "masked_poisson/grids.cuh"

namespace pydlx {

constexpr int kBatch = 6;  // iterations between two looks at the true residual

struct PlaneState {
  enum Phase : int {
    kIterates,
    kAwaits,  // the true residual: the recursive one has met the goal, or there may be no further iteration
    kDone
  };

  double peak, scale;        // largest entry of the right side, and the power of two that brings it to [1, 2)
  double rhs, goal;          // squared norms, of the scaled right side; NaN if it is not finite
  double residual, before;   // squared norms, of the residual now and at the begin of the round of iterations
  double slope, last_slope;  // residual . correction
  double energy;             // direction . A direction
  double steps[kBatch];      // along the directions that the solution has not taken yet
  int directions;            // their number
  int iterations;
  Phase phase;
  unsigned arrived;  // blocks, of the kernel at work

  __device__ bool iterates() const { return phase == kIterates; }
  __device__ bool is_solvable() const { return rhs > 0; }
};

/// Puts together what the blocks of a plane hold in `value`; true in one thread of the last one. A collective of the
/// block.
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

/// Where the planes' residuals go and how many are done.
struct Report {
  double* residuals;
  unsigned* done;

  /// Ends the solve of a plane, by one thread.
  __device__ void close(PlaneState& state, int plane) const {
    state.phase = PlaneState::kDone;
    residuals[plane] = state.is_solvable() ? sqrt(state.residual / state.rhs) : state.rhs;
    atomicAdd(done, 1u);
  }
};

}  // namespace pydlx
