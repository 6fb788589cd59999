// Builds the hierarchies of all masks: one Galerkin product P^T A P per level (masked_poisson.h).
//
// P is a product of one-dimensional interpolations, so the Galerkin product is computed one axis at a time: rows 2I -
// 1, 2I and 2I + 1 of the fine stencil are contracted along x ("narrow" couplings) and then summed. Every coarse pixel
// does that independently, from about 90 fine couplings in the caches. Bytes for a mask of n pixels: n are read and 8 n
// written (six float32 for each of n / 3 coarse pixels), which are read once more on the way.
#pragma once

#include "masked_poisson/grids.cuh"

namespace pydlx {

/// Sets the flag of this tile to whether `any` is true in some thread. All threads of the block must call it.
__device__ inline void flag_tile(bool any, const Place& place, uint8_t* busy) {
  const bool flag = __syncthreads_or(any);
  if (threadIdx.x == 0) busy[place.tile] = flag;
}

/// A block per tile of each mask.
__global__ __launch_bounds__(kTileThreads) void flag_tiles_kernel(FinestGrid grids) {
  const Place place(grids.tiling);
  const FinestGrid grid = grids.of_mask(place.plane);
  bool any = false;
  each_pixel(grid.size, place, [&](int i, int j, int) { any |= grid.unknown[grid.size.at(i, j)]; });
  flag_tile(any, place, grid.busy);
}

/// Row i of the fine stencil, contracted along x to coarse column J. With `fold` the fine row ends at an odd column,
/// which interpolates from the last coarse column alone, with weight 1 instead of 1/2.
template <class Grid>
__device__ Couplings narrow_couplings(const Grid& fine, int i, int J, bool fold) {
  Couplings narrow;
  if (i < 0 || i >= fine.size.height || J < 0) return narrow;
  const int j = 2 * J;
  const Couplings a = fine.couplings(i, j - 1), b = fine.couplings(i, j), c = fine.couplings(i, j + 1);
  narrow.centre = b.centre + 0.25f * (a.centre + c.centre) + a.east + b.east;
  narrow.east = 0.25f * c.centre + 0.5f * (b.east + c.east);
  narrow.south =
      b.south + 0.25f * (a.south + c.south) + 0.5f * (a.south_east + b.south_east + b.south_west + c.south_west);
  narrow.south_east = 0.25f * c.south + 0.5f * (b.south_east + c.south_east);
  narrow.south_west = 0.25f * a.south + 0.5f * (b.south_west + a.south_west);
  if (fold) {
    narrow.centre += 0.75f * c.centre + b.east;
    narrow.south += 0.75f * c.south + 0.5f * (b.south_east + c.south_west);
  }
  return narrow;
}

/// The couplings of coarse pixel (I, J). Those to and from known pixels are zero; coarse pixel (I, J) is known if fine
/// pixel (2I, 2J) is.
template <class Grid>
__device__ Couplings coarse_couplings(const Grid& fine, const GridSize& coarse, int I, int J) {
  const int i = 2 * I, j = 2 * J;
  Couplings own;
  if (!fine.is_unknown(i, j)) return own;
  const bool fold_columns = 2 * coarse.width == fine.size.width, fold = fold_columns && J + 1 == coarse.width;
  const bool fold_next = fold_columns && J + 2 == coarse.width;
  const float below = 2 * coarse.height == fine.size.height && I + 1 == coarse.height ? 1.0f : 0.5f;
  const Couplings above = narrow_couplings(fine, i - 1, J, fold), here = narrow_couplings(fine, i, J, fold);
  const Couplings next = narrow_couplings(fine, i + 1, J, fold);
  own.centre = here.centre + 0.25f * above.centre + below * below * next.centre + above.south + 2 * below * here.south;
  if (fine.is_unknown(i, j + 2)) {
    const float above_west = narrow_couplings(fine, i - 1, J + 1, fold_next).south_west;
    const float here_west = narrow_couplings(fine, i, J + 1, fold_next).south_west;
    own.east = here.east + 0.25f * above.east + below * below * next.east + 0.5f * (above.south_east + above_west) +
               below * (here.south_east + here_west);
  }
  if (fine.is_unknown(i + 2, j - 2)) {
    const float next_west = narrow_couplings(fine, i + 1, J - 1, false).east;
    own.south_west = 0.25f * next_west + 0.5f * (here.south_west + next.south_west);
  }
  if (fine.is_unknown(i + 2, j)) own.south = 0.25f * next.centre + 0.5f * (here.south + next.south);
  if (fine.is_unknown(i + 2, j + 2)) own.south_east = 0.25f * next.east + 0.5f * (here.south_east + next.south_east);
  return own;
}

/// A block per tile of each mask's coarse grid.
template <class Grid>
__global__ __launch_bounds__(kTileThreads) void coarse_couplings_kernel(Grid fine_grids, CoarseGrid coarse_grids) {
  const Place place(coarse_grids.tiling);
  const Grid fine = fine_grids.of_mask(place.plane);
  const CoarseGrid coarse = coarse_grids.of_mask(place.plane);
  each_pixel(coarse.size, place,
             [&](int I, int J, int) { coarse.store(I, J, coarse_couplings(fine, coarse.size, I, J)); });
}

/// Damping / diagonal. If couplings have both signs, the sum of their magnitudes may exceed the diagonal; then damping
/// is divided by the mean of the two, so that the Jacobi sweep is stable on every mask (by Gershgorin no eigenvalue
/// exceeds 2).
__device__ inline float jacobi_step(const CoarseGrid& grid, int i, int j) {
  const Couplings own = grid.couplings(i, j);
  const float couplings = fabsf(own.east) + fabsf(own.south) + fabsf(own.south_west) + fabsf(own.south_east) +
                          fabsf(grid.couplings(i, j - 1).east) + fabsf(grid.couplings(i - 1, j).south) +
                          fabsf(grid.couplings(i - 1, j - 1).south_east) +
                          fabsf(grid.couplings(i - 1, j + 1).south_west);
  const float diagonal = fmaxf(own.centre, 0.5f * (own.centre + couplings));
  return own.centre > 0 ? kDamping / diagonal : 0.0f;
}

/// A block per tile of each mask's coarse grid.
__global__ __launch_bounds__(kTileThreads) void coarse_weights_kernel(CoarseGrid grids) {
  const Place place(grids.tiling);
  const CoarseGrid grid = grids.of_mask(place.plane);
  bool any = false;
  each_pixel(grid.size, place, [&](int i, int j, int) {
    const float step = jacobi_step(grid, i, j);
    grid.weights[grid.size.at(i, j)] = step;
    any |= step != 0;
  });
  flag_tile(any, place, grid.busy);
}

// ---- the last levels, which one block holds in shared memory

constexpr int kCoarsestPixels = 64;  // at most
constexpr int kMaxLastLevels = 8;

/// The levels whose vectors fit into a block's shared memory, from fine to coarse; the last has at most
/// kCoarsestPixels.
struct LastLevels {
  struct One {
    CoarseGrid grid;
    Divisor<int32_t> by_width{1}, by_pitch{1};  // width + 2: with a border
  };

  int count = 0;
  One levels[kMaxLastLevels];
  float* inverses = nullptr;  // (masks, kCoarsestPixels, kCoarsestPixels), of the coarsest operator
};

/// Entry (r, c) of the coarsest operator over its pixels in reading order, with 1 on the diagonal of known pixels.
__device__ inline double coarsest_entry(const CoarseGrid& grid, int r, int c) {
  const int pixels = static_cast<int>(grid.size.pixels()), width = grid.size.width;
  const int first = min(r, c), second = max(r, c);
  if (second >= pixels || !grid.is_unknown(first / width, first % width)) return r == c ? 1 : 0;
  const Couplings own = grid.couplings(first / width, first % width);
  if (r == c) return own.centre;
  const int down = second / width - first / width, right = second % width - first % width;
  if (down == 0) return right == 1 ? own.east : 0.0f;
  if (down != 1) return 0;
  return right == -1 ? own.south_west : right == 0 ? own.south : right == 1 ? own.south_east : 0.0f;
}

constexpr int kBuildThreads = 256;

/// Inverts the coarsest operator by Gauss-Jordan elimination in float64: four threads hold a row in registers, and each
/// step has one barrier. All threads of the block must call it.
__device__ inline void invert_coarsest(const CoarseGrid& grid, float* inverse) {
  constexpr int kLanes = kBuildThreads / kCoarsestPixels, kOwn = kCoarsestPixels / kLanes;
  PYDLX_SHARED(double, rows, 2, kCoarsestPixels);
  PYDLX_SHARED(double, columns, 2, kCoarsestPixels);
  // Pivots are positive in exact arithmetic; the lower bound keeps them positive despite rounding.
  PYDLX_SHARED(double, least, kCoarsestPixels);
  const int r = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  double own[kOwn];
#pragma unroll
  for (int k = 0; k < kOwn; ++k) {
    own[k] = coarsest_entry(grid, r, lane + kLanes * k);
    if (lane + kLanes * k == r) least[r] = 1e-9 * own[k];
  }
  const int pixels = static_cast<int>(grid.size.pixels());
  for (int p = 0; p < pixels; ++p) {
    double *row = rows[p % 2], *column = columns[p % 2];
#pragma unroll
    for (int k = 0; k < kOwn; ++k) {
      const int c = lane + kLanes * k;
      if (r == p) row[c] = own[k];
      if (c == p) column[r] = own[k];
    }
    __syncthreads();
    const double pivot = 1 / fmax(row[p], least[p]), factor = column[r] * pivot;
#pragma unroll
    for (int k = 0; k < kOwn; ++k) {
      const int c = lane + kLanes * k;
      if (r == p) {
        own[k] = c == p ? pivot : own[k] * pivot;
      } else {
        own[k] = c == p ? -factor : own[k] - factor * row[c];
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kOwn; ++k) inverse[r * kCoarsestPixels + lane + kLanes * k] = static_cast<float>(own[k]);
}

/// Builds all last levels except the first, and the inverse. A block per mask.
__global__ __launch_bounds__(kBuildThreads) void build_last_levels_kernel(LastLevels last) {
  const int mask = static_cast<int>(blockIdx.x);
  for (int l = 1; l < last.count; ++l) {
    const CoarseGrid fine = last.levels[l - 1].grid.of_mask(mask), coarse = last.levels[l].grid.of_mask(mask);
    const int pixels = static_cast<int>(coarse.size.pixels()), width = coarse.size.width;
    for (int k = static_cast<int>(threadIdx.x); k < pixels; k += kBuildThreads) {
      coarse.store(k / width, k % width, coarse_couplings(fine, coarse.size, k / width, k % width));
    }
    __syncthreads();
    for (int k = static_cast<int>(threadIdx.x); k < pixels; k += kBuildThreads) {
      coarse.weights[k] = jacobi_step(coarse, k / width, k % width);
    }
    __syncthreads();
  }
  invert_coarsest(last.levels[last.count - 1].grid.of_mask(mask),
                  last.inverses + static_cast<int64_t>(mask) * kCoarsestPixels * kCoarsestPixels);
}

}  // namespace pydlx
