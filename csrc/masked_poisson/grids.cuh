// The grids of the hierarchy on CUDA, and the tiles that blocks process.
//
// A block of 256 threads processes a tile of 16 x 64 pixels of one plane; thread t has column t % 64 of rows t / 64,
// t / 64 + 4, ..., so a warp reads 32 consecutive pixels. The tile is loaded into shared memory with the ring of pixels
// that a stencil needs. All grids are one-dimensional, planes x tiles blocks.
//
// Vectors are defined on unknown pixels only. Values on known pixels are arbitrary and replaced by zero when they are
// read, so that nothing has to be cleared; a tile without unknown pixels costs only the check of its flag. The
// exception are the corrections of coarse levels, which are zero on known pixels, because prolongation reads them
// unchecked.
//
// Row and column indices have 32 bits, the index in a plane 64; either way its computation is one multiplication.
#pragma once

#include <cstdint>

#include "common/indexing.cuh"
#include "common/reduce.cuh"
#include "masked_poisson/masked_poisson.h"

namespace pydlx {

constexpr int kTileRows = 16, kTileColumns = 64, kTilePixels = kTileRows * kTileColumns, kTileThreads = 256;

/// The tiles of a plane.
struct Tiling {
  int columns, count;
  Divisor<int32_t> by_columns, by_count;

  Tiling(int64_t height, int64_t width)
      : columns(static_cast<int>((width + kTileColumns - 1) / kTileColumns)),
        count(static_cast<int>((height + kTileRows - 1) / kTileRows * columns)),
        by_columns(columns),
        by_count(count) {}
};

/// The tile of this block.
struct Place {
  int plane, tile, top, left;

  __device__ explicit Place(const Tiling& tiling) {
    const int block = static_cast<int>(blockIdx.x);
    plane = tiling.by_count.quotient(block);
    tile = block - plane * tiling.count;
    const int row = tiling.by_columns.quotient(tile);
    top = row * kTileRows;
    left = (tile - row * tiling.columns) * kTileColumns;
  }
};

struct GridSize {
  int height, width;

  __host__ __device__ int64_t pixels() const { return static_cast<int64_t>(height) * width; }
  __device__ int64_t at(int i, int j) const { return static_cast<int64_t>(i) * width + j; }
  __device__ bool has(int i, int j) const { return i >= 0 && i < height && j >= 0 && j < width; }
};

/// Calls body(i, j, k) for this thread's pixels of a tile: pixel (i, j) of the plane, at k = row * kTileColumns +
/// column in the tile.
template <class Body>
__device__ __forceinline__ void each_pixel(const GridSize& size, const Place& place, const Body& body) {
#pragma unroll
  for (int turn = 0; turn < kTilePixels / kTileThreads; ++turn) {
    const int k = turn * kTileThreads + static_cast<int>(threadIdx.x);
    const int i = place.top + k / kTileColumns, j = place.left + k % kTileColumns;
    if (i < size.height && j < size.width) body(i, j, k);
  }
}

/// A tile and a ring of `ring` pixels around it, in shared memory.
template <class T, int ring>
struct TileCells {
  static constexpr int kRows = kTileRows + 2 * ring, kPitch = kTileColumns + 2 * ring, kCells = kRows * kPitch;

  /// The position of the tile's pixel k in shared memory.
  __device__ static int cell(int k) { return (k / kTileColumns + ring) * kPitch + k % kTileColumns + ring; }

  /// Fills the tile and its ring by load(i, j). Pixels outside of the canvas repeat its edge, so that there is no flow
  /// across it and constants are prolonged to constants.
  template <class Load>
  __device__ __forceinline__ static void fill(T* cells, const GridSize& size, const Place& place, const Load& load) {
#pragma unroll
    for (int turn = 0; turn < (kCells + kTileThreads - 1) / kTileThreads; ++turn) {
      const int k = turn * kTileThreads + static_cast<int>(threadIdx.x);
      if (k >= kCells) break;
      const int i = place.top - ring + k / kPitch, j = place.left - ring + k % kPitch;
      cells[k] = load(min(max(i, 0), size.height - 1), min(max(j, 0), size.width - 1));
    }
  }
};

/// The stencil of pixel (i, j): its couplings to itself, (i, j + 1), (i + 1, j - 1), (i + 1, j) and (i + 1, j + 1). By
/// symmetry the other four are stored with the neighbours.
struct Couplings {
  float centre = 0, east = 0, south_west = 0, south = 0, south_east = 0;
};

/// The finest grid of each mask. Its Jacobi steps are damping / n_p, zero on known pixels.
struct FinestGrid {
  GridSize size;
  Tiling tiling;
  const bool* unknown;  // (masks, height, width)
  uint8_t* busy;        // (masks, tiles): whether a tile has an unknown pixel

  __device__ FinestGrid of_mask(int mask) const {
    FinestGrid own = *this;
    own.unknown += mask * size.pixels();
    own.busy += static_cast<int64_t>(mask) * tiling.count;
    return own;
  }

  __device__ int neighbours(int i, int j) const {
    return (i > 0) + (i + 1 < size.height) + (j > 0) + (j + 1 < size.width);
  }
  __device__ bool is_unknown(int i, int j) const { return size.has(i, j) && unknown[size.at(i, j)]; }

  /// The Jacobi step. A canvas of a single pixel, which has no neighbour, uses the step for one neighbour.
  __device__ float weight(int i, int j) const {
    const int count = neighbours(i, j);
    const float few = count == 3 ? kDamping / 3 : count == 2 ? kDamping / 2 : kDamping;  // constants avoid a division
    return !unknown[size.at(i, j)] ? 0.0f : count == 4 ? kDamping / 4 : few;
  }

  __device__ Couplings couplings(int i, int j) const {
    Couplings own;
    if (!is_unknown(i, j)) return own;
    own.centre = static_cast<float>(neighbours(i, j));
    own.east = is_unknown(i, j + 1) ? -1.0f : 0.0f;
    own.south = is_unknown(i + 1, j) ? -1.0f : 0.0f;
    return own;
  }

  /// (A z)[i, j], where z[0] is z[i, j], as a sum of differences.
  template <class T>
  __device__ static T apply(const T* z, int pitch) {
    return ((z[0] - z[-1]) + (z[0] - z[1])) + ((z[0] - z[-pitch]) + (z[0] - z[pitch]));
  }
  __device__ float apply(const float* z, int pitch, int, int) const { return apply(z, pitch); }
};

/// A coarse grid of each mask.
struct CoarseGrid {
  GridSize size{1, 1};
  Tiling tiling{1, 1};
  float* weights = nullptr;   // (masks, height, width): Jacobi steps
  float* stencils = nullptr;  // (masks, 5, height, width): in the order of Couplings
  uint8_t* busy = nullptr;    // (masks, tiles): whether a tile has an unknown pixel

  __device__ CoarseGrid of_mask(int mask) const {
    CoarseGrid own = *this;
    own.weights += mask * size.pixels();
    own.stencils += mask * 5 * size.pixels();
    own.busy += static_cast<int64_t>(mask) * tiling.count;
    return own;
  }

  __device__ bool is_unknown(int i, int j) const { return size.has(i, j) && weight(i, j) != 0; }
  __device__ float weight(int i, int j) const { return weights[size.at(i, j)]; }

  __device__ Couplings couplings(int i, int j) const {
    Couplings own;
    if (!size.has(i, j)) return own;
    const int64_t pixels = size.pixels();
    const float* stencil = stencils + size.at(i, j);
    own.centre = stencil[0];
    own.east = stencil[pixels];
    own.south_west = stencil[2 * pixels];
    own.south = stencil[3 * pixels];
    own.south_east = stencil[4 * pixels];
    return own;
  }

  __device__ void store(int i, int j, const Couplings& own) const {
    const int64_t pixels = size.pixels();
    float* stencil = stencils + size.at(i, j);
    stencil[0] = own.centre;
    stencil[pixels] = own.east;
    stencil[2 * pixels] = own.south_west;
    stencil[3 * pixels] = own.south;
    stencil[4 * pixels] = own.south_east;
  }

  /// (A z)[i, j], where z[0] is z[i, j]. Couplings to known pixels and to pixels outside of the canvas are zero.
  __device__ float apply(const float* z, int pitch, int i, int j) const {
    const int64_t pixels = size.pixels();
    const float* centre = stencils + size.at(i, j);
    const float *east = centre + pixels, *south_west = east + pixels, *south = south_west + pixels;
    const float* south_east = south + pixels;
    float sum = centre[0] * z[0] + east[0] * z[1];
    sum += south_west[0] * z[pitch - 1] + south[0] * z[pitch] + south_east[0] * z[pitch + 1];
    if (j > 0) sum += east[-1] * z[-1];
    if (i == 0) return sum;
    sum += south[-size.width] * z[-pitch];
    if (j > 0) sum += south_east[-size.width - 1] * z[-pitch - 1];
    if (j + 1 < size.width) sum += south_west[1 - size.width] * z[1 - pitch];
    return sum;
  }
};

/// The planes of all masks, (masks, planes per mask).
struct Planes {
  int count;
  Divisor<int32_t> by_mask;

  Planes(int64_t masks, int64_t of_each) : count(static_cast<int>(masks * of_each)), by_mask(of_each) {}
  __device__ int mask_of(int plane) const { return by_mask.quotient(plane); }
};

}  // namespace pydlx
