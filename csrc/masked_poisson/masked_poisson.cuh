// Conjugate gradients on CUDA for all planes side by side (method in masked_poisson.h); vcycle.cuh has the
// preconditioner, setup.cuh the hierarchy, grids.cuh how blocks lie on planes.
//
// An iteration is a V-cycle and two launches: the next direction with its energy, and the residual's reduction. Each
// ends with a sum over a plane that the next needs, which its last block forms. Planes that are done cost a look at
// their state. After kBatch iterations the solution takes its steps along the directions, which were kept, and where
// the recursive residual has met the goal the true one is formed.
//
// rhs, initial, solution: (planes, height, width). Floor per pixel of an iteration in float32, on the finest level:
// read the residual 3 times and write it once, write and read the correction and the direction, which is read twice
// more, 36 bytes; 4 + 16 / kBatch for the solution's share; the mask's byte five times, once for all planes of a mask
// where these run side by side. Coarse levels add a third of 16.
#pragma once

#include "masked_poisson/state.cuh"

namespace pydlx {

/// The largest entry of each right side on unknown pixels, infinite if one is not finite; a block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void peak_kernel(FinestGrid grids, Planes planes, const T* __restrict__ rhs,
                                                            PlaneState* __restrict__ states,
                                                            double* __restrict__ parts) {
  const Place place(grids.tiling);
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  rhs += place.plane * grid.size.pixels();
  double peak = 0;
  each_pixel(grid.size, place, [&](int i, int j, int) {
    const int64_t at = grid.size.at(i, j);
    const double b = fabs(static_cast<double>(rhs[at]));
    if (grid.unknown[at]) peak = fmax(peak, b < INFINITY ? b : INFINITY);
  });
  PlaneState& state = states[place.plane];
  if (!joined_over_plane(peak, place, grid.tiling, parts, state, Largest())) return;
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
  const Place place(grids.tiling);
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  PlaneState& state = states[place.plane];
  const double scale = state.scale;
  const int64_t plane = place.plane * grid.size.pixels();
  double sum = 0;
  each_pixel(grid.size, place, [&](int i, int j, int) {
    const int64_t at = grid.size.at(i, j);
    if (!grid.unknown[at]) return;
    const double b = scale * static_cast<double>(rhs[plane + at]);
    solution[plane + at] = initial ? scale * static_cast<double>(initial[plane + at]) : 0.0;
    residual[plane + at] = static_cast<T>(b);
    sum += b * b;
  });
  if (!sum_of_plane(sum, place, grid.tiling, parts, state)) return;
  state.rhs = state.peak < INFINITY ? sum : NAN;
  state.goal = tolerance * tolerance * sum;
  state.residual = sum;
  state.before = initial ? INFINITY : sum;
  state.slope = 0;
  state.directions = state.iterations = 0;
  state.phase = initial ? PlaneState::kAwaits : PlaneState::kIterates;
  if (!state.is_solvable() || (!initial && !(sum > state.goal))) report.close(state, place.plane);
}

/// direction = correction + beta last; energy = direction . A direction. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void direction_kernel(FinestGrid grids, Planes planes,
                                                                 const float* __restrict__ correction,
                                                                 const T* __restrict__ last, T* __restrict__ direction,
                                                                 PlaneState* __restrict__ states,
                                                                 double* __restrict__ parts) {
  using Cells = TileCells<T, 1>;
  PYDLX_SHARED(T, cells, Cells::kCells);
  const Place place(grids.tiling);
  PlaneState& state = states[place.plane];
  if (!state.iterates()) return;
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  const int64_t plane = place.plane * grid.size.pixels();
  const T beta = state.last_slope > 0 ? static_cast<T>(state.slope / state.last_slope) : T(0);
  double sum = 0;
  if (grid.busy[place.tile]) {
    const bool turns = beta != 0;  // the first direction of a round has none before it
    Cells::fill(cells, grid.size, place, [&](int i, int j) {
      const int64_t at = grid.size.at(i, j);
      const bool unknown = grid.unknown[at];
      const T fix = static_cast<T>(correction[plane + at]), before = turns ? last[plane + at] : T(0);
      return unknown ? fix + beta * before : T(0);
    });
    __syncthreads();
    each_pixel(grid.size, place, [&](int i, int j, int k) {
      const int64_t at = grid.size.at(i, j);
      if (!grid.unknown[at]) return;
      const T* here = cells + Cells::cell(k);
      direction[plane + at] = here[0];
      sum += static_cast<double>(here[0]) * static_cast<double>(FinestGrid::apply(here, Cells::kPitch));
    });
  }
  if (sum_of_plane(sum, place, grid.tiling, parts, state)) state.energy = sum;
}

/// residual -= step A direction, the `number`-th of its batch. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void reduce_kernel(FinestGrid grids, Planes planes,
                                                              const T* __restrict__ direction, int number,
                                                              int max_iterations, T* __restrict__ residual,
                                                              PlaneState* __restrict__ states,
                                                              double* __restrict__ parts) {
  using Cells = TileCells<T, 1>;
  PYDLX_SHARED(T, cells, Cells::kCells);
  const Place place(grids.tiling);
  PlaneState& state = states[place.plane];
  if (!state.iterates()) return;
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  const int64_t plane = place.plane * grid.size.pixels();
  const T step = static_cast<T>(state.slope / state.energy);
  double sum = 0;
  if (grid.busy[place.tile]) {
    Cells::fill(cells, grid.size, place, [&](int i, int j) {
      const int64_t at = grid.size.at(i, j);
      const bool unknown = grid.unknown[at];
      const T value = direction[plane + at];
      return unknown ? value : T(0);
    });
    __syncthreads();
    each_pixel(grid.size, place, [&](int i, int j, int k) {
      const int64_t at = grid.size.at(i, j);
      if (!grid.unknown[at]) return;
      const T rest = residual[plane + at] - step * FinestGrid::apply(cells + Cells::cell(k), Cells::kPitch);
      residual[plane + at] = rest;
      sum += static_cast<double>(rest) * static_cast<double>(rest);
    });
  }
  if (!sum_of_plane(sum, place, grid.tiling, parts, state)) return;
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
  const Place place(grids.tiling);
  const PlaneState& state = states[place.plane];
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  if (state.directions == 0 || !grid.busy[place.tile]) return;
  const int64_t plane = place.plane * grid.size.pixels();
  each_pixel(grid.size, place, [&](int i, int j, int) {
    const int64_t at = grid.size.at(i, j);
    if (!grid.unknown[at]) return;
    double sum = solution[plane + at];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (k < state.directions) sum += state.steps[k] * static_cast<double>(directions[k * apart + plane + at]);
    }
    solution[plane + at] = sum;
  });
}

/// The true residual, in float64, of the planes that await it: they are done, or iterate from there. `ends`: all planes
/// are done. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void check_kernel(FinestGrid grids, Planes planes, const T* __restrict__ rhs,
                                                             const double* __restrict__ solution, int max_iterations,
                                                             bool ends, T* __restrict__ residual,
                                                             PlaneState* __restrict__ states,
                                                             double* __restrict__ parts, Report report) {
  using Cells = TileCells<double, 1>;
  PYDLX_SHARED(double, cells, Cells::kCells);
  const Place place(grids.tiling);
  PlaneState& state = states[place.plane];
  if (state.phase == PlaneState::kDone || (state.iterates() && !ends)) return;
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  const int64_t plane = place.plane * grid.size.pixels();
  const double scale = state.scale;
  double sum = 0;
  if (grid.busy[place.tile]) {
    Cells::fill(cells, grid.size, place, [&](int i, int j) {
      const int64_t at = grid.size.at(i, j);
      const bool unknown = grid.unknown[at];
      const double value = solution[plane + at];
      return unknown ? value : 0.0;
    });
    __syncthreads();
    each_pixel(grid.size, place, [&](int i, int j, int k) {
      const int64_t at = grid.size.at(i, j);
      if (!grid.unknown[at]) return;
      const double b = scale * static_cast<double>(rhs[plane + at]);
      const double rest = b - FinestGrid::apply(cells + Cells::cell(k), Cells::kPitch);
      residual[plane + at] = static_cast<T>(rest);
      sum += rest * rest;
    });
  }
  if (!sum_of_plane(sum, place, grid.tiling, parts, state)) return;
  const bool again = goes_on(sum, state.goal, state.before) && state.iterations < max_iterations && !ends;
  state.residual = state.before = sum;
  state.slope = 0;
  state.directions = 0;
  state.phase = PlaneState::kIterates;
  if (!again) report.close(state, place.plane);
}

/// u = solution / scale, zero on known pixels; NaN where the right side is not finite. A block per tile.
template <class T>
__global__ __launch_bounds__(kTileThreads) void store_kernel(FinestGrid grids, Planes planes,
                                                             const PlaneState* __restrict__ states,
                                                             const double* __restrict__ solution, T* __restrict__ u) {
  const Place place(grids.tiling);
  const FinestGrid grid = grids.of_mask(planes.mask_of(place.plane));
  const PlaneState& state = states[place.plane];
  const int64_t plane = place.plane * grid.size.pixels();
  const double unscale = 1 / state.scale;
  each_pixel(grid.size, place, [&](int i, int j, int) {
    const int64_t at = grid.size.at(i, j);
    const double value = state.is_solvable() ? unscale * solution[plane + at] : state.rhs;
    u[plane + at] = grid.unknown[at] ? static_cast<T>(value) : T(0);
  });
}

}  // namespace pydlx
