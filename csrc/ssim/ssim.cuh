// Kernels of structural similarity (maths and shapes in ssim.h).
//
// A block takes a strip of rows of one slice, a thread to a column. Row by row the block puts
// its cells into shared memory, where each thread filters them along the columns, and adds the result to the sums of
// its own column that the row belongs to: for windows of 11 and 7 these stay in registers. One filter serves the
// forward, which feeds it moments of the images (filtered along the depth), and the second half of the backward, which
// feeds it gradients of the moments. Nothing is added up across threads but S, in a fixed order.
//
// Floors: forward, x and y once, with the halo of a strip (1.3 times for 32 rows and 11 taps) from cache. Backward: x
// and y twice, the maps written and read once, dx and dy written once.
#pragma once

#include "common/indexing.cuh"
#include "common/reduce.cuh"
#include "ssim/ssim.h"

namespace pydlx {

#include "ssim/similarity.h"

// Radius -1 stands for any; its rings of rows leave shared memory for fewer columns.
template <int kRadius>
constexpr int kSsimThreads = kRadius < 0 ? 32 : 64;
constexpr int kSsimStripRows = 32;

// The cut of a plane of the filter's results into the strips that blocks take.
struct SsimStrips {
  int64_t rows, columns, slices, strips, blocks;

  SsimStrips(const int64_t* size, int64_t threads)
      : rows(size[1]),
        columns(size[2]),
        slices(size[0]),
        strips((size[1] + kSsimStripRows - 1) / kSsimStripRows),
        blocks((size[2] + threads - 1) / threads) {}

  __host__ __device__ int64_t per_plane() const { return slices * strips * blocks; }
};

struct SsimStrip {
  int64_t plane, depth, first_row, last_row, column;  // `column` of this thread
  bool active;

  __device__ SsimStrip(const SsimStrips& all, int64_t index) {
    const int64_t block = index % all.blocks, strip = index / all.blocks % all.strips;
    depth = index / (all.blocks * all.strips) % all.slices;
    plane = index / all.per_plane();
    first_row = strip * kSsimStripRows;
    last_row = first_row + kSsimStripRows < all.rows ? first_row + kSsimStripRows : all.rows;
    column = block * blockDim.x + threadIdx.x;
    active = column < all.columns;
  }
  __device__ int64_t first_column() const { return column - threadIdx.x; }
};

// Sums of a column that later rows still add to: after row r, sums[k] is what rows up to r say about row r - k of the
// results. With kRadius -1 they are in shared memory.
template <class A, int kRadius>
struct SsimColumn {
  static constexpr int kTaps = 2 * kRadius + 1;
  A sums[kTaps][kMoments];

  __device__ SsimColumn(A*, const SsimTaps<A>&) {
#pragma unroll
    for (int k = 0; k < kTaps; ++k) {
#pragma unroll
      for (int map = 0; map < kMoments; ++map) sums[k][map] = A(0);
    }
  }
  // Takes the next row; `maps` becomes the sum that is complete with it.
  __device__ void push(const SsimTaps<A>& taps, int64_t, A* maps) {
#pragma unroll
    for (int k = kTaps - 1; k >= 0; --k) {
#pragma unroll
      for (int map = 0; map < kMoments; ++map) {
        sums[k][map] = (k > 0 ? sums[k > 0 ? k - 1 : 0][map] : A(0)) + taps.outer(k) * maps[map];
      }
    }
#pragma unroll
    for (int map = 0; map < kMoments; ++map) maps[map] = sums[kTaps - 1][map];
  }
};

template <class A>
struct SsimColumn<A, -1> {
  A* rows;  // the latest 2 radius + 1, as a ring

  __device__ SsimColumn(A* shared, const SsimTaps<A>&) : rows(shared + threadIdx.x) {}

  __device__ A* place(int64_t row, int map) const { return rows + (row * kMoments + map) * kSsimThreads<-1>; }

  __device__ void push(const SsimTaps<A>& taps, int64_t row, A* maps) {
    const int64_t count = 2 * taps.radius + 1;
    for (int map = 0; map < kMoments; ++map) *place(row % count, map) = maps[map];
    if (row + 1 < count) return;
    for (int map = 0; map < kMoments; ++map) maps[map] = A(0);
    for (int64_t k = 0; k < count; ++k) {
      const A weight = taps.outer(k);
      for (int map = 0; map < kMoments; ++map) maps[map] += weight * *place((row + 1 + k) % count, map);
    }
  }
};

// Elements of shared memory: a row of cells, and the open column's ring.
template <int kRadius>
int64_t ssim_shared_elements(int64_t radius) {
  const int64_t threads = kSsimThreads<kRadius>, ring = kRadius < 0 ? (2 * radius + 1) * threads : 0;
  return kMoments * (threads + 2 * radius + ring);
}

// Filters cells over height and width: cell(row, column, maps) gives the maps of any cell, also of one beyond the last
// column of the results, and result(row, maps) takes this thread's. Row and column 0 of the cells are `shift` before
// those of the results. A collective of the block.
template <int kRadius, class A, class Cell, class Result>
__device__ inline void filter_strip(const SsimTaps<A>& taps, const SsimStrip& strip, int64_t shift, A* shared,
                                    const Cell& cell, const Result& result) {
  const int64_t radius = kRadius < 0 ? taps.radius : kRadius, threads = kSsimThreads<kRadius>;
  const int64_t width = threads + 2 * radius;
  SsimColumn<A, kRadius> column(shared + kMoments * width, taps);
  for (int64_t row = strip.first_row; row < strip.last_row + 2 * radius; ++row) {
    __syncthreads();  // the last row has been read
    for (int64_t i = threadIdx.x; i < width; i += threads) {
      A maps[kMoments];
      cell(row - shift, strip.first_column() + i - shift, maps);
#pragma unroll
      for (int map = 0; map < kMoments; ++map) shared[map * width + i] = maps[map];
    }
    __syncthreads();
    A maps[kMoments];
#pragma unroll
    for (int map = 0; map < kMoments; ++map) {
      const A* middle = shared + map * width + threadIdx.x + radius;
      maps[map] = middle[0] * taps.half[0];
#pragma unroll
      for (int64_t k = 1; k <= radius; ++k) maps[map] += (middle[-k] + middle[k]) * taps.half[k];
    }
    column.push(taps, row - strip.first_row, maps);
    if (row >= strip.first_row + 2 * radius && strip.active) result(row - 2 * radius, maps);
  }
}

// What the kernels know about the images.
template <class T>
struct SsimImages {
  using A = accumulate_t<T>;
  SsimShape shape;
  SsimTaps<A> taps;
  SsimFormula<A> formula;
  const T *x, *y;

  __device__ int64_t place(int64_t plane, int64_t depth, int64_t row, int64_t column) const {
    return ((plane * shape.in[0] + depth) * shape.in[1] + row) * shape.in[2] + column;
  }
};

// A plane's centre, and s and d from there.
template <class T>
struct SsimCentre {
  using A = accumulate_t<T>;
  A x, y;

  __device__ SsimCentre(const SsimImages<T>& images, int64_t plane) {
    const int64_t* size = images.shape.in;
    const int64_t at = images.place(plane, size[0] / 2, size[1] / 2, 0);
    x = centre_of(images.x + at, size[2]);
    y = centre_of(images.y + at, size[2]);
  }
  __device__ A s() const { return x + y; }
  __device__ A d() const { return x - y; }

  __device__ void read(const SsimImages<T>& images, int64_t at, A* to_s, A* to_d) const {
    const A a = static_cast<A>(images.x[at]) - x, b = static_cast<A>(images.y[at]) - y;
    *to_s = a + b;
    *to_d = a - b;
  }
};

// Calls result(row, moments) for this thread's column of a strip of S.
template <int kRadius, class T, class Result>
__device__ inline void each_moment(const SsimImages<T>& images, const SsimStrip& strip, const SsimCentre<T>& centre,
                                   accumulate_t<T>* shared, const Result& result) {
  using A = accumulate_t<T>;
  const SsimShape& shape = images.shape;
  filter_strip<kRadius>(
      images.taps, strip, 0, shared,
      [&](int64_t row, int64_t column, A* moments) {
        for (int map = 0; map < kMoments; ++map) moments[map] = A(0);
        if (column >= shape.in[2]) return;
        for (int64_t k = 0; k <= 2 * shape.radius[0]; ++k) {
          const A weight = shape.radius[0] > 0 ? images.taps.outer(k) : A(1);
          A s, d;
          centre.read(images, images.place(strip.plane, strip.depth + k, row, column), &s, &d);
          moments[0] += weight * s * s;
          moments[1] += weight * d * d;
          moments[2] += weight * s;
          moments[3] += weight * d;
        }
      },
      result);
}

// S to `map`, or its sum over a strip to sums[strip].
template <int kRadius, class T>
__global__ void ssim_kernel(SsimImages<T> images, SsimStrips strips, accumulate_t<T>* __restrict__ map,
                            double* __restrict__ sums, int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_DYNAMIC_SHARED(A, shared);
  PYDLX_SHARED(double, totals, kSsimThreads<kRadius> / kWarp);
  for (int64_t index = blockIdx.x; index < count; index += gridDim.x) {
    const SsimStrip strip(strips, index);
    const SsimCentre<T> centre(images, strip.plane);
    double total = 0;
    each_moment<kRadius>(images, strip, centre, shared, [&](int64_t row, const A* moments) {
      const A value = Similarity<A, A>(moments, images.formula, centre.s(), centre.d()).value();
      total += value;
      if (map) {
        const SsimShape& s = images.shape;
        map[((strip.plane * s.out[0] + strip.depth) * s.out[1] + row) * s.out[2] + strip.column] = value;
      }
    });
    if (map) continue;
    total = sum_of_block<kSsimThreads<kRadius>>(total, totals);
    if (threadIdx.x == 0) sums[index] = total;
  }
}

// The mean of every plane from the sums of its strips.
template <class A>
__global__ void ssim_mean_kernel(const double* __restrict__ sums, A* __restrict__ means, int64_t planes,
                                 int64_t per_plane, int64_t cells) {
  PYDLX_GRID_STRIDE(plane, planes) {
    double sum = 0;
    for (int64_t i = 0; i < per_plane; ++i) sum += sums[plane * per_plane + i];
    means[plane] = static_cast<A>(sum / static_cast<double>(cells));
  }
}

// The gradients of the moments, one map behind the other: three if `side` is not 0.
template <int kRadius, class T>
__global__ void ssim_slopes_kernel(SsimImages<T> images, SsimStrips strips, const accumulate_t<T>* __restrict__ grad,
                                   bool grad_is_map, int side, accumulate_t<T>* __restrict__ maps, int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_DYNAMIC_SHARED(A, shared);
  const SsimShape& s = images.shape;
  const int64_t map_size = s.planes() * s.out_plane();
  const int used = side == 0 ? 4 : 3;
  for (int64_t index = blockIdx.x; index < count; index += gridDim.x) {
    const SsimStrip strip(strips, index);
    const SsimCentre<T> centre(images, strip.plane);
    each_moment<kRadius>(images, strip, centre, shared, [&](int64_t row, const A* moments) {
      const int64_t at = ((strip.plane * s.out[0] + strip.depth) * s.out[1] + row) * s.out[2] + strip.column;
      const A g = grad_is_map ? grad[at] : grad[strip.plane] / static_cast<A>(s.out_plane());
      A slopes[kMoments];
      Similarity<A, A>(moments, images.formula, centre.s(), centre.d()).slopes(moments, g, slopes);
      if (side != 0) join_slopes<3>(slopes, static_cast<A>(side));
#pragma unroll
      for (int map = 0; map < kMoments; ++map) {
        if (map < used) maps[map * map_size + at] = slopes[map];
      }
    });
  }
}

// dx and dy, or one of them, from the maps of ssim_slopes_kernel.
template <int kRadius, class T>
__global__ void ssim_gradient_kernel(SsimImages<T> images, SsimStrips strips, const accumulate_t<T>* __restrict__ maps,
                                     int side, T* __restrict__ dx, T* __restrict__ dy, int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_DYNAMIC_SHARED(A, shared);
  const SsimShape& s = images.shape;
  const int64_t map_size = s.planes() * s.out_plane();
  const int used = side == 0 ? 4 : 3;
  for (int64_t index = blockIdx.x; index < count; index += gridDim.x) {
    const SsimStrip strip(strips, index);
    const SsimCentre<T> centre(images, strip.plane);
    const auto cell = [&](int64_t row, int64_t column, A* to) {
      for (int map = 0; map < kMoments; ++map) to[map] = A(0);
      if (row < 0 || row >= s.out[1] || column < 0 || column >= s.out[2]) return;
      for (int64_t k = 0; k <= 2 * s.radius[0]; ++k) {
        const int64_t depth = strip.depth - k;
        if (depth < 0 || depth >= s.out[0]) continue;
        const A weight = s.radius[0] > 0 ? images.taps.outer(k) : A(1);
        const int64_t at = ((strip.plane * s.out[0] + depth) * s.out[1] + row) * s.out[2] + column;
#pragma unroll
        for (int map = 0; map < kMoments; ++map) {
          if (map < used) to[map] += weight * maps[map * map_size + at];
        }
      }
    };
    filter_strip<kRadius>(images.taps, strip, 2 * images.taps.radius, shared, cell, [&](int64_t row, const A* m) {
      const int64_t at = images.place(strip.plane, strip.depth, row, strip.column);
      A along_s, along_d;
      centre.read(images, at, &along_s, &along_d);
      along_s *= A(2) * m[0];
      along_d *= A(2) * m[1];
      if (side != 0) {
        (dx ? dx : dy)[at] = static_cast<T>(m[2] + along_s + static_cast<A>(side) * along_d);
      } else {
        const A ds = m[2] + along_s, dd = m[3] + along_d;
        dx[at] = static_cast<T>(ds + dd);
        dy[at] = static_cast<T>(ds - dd);
      }
    });
  }
}

}  // namespace pydlx
