// The preconditioner on CUDA: one V-cycle of every plane that is not done, in two launches per level and one for all
// last levels together.
//
//     down:  coarse rhs = P^T (rhs - A s),  s = weight rhs
//     up:    z = s + P (coarse fix),        fix = z + weight (rhs - A z)
//
// s, z and the residual exist only in shared memory, a tile and its ring at a time. Bytes per pixel of a level: rhs is
// read twice and fix written, 12 in float32, and a quarter of 8 for the coarser level; masks, weights and stencils (1,
// 4 and 20 bytes) are read twice, but from the cache for further planes of the mask.
#pragma once

#include "masked_poisson/grids.cuh"
#include "masked_poisson/setup.cuh"
#include "masked_poisson/state.cuh"

namespace pydlx {

/// Restriction weights of the fine row 2I + 1 and column 2J + 1 for coarse pixel (I, J): 1/2, or 1 if it is the last
/// fine one and therefore interpolates from this coarse pixel alone.
struct RestrictionEdge {
  float down, right;

  __device__ RestrictionEdge(const GridSize& fine, const GridSize& coarse, int I, int J)
      : down(2 * coarse.height == fine.height && I + 1 == coarse.height ? 1.0f : 0.5f),
        right(2 * coarse.width == fine.width && J + 1 == coarse.width ? 1.0f : 0.5f) {}

  /// P^T of the residual around rest[0]; the residual is zero outside of the canvas.
  __device__ float restricted(const float* rest, int pitch) const {
    const auto row = [this](const float* r) { return r[0] + 0.5f * r[-1] + right * r[1]; };
    return row(rest) + 0.5f * row(rest - pitch) + down * row(rest + pitch);
  }
};

/// P of coarse values at fine pixel (i, j); value(I, J) is zero on known pixels.
template <class Value>
__device__ __forceinline__ float prolonged(const GridSize& coarse, int i, int j, const Value& value) {
  const int I = i / 2, J = j / 2;
  const int below = min(I + i % 2, coarse.height - 1), right = min(J + j % 2, coarse.width - 1);
  return 0.25f * ((value(I, J) + value(I, right)) + (value(below, J) + value(below, right)));
}

/// The coarse right side, from the fine one; both (planes, height, width). A block per tile of the fine grid, which
/// covers 8 x 32 coarse pixels.
template <class Grid, class T>
__global__ __launch_bounds__(kTileThreads) void restrict_kernel(Grid fine_grids, CoarseGrid coarse_grids, Planes planes,
                                                                const PlaneState* __restrict__ states,
                                                                const T* __restrict__ rhs,
                                                                float* __restrict__ coarse_rhs) {
  using Smooth = TileCells<float, 2>;
  using Rest = TileCells<float, 1>;
  PYDLX_SHARED(float, smooth, Smooth::kCells);
  PYDLX_SHARED(float, rest, Rest::kCells);
  const Place place(fine_grids.tiling);
  const int mask = planes.mask_of(place.plane);
  const Grid fine = fine_grids.of_mask(mask);
  if (!states[place.plane].iterates() || !fine.busy[place.tile]) return;
  const CoarseGrid coarse = coarse_grids.of_mask(mask);
  rhs += place.plane * fine.size.pixels();
  Smooth::fill(smooth, fine.size, place, [&](int i, int j) {
    const float weight = fine.weight(i, j), b = static_cast<float>(rhs[fine.size.at(i, j)]);
    return weight != 0 ? weight * b : 0.0f;
  });
  __syncthreads();
#pragma unroll
  for (int turn = 0; turn < (Rest::kCells + kTileThreads - 1) / kTileThreads; ++turn) {
    const int k = turn * kTileThreads + static_cast<int>(threadIdx.x);
    if (k >= Rest::kCells) break;
    const int row = k / Rest::kPitch, column = k % Rest::kPitch;
    const int i = place.top - 1 + row, j = place.left - 1 + column;
    const float* here = smooth + (row + 1) * Smooth::kPitch + column + 1;
    const bool wanted = fine.is_unknown(i, j);
    rest[k] = wanted ? static_cast<float>(rhs[fine.size.at(i, j)]) - fine.apply(here, Smooth::kPitch, i, j) : 0.0f;
  }
  __syncthreads();
  constexpr int kCoarseColumns = kTileColumns / 2;
  static_assert(kTilePixels / 4 == kTileThreads, "a coarse pixel for each thread");
  const int row = static_cast<int>(threadIdx.x) / kCoarseColumns,
            column = static_cast<int>(threadIdx.x) % kCoarseColumns;
  const int I = place.top / 2 + row, J = place.left / 2 + column;
  if (I >= coarse.size.height || J >= coarse.size.width) return;
  const RestrictionEdge edge(fine.size, coarse.size, I, J);
  const float* here = rest + (2 * row + 1) * Rest::kPitch + 2 * column + 1;
  coarse_rhs[place.plane * coarse.size.pixels() + coarse.size.at(I, J)] = edge.restricted(here, Rest::kPitch);
}

/// The fix of a level from that of the coarser one, both (planes, height, width). A block per tile. On the finest level
/// the last block of a plane also computes the slope rhs . fix; on other levels fix is zero on known pixels.
template <class Grid, class T>
__global__ __launch_bounds__(kTileThreads) void correct_kernel(Grid fine_grids, GridSize coarse, Planes planes,
                                                               PlaneState* __restrict__ states,
                                                               const T* __restrict__ rhs,
                                                               const float* __restrict__ coarse_fix,
                                                               float* __restrict__ fix, double* __restrict__ parts) {
  constexpr bool kFinest = std::is_same_v<Grid, FinestGrid>;
  using Cells = TileCells<float, 1>;
  PYDLX_SHARED(float, z, Cells::kCells);
  const Place place(fine_grids.tiling);
  PlaneState& state = states[place.plane];
  if (!state.iterates()) return;
  const Grid fine = fine_grids.of_mask(planes.mask_of(place.plane));
  rhs += place.plane * fine.size.pixels();
  fix += place.plane * fine.size.pixels();
  coarse_fix += place.plane * coarse.pixels();
  double sum = 0;
  if (fine.busy[place.tile]) {
    Cells::fill(z, fine.size, place, [&](int i, int j) {
      const float weight = fine.weight(i, j), b = static_cast<float>(rhs[fine.size.at(i, j)]);
      const float step = prolonged(coarse, i, j, [&](int I, int J) { return coarse_fix[coarse.at(I, J)]; });
      return weight != 0 ? weight * b + step : 0.0f;
    });
    __syncthreads();
    each_pixel(fine.size, place, [&](int i, int j, int k) {
      const int64_t at = fine.size.at(i, j);
      const float weight = fine.weight(i, j), *here = z + Cells::cell(k);
      if (weight != 0) {
        const T b = rhs[at];
        const float value = here[0] + weight * (static_cast<float>(b) - fine.apply(here, Cells::kPitch, i, j));
        fix[at] = value;
        sum += static_cast<double>(b) * value;
      } else if (!kFinest) {
        fix[at] = 0;
      }
    });
  }
  if constexpr (kFinest) {
    if (sum_of_plane(sum, place, fine.tiling, parts, state)) {
      state.last_slope = state.slope;
      state.slope = sum;
    }
  }
}

// ---- the last levels

constexpr int kLastThreads = 1024;

/// One of the last levels of a mask, with vectors in shared memory: right sides without a border; s, z and the residual
/// with a border of zeros.
struct LastLevel {
  CoarseGrid grid;
  Divisor<int32_t> by_width, by_pitch;

  __device__ LastLevel(const LastLevels& all, int level, int mask)
      : grid(all.levels[level].grid.of_mask(mask)),
        by_width(all.levels[level].by_width),
        by_pitch(all.levels[level].by_pitch) {}

  __device__ int pitch() const { return grid.size.width + 2; }
  __device__ int cell(int i, int j) const { return (i + 1) * pitch() + j + 1; }

  /// Calls body(i, j, k) for this thread's pixels; k is the row-major index.
  template <class Body>
  __device__ __forceinline__ void each(const Body& body) const {
    const int pixels = static_cast<int>(grid.size.pixels());
    for (int k = static_cast<int>(threadIdx.x); k < pixels; k += kLastThreads) {
      const int i = by_width.quotient(k);
      body(i, k - i * grid.size.width, k);
    }
  }

  /// cells = value(i, j, k) on unknown pixels, zero on known ones and on the border.
  template <class Value>
  __device__ __forceinline__ void fill(float* cells, const Value& value) const {
    const int count = (grid.size.height + 2) * pitch();
    for (int c = static_cast<int>(threadIdx.x); c < count; c += kLastThreads) {
      const int row = by_pitch.quotient(c), i = row - 1, j = c - row * pitch() - 1;
      cells[c] = grid.is_unknown(i, j) ? value(i, j, i * grid.size.width + j) : 0.0f;
    }
  }

  __device__ float residual(const float* rhs, const float* z, int i, int j, int k) const {
    return rhs[k] - grid.apply(z + cell(i, j), pitch(), i, j);
  }
};

/// fix = inverse rhs on the coarsest level; a warp computes every 32nd row. All threads of the block must call it.
__device__ inline void solve_coarsest(const LastLevel& level, const float* inverse, const float* rhs, float* fix) {
  const int pixels = static_cast<int>(level.grid.size.pixels()), width = level.grid.size.width;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int r = static_cast<int>(threadIdx.x) / kWarp; r < pixels; r += kLastThreads / kWarp) {
    float sum = 0;
    for (int c = lane; c < pixels; c += kWarp) sum += inverse[r * kCoarsestPixels + c] * rhs[c];
    sum = sum_of_warp(sum);
    if (lane == 0) fix[level.cell(r / width, r % width)] = sum;
  }
}

/// The V-cycle of the last levels. A block per plane; its shared memory holds s or z and the residual or fix of the
/// largest level, and the right sides of all.
__global__ __launch_bounds__(kLastThreads) void last_levels_kernel(LastLevels last, Planes planes,
                                                                   const PlaneState* __restrict__ states,
                                                                   const float* __restrict__ rhs,
                                                                   float* __restrict__ fix) {
  PYDLX_DYNAMIC_SHARED(float, memory);
  const int plane = static_cast<int>(blockIdx.x), mask = planes.mask_of(plane);
  if (!states[plane].iterates()) return;
  const LastLevel first(last, 0, mask);
  const int cells = (first.grid.size.height + 2) * first.pitch();
  float *z = memory, *rest = z + cells, *own_rhs = rest + cells;
  rhs += plane * first.grid.size.pixels();
  fix += plane * first.grid.size.pixels();
  first.each([&](int i, int j, int k) {
    const float b = rhs[k];
    own_rhs[k] = first.grid.is_unknown(i, j) ? b : 0.0f;
  });
  __syncthreads();
  for (int l = 0; l + 1 < last.count; ++l) {
    const LastLevel fine(last, l, mask), coarse(last, l + 1, mask);
    float* coarse_rhs = own_rhs + fine.grid.size.pixels();
    fine.fill(z, [&](int i, int j, int k) { return fine.grid.weight(i, j) * own_rhs[k]; });
    __syncthreads();
    fine.fill(rest, [&](int i, int j, int k) { return fine.residual(own_rhs, z, i, j, k); });
    __syncthreads();
    coarse.each([&](int I, int J, int K) {
      const RestrictionEdge edge(fine.grid.size, coarse.grid.size, I, J);
      const float sum = edge.restricted(rest + fine.cell(2 * I, 2 * J), fine.pitch());
      coarse_rhs[K] = coarse.grid.is_unknown(I, J) ? sum : 0.0f;
    });
    __syncthreads();
    own_rhs = coarse_rhs;
  }
  solve_coarsest(LastLevel(last, last.count - 1, mask),
                 last.inverses + static_cast<int64_t>(mask) * kCoarsestPixels * kCoarsestPixels, own_rhs, rest);
  __syncthreads();
  for (int l = last.count - 2; l >= 0; --l) {
    const LastLevel fine(last, l, mask), coarse(last, l + 1, mask);
    own_rhs -= fine.grid.size.pixels();
    fine.fill(z, [&](int i, int j, int k) {
      const auto value = [&](int I, int J) { return rest[coarse.cell(I, J)]; };
      return fine.grid.weight(i, j) * own_rhs[k] + prolonged(coarse.grid.size, i, j, value);
    });
    __syncthreads();
    fine.each([&](int i, int j, int k) {
      const float step = fine.grid.weight(i, j) * fine.residual(own_rhs, z, i, j, k);
      rest[fine.cell(i, j)] = z[fine.cell(i, j)] + step;
    });
    __syncthreads();
  }
  first.each([&](int i, int j, int k) { fix[k] = rest[first.cell(i, j)]; });
}

}  // namespace pydlx
