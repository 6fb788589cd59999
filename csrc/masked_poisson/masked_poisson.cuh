// Conjugate gradients on CUDA, for all planes in parallel (method in masked_poisson.h); vcycle.cuh has the
// preconditioner, setup.cuh the hierarchy, grids.cuh the tiles.
//
// An iteration is a V-cycle and two launches: one computes the next direction and its energy, one updates the residual.
// Each ends with a sum over the plane, which the last block to arrive computes and the next launch needs. Blocks of
// planes that are done only check their state. After kBatch iterations the solution is advanced along the saved
// directions, and the true residual is computed for planes whose recursive residual has reached the goal.
//
// rhs, initial, solution: (planes, height, width). Bytes per pixel and iteration for float32 on the finest level: the
// residual is read 3 times and written once (16), the correction written and read (8), the direction written once and
// read twice (12), in total 36; adding the directions to the solution takes 4 + 16 / kBatch more; the mask's byte is
// read five times, but from the cache for further planes of the mask. Coarse levels add a third of 16.
#pragma once

#include "masked_poisson/state.cuh"

namespace pydlx {

/// A block's tile of a plane of the finest grid. Elements are addressed by their offset in (planes, height, width).
struct FinestTile {
  Place place;
  FinestGrid grid;
  int64_t plane;  // offset of the plane

  __device__ FinestTile(const FinestGrid& grids, const Planes& planes)
      : place(grids.tiling),
        grid(grids.of_mask(planes.mask_of(place.plane))),
        plane(place.plane * grid.size.pixels()) {}

  /// Whether it has an unknown pixel.
  __device__ bool is_busy() const { return grid.busy[place.tile]; }

  /// Calls body(offset, k) for this thread's unknown pixels, with k as in each_pixel.
  template <class Body>
  __device__ __forceinline__ void each_unknown(const Body& body) const {
    each_pixel(grid.size, place, [&](int i, int j, int k) {
      const int64_t at = grid.size.at(i, j);
      if (grid.unknown[at]) body(plane + at, k);
    });
  }

  /// Fills the tile and its ring by value(offset), zero on known pixels. All threads of the block must call it.
  template <class T, class Value>
  __device__ __forceinline__ void fill(T* cells, const Value& value) const {
    TileCells<T, 1>::fill(cells, grid.size, place, [&](int i, int j) {
      const int64_t at = grid.size.at(i, j);
      const bool unknown = grid.unknown[at];
      const T here = value(plane + at);  // read unconditionally, so that the load does not wait for the mask
      return unknown ? here : T(0);
    });
    __syncthreads();
  }

  /// (A z) at pixel k of a tile that `fill` has filled.
  template <class T>
  __device__ __forceinline__ static T apply(const T* cells, int k) {
    return FinestGrid::apply(cells + TileCells<T, 1>::cell(k), TileCells<T, 1>::kPitch);
  }
};

/// The largest absolute entry of each right side on unknown pixels, infinite if one is not finite; a block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void peak_kernel(FinestGrid grids, Planes planes, const T* __restrict__ rhs,
                                                            PlaneState* __restrict__ states,
                                                            double* __restrict__ parts) {
  const FinestTile tile(grids, planes);
  double peak = 0;
  tile.each_unknown([&](int64_t at, int) {
    const double b = fabs(static_cast<double>(rhs[at]));
    peak = fmax(peak, b < INFINITY ? b : INFINITY);
  });
  PlaneState& state = states[tile.place.plane];
  if (!joined_over_plane(peak, tile.place, grids.tiling, parts, state, Largest())) return;
  state.peak = peak;
  state.scale = peak > 0 && peak < INFINITY ? ldexp(1.0, min(-ilogb(peak), 1023)) : 1.0;
}

/// Solution = scale initial, or zero; residual = scale rhs. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void start_kernel(FinestGrid grids, Planes planes, const T* __restrict__ rhs,
                                                             const T* __restrict__ initial, double tolerance,
                                                             double* __restrict__ solution, T* __restrict__ residual,
                                                             PlaneState* __restrict__ states,
                                                             double* __restrict__ parts, Report report) {
  const FinestTile tile(grids, planes);
  PlaneState& state = states[tile.place.plane];
  const double scale = state.scale;
  double sum = 0;
  tile.each_unknown([&](int64_t at, int) {
    const double b = scale * static_cast<double>(rhs[at]);
    solution[at] = initial ? scale * static_cast<double>(initial[at]) : 0.0;
    residual[at] = static_cast<T>(b);
    sum += b * b;
  });
  if (!sum_of_plane(sum, tile.place, grids.tiling, parts, state)) return;
  state.rhs = state.peak < INFINITY ? sum : NAN;
  state.goal = tolerance * tolerance * sum;
  state.residual = sum;
  state.before = initial ? INFINITY : sum;
  state.slope = 0;
  state.directions = state.iterations = 0;
  state.phase = initial ? PlaneState::kAwaits : PlaneState::kIterates;
  if (!state.is_solvable() || (!initial && !(sum > state.goal))) report.close(state, tile.place.plane);
}

/// direction = correction + beta last; energy = direction . A direction. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void direction_kernel(FinestGrid grids, Planes planes,
                                                                 const float* __restrict__ correction,
                                                                 const T* __restrict__ last, T* __restrict__ direction,
                                                                 PlaneState* __restrict__ states,
                                                                 double* __restrict__ parts) {
  PYDLX_SHARED(T, cells, TileCells<T, 1>::kCells);
  const FinestTile tile(grids, planes);
  PlaneState& state = states[tile.place.plane];
  if (!state.iterates()) return;
  const T beta = state.last_slope > 0 ? static_cast<T>(state.slope / state.last_slope) : T(0);
  double sum = 0;
  if (tile.is_busy()) {
    const bool turns = beta != 0;  // false for the first direction of a round, which has no previous one
    tile.fill(cells, [&](int64_t at) {
      const T before = turns ? last[at] : T(0);
      return static_cast<T>(correction[at]) + beta * before;
    });
    tile.each_unknown([&](int64_t at, int k) {
      const T here = cells[TileCells<T, 1>::cell(k)];
      direction[at] = here;
      sum += static_cast<double>(here) * static_cast<double>(FinestTile::apply(cells, k));
    });
  }
  if (sum_of_plane(sum, tile.place, grids.tiling, parts, state)) state.energy = sum;
}

/// residual -= step A direction, the `number`-th of its batch. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void reduce_kernel(FinestGrid grids, Planes planes,
                                                              const T* __restrict__ direction, int number,
                                                              int max_iterations, T* __restrict__ residual,
                                                              PlaneState* __restrict__ states,
                                                              double* __restrict__ parts) {
  PYDLX_SHARED(T, cells, TileCells<T, 1>::kCells);
  const FinestTile tile(grids, planes);
  PlaneState& state = states[tile.place.plane];
  if (!state.iterates()) return;
  const T step = static_cast<T>(state.slope / state.energy);
  double sum = 0;
  if (tile.is_busy()) {
    tile.fill(cells, [&](int64_t at) { return direction[at]; });
    tile.each_unknown([&](int64_t at, int k) {
      const T rest = residual[at] - step * FinestTile::apply(cells, k);
      residual[at] = rest;
      sum += static_cast<double>(rest) * static_cast<double>(rest);
    });
  }
  if (!sum_of_plane(sum, tile.place, grids.tiling, parts, state)) return;
  state.residual = sum;
  state.steps[number] = static_cast<double>(step);
  state.directions = number + 1;
  state.iterations += 1;
  if (!(sum > state.goal) || state.iterations >= max_iterations) state.phase = PlaneState::kAwaits;
}

/// solution += the directions of a batch, (kBatch, planes, height, width), times their steps. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void advance_kernel(FinestGrid grids, Planes planes,
                                                               const PlaneState* __restrict__ states,
                                                               const T* __restrict__ directions, int64_t apart,
                                                               double* __restrict__ solution) {
  const FinestTile tile(grids, planes);
  const PlaneState& state = states[tile.place.plane];
  if (state.directions == 0 || !tile.is_busy()) return;
  tile.each_unknown([&](int64_t at, int) {
    double sum = solution[at];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (k < state.directions) sum += state.steps[k] * static_cast<double>(directions[k * apart + at]);
    }
    solution[at] = sum;
  });
}

/// The true residual, in float64, of the planes that wait for it; they are then done or continue from it. With `ends`,
/// all planes are done. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void check_kernel(FinestGrid grids, Planes planes, const T* __restrict__ rhs,
                                                             const double* __restrict__ solution, int max_iterations,
                                                             bool ends, T* __restrict__ residual,
                                                             PlaneState* __restrict__ states,
                                                             double* __restrict__ parts, Report report) {
  PYDLX_SHARED(double, cells, TileCells<double, 1>::kCells);
  const FinestTile tile(grids, planes);
  PlaneState& state = states[tile.place.plane];
  if (state.phase == PlaneState::kDone || (state.iterates() && !ends)) return;
  const double scale = state.scale;
  double sum = 0;
  if (tile.is_busy()) {
    tile.fill(cells, [&](int64_t at) { return solution[at]; });
    tile.each_unknown([&](int64_t at, int k) {
      const double rest = scale * static_cast<double>(rhs[at]) - FinestTile::apply(cells, k);
      residual[at] = static_cast<T>(rest);
      sum += rest * rest;
    });
  }
  if (!sum_of_plane(sum, tile.place, grids.tiling, parts, state)) return;
  const bool again = goes_on(sum, state.goal, state.before) && state.iterations < max_iterations && !ends;
  state.residual = state.before = sum;
  state.slope = 0;
  state.directions = 0;
  state.phase = PlaneState::kIterates;
  if (!again) report.close(state, tile.place.plane);
}

/// u = solution / scale, zero on known pixels; NaN where the right side is not finite. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void store_kernel(FinestGrid grids, Planes planes,
                                                             const PlaneState* __restrict__ states,
                                                             const double* __restrict__ solution, T* __restrict__ u) {
  const FinestTile tile(grids, planes);
  const PlaneState& state = states[tile.place.plane];
  const double unscale = 1 / state.scale;
  each_pixel(tile.grid.size, tile.place, [&](int i, int j, int) {
    const int64_t in_plane = tile.grid.size.at(i, j), at = tile.plane + in_plane;
    const double value = state.is_solvable() ? unscale * solution[at] : state.rhs;
    u[at] = tile.grid.unknown[in_plane] ? static_cast<T>(value) : T(0);
  });
}

}  // namespace pydlx
