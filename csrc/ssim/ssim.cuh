// Kernels of structural similarity (maths and shapes in ssim.h; how a block filters a strip in ssim_filter.cuh).
//
//     ssim_kernel           moments of the images, filtered; from them S, or its sums, or its slopes
//     ssim_mean_kernel      the mean of a plane from the sums of its strips
//     ssim_gradient_kernel  dx and dy from slopes in memory, filtered
//     ssim_backward_kernel  dx and dy of images (not volumes) in one pass (ssim_backward.cuh)
//
// Windows of 11 and 7 have kernels of their own, all others (radius -1) share one. A volume is filtered along its depth
// where a pixel is fetched. Nothing is added up across threads but S, in a fixed order.
//
// Floors: forward, x and y once, with the halo of a strip from cache; per pixel of an image and 11 taps 88
// multiply-adds and some 40 other instructions, which in float32 take about twice as long as the bytes. Backward of
// volumes: x and y twice, three or four maps of slopes written and read once, dx and dy written once; of images x and y
// once.
#pragma once

#include "common/maths.cuh"
#include "common/reduce.cuh"
#include "ssim/ssim_filter.cuh"

namespace pydlx {

constexpr int kSsimThreads = 256;

/// Registers for two blocks on a multiprocessor; float64 takes twice as many.
template <class A>
constexpr int kSsimBlocks = sizeof(A) > sizeof(float) ? 1 : 2;

/// What the kernels know about the images.
template <class T>
struct SsimImages {
  using A = accumulate_t<T>;
  SsimShape shape;
  SsimTaps<A> taps;
  SsimFormula<A> formula;
  const T *x, *y;
};

/// A plane's centre, and s and d from there.
template <class T>
struct SsimCentre {
  using A = accumulate_t<T>;
  A x, y;

  __device__ SsimCentre(const SsimImages<T>& images, int64_t plane) {
    const int64_t* size = images.shape.in;
    const int64_t at = ((plane * size[0] + size[0] / 2) * size[1] + size[1] / 2) * size[2];
    x = centre_of(images.x + at, size[2]);
    y = centre_of(images.y + at, size[2]);
  }
  __device__ __forceinline__ A s() const { return x + y; }
  __device__ __forceinline__ A d() const { return x - y; }

  __device__ __forceinline__ void read(T of_x, T of_y, A* s, A* d) const {
    const A a = static_cast<A>(of_x) - x, b = static_cast<A>(of_y) - y;
    *s = a + b;
    *d = a - b;
  }
};

/// The formulae of ssim.h at one place, for a covariance of 1: another one goes into c2, of which only the ratio to the
/// variances matters. S is exactly 1 for equal images: there the numerators are the denominators.
template <class A>
struct SsimPlace {
  const A* moments;  // from the centres of s and d
  const SsimFormula<A>& formula;
  A mean_s, mean_d, p, q;    // p is (G s)^2 + 2 C1
  A variance_s, variance_d;  // of s: V + 2 C2

  __device__ __forceinline__ SsimPlace(const A* moments, const SsimFormula<A>& formula, A centre_s, A centre_d)
      : moments(moments), formula(formula) {
    // Rounding may leave a variance just below 0. NaN stays.
    variance_s = at_least(moments[0] - moments[2] * moments[2], A(0)) + formula.c2;
    variance_d = at_least(moments[1] - moments[3] * moments[3], A(0));
    mean_s = moments[2] + centre_s;
    mean_d = moments[3] + centre_d;
    p = mean_s * mean_s + formula.c1;
    q = mean_d * mean_d;
  }

  __device__ __forceinline__ A value() const {
    const A structure = fast_quotient(variance_s - variance_d, variance_s + variance_d);
    return (formula.luminance ? fast_quotient(p - q, p + q) : A(1)) * structure;
  }

  /// dS / d moments.
  __device__ __forceinline__ void slopes(A* to) const {
    // Selected, not branched: without the luminance, slopes of the means are 0.
    const A by_b1 = formula.luminance ? fast_reciprocal(p + q) : A(0), by_b2 = fast_reciprocal(variance_s + variance_d);
    const A luminance = formula.luminance ? (p - q) * by_b1 : A(1);
    const A slope = A(2) * luminance * by_b2 * by_b2;
    const A mean_slope = A(4) * (variance_s - variance_d) * by_b2 * by_b1 * by_b1;
    to[0] = slope * variance_d;
    to[1] = -slope * variance_s;
    to[2] = A(-2) * moments[2] * to[0] + mean_slope * q * mean_s;
    to[3] = A(-2) * moments[3] * to[1] - mean_slope * p * mean_d;
  }
};

/// The pixels of a column of two images: their moments.
template <class T, class Index>
struct FlatCells {
  using A = accumulate_t<T>;
  struct Raw {
    T x, y;
  };
  static constexpr bool kAhead = true;
  const SsimImages<T>& images;
  int64_t first;  // of the plane
  Index width, last_row, column;
  SsimCentre<T> centre;

  __device__ FlatCells(const SsimImages<T>& images, const SsimCentre<T>& centre, int64_t plane, Index column)
      : images(images),
        first(plane * images.shape.in_plane()),
        width(static_cast<Index>(images.shape.in[2])),
        last_row(static_cast<Index>(images.shape.in[1]) - 1),
        column(column < width ? column : width - 1),
        centre(centre) {}

  __device__ __forceinline__ Raw fetch(Index row) const {
    const int64_t at = first + static_cast<int64_t>(row < last_row ? row : last_row) * width;
    return {(images.x + at)[column], (images.y + at)[column]};
  }
  __device__ __forceinline__ void widen(const Raw& raw, A (&moments)[kMoments]) const {
    A s, d;
    centre.read(raw.x, raw.y, &s, &d);
    moments[0] = s * s;
    moments[1] = d * d;
    moments[2] = s;
    moments[3] = d;
  }
};

/// Maps that have been filtered along the depth.
template <class A>
struct SsimDeepCell {
  A maps[kMoments];
};

/// The same of volumes, filtered along the depth; and of images, whose depth is 1.
template <int kRadius, class T>
struct DeepCells {
  using A = accumulate_t<T>;
  using Index = SsimIndex<kRadius>;
  using Raw = SsimDeepCell<A>;
  static constexpr bool kAhead = false;
  FlatCells<T, Index> cells;  // of the first slice
  const SsimTaps<A>& taps;
  int64_t slice;
  int count;

  __device__ DeepCells(const SsimImages<T>& images, const SsimCentre<T>& centre, const SsimStrip<Index>& strip,
                       Index column)
      : cells(images, centre, strip.plane, column),
        taps(images.taps),
        slice(images.shape.in[1] * images.shape.in[2]),
        count(2 * static_cast<int>(images.shape.radius[0]) + 1) {
    cells.first += strip.slice * slice;
  }
  __device__ __forceinline__ Raw fetch(Index row) const {
    FlatCells<T, Index> from = cells;
    Raw sums;
    from.widen(from.fetch(row), sums.maps);
    if (count == 1) return sums;
#pragma unroll
    for (int map = 0; map < kMoments; ++map) sums.maps[map] *= ssim_tap<kRadius>(taps, 0);
#pragma unroll(kRadius < 0 ? 4 : kRadius)
    for (int k = 1; k < (kRadius < 0 ? count : 2 * kRadius + 1); ++k) {
      from.first += slice;
      A moments[kMoments];
      from.widen(from.fetch(row), moments);
#pragma unroll
      for (int map = 0; map < kMoments; ++map) sums.maps[map] += ssim_tap<kRadius>(taps, k) * moments[map];
    }
    return sums;
  }
  __device__ __forceinline__ void widen(const Raw& raw, A (&moments)[kMoments]) const {
#pragma unroll
    for (int map = 0; map < kMoments; ++map) moments[map] = raw.maps[map];
  }
};

/// What is asked of ssim_kernel: one of these.
template <class A>
struct SsimResults {
  A* map;        // S
  double* sums;  // the sum of S over each strip
  A* means;      // the mean of each plane, where a plane is one strip
  A* slopes;     // of all places one map behind the other: three if `side` is not 0 (1 for x, -1 for y), times dL/dS
  const A* grad;
  bool grad_is_map;
  int side;
};

/// dL/dS at a place of a plane, whose means' gradient otherwise counts for every place.
template <class A>
__device__ __forceinline__ A gradient_at(const A* grad, bool is_map, int64_t at, int64_t plane, int64_t places) {
  return is_map ? grad[at] : grad[plane] / static_cast<A>(places);
}

/// Moments, filtered, and what is asked for.
template <int kRadius, bool kVolume, class T>
__global__ void __launch_bounds__(kSsimThreads, PYDLX_BLOCKS(kSsimBlocks<accumulate_t<T>>))
    ssim_kernel(const SsimImages<T> images, const SsimStrips strips, const SsimResults<accumulate_t<T>> results) {
  using A = accumulate_t<T>;
  using Room = SsimRoom<A, kSsimThreads>;
  using Index = SsimIndex<kRadius>;
  PYDLX_SHARED(typename Room::Cells, room, Room::kRows * kMoments * Room::kRow);
  PYDLX_SHARED(double, totals, kSsimThreads / kWarp);
  const int64_t places = images.shape.out_plane();
  for (Index index = blockIdx.x; index < strips.count; index += gridDim.x) {
    const SsimStrip<Index> strip(strips, index);
    const SsimCentre<T> centre(images, strip.plane);
    const Index first = strip.first_column;
    const int columns = strip.columns_of(strips);
    const int64_t slice = (strip.plane * strips.slices + strip.slice) * strips.rows * strips.columns;
    double total = 0;
    const auto done = [&](Index row, int own_row, int group, A(&maps)[kMoments][Room::kWide]) {
      A some = 0;
#pragma unroll
      for (int o = 0; o < Room::kWide; ++o) {
        const A moments[kMoments] = {maps[0][o], maps[1][o], maps[2][o], maps[3][o]};
        const SsimPlace<A> place(moments, images.formula, centre.s(), centre.d());
        const bool counts = group * Room::kWide + o < columns;
        if (!kVolume || !results.slopes) {
          maps[0][o] = place.value();
          some += counts && row < strip.last_row ? maps[0][o] : A(0);
          continue;
        }
        A slopes[kMoments];
        place.slopes(slopes);
        if (results.side != 0) slopes[2] += static_cast<A>(results.side) * slopes[3];
#pragma unroll
        for (int map = 0; map < kMoments; ++map) maps[map][o] = slopes[map];
      }
      total += static_cast<double>(some);
      if (results.sums || results.means) return;
      const int used = !results.slopes ? 1 : results.side == 0 ? 4 : 3;
      each_column<A, kSsimThreads>(room, own_row, group, maps, used, [&](int column, const auto& filtered) {
        if (column >= columns || row >= strip.last_row) return;
        const int64_t at = slice + row * strips.columns + first + column;
        if (!kVolume || !results.slopes) {
          results.map[at] = filtered(0);
          return;
        }
        const A grad = gradient_at(results.grad, results.grad_is_map, at, strip.plane, places);
#pragma unroll
        for (int map = 0; map < kMoments; ++map) {
          if (map < used) results.slopes[map * images.shape.planes() * places + at] = grad * filtered(map);
        }
      });
    };
    const Index column = first + static_cast<Index>(threadIdx.x);
    if constexpr (kVolume) {
      const DeepCells<kRadius, T> cells(images, centre, strip, column);
      filter_strip<kRadius, kSsimThreads>(images.taps, strip, room, cells, done);
    } else {
      const FlatCells<T, Index> cells(images, centre, strip.plane, column);
      filter_strip<kRadius, kSsimThreads>(images.taps, strip, room, cells, done);
    }
    if (!results.sums && !results.means) continue;
    total = sum_of_block<kSsimThreads>(total, totals);
    if (threadIdx.x != 0) continue;
    if (results.means) {
      results.means[index] = static_cast<A>(total / static_cast<double>(places));
    } else {
      results.sums[index] = total;
    }
  }
}

/// The mean of every plane from the sums of its strips, a block to a plane.
template <class A>
__global__ void ssim_mean_kernel(const double* __restrict__ sums, A* __restrict__ means, int64_t planes,
                                 int64_t per_plane, int64_t places) {
  PYDLX_SHARED(double, totals, kSsimThreads / kWarp);
  for (int64_t plane = blockIdx.x; plane < planes; plane += gridDim.x) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < per_plane; i += kSsimThreads) sum += sums[plane * per_plane + i];
    sum = sum_of_block<kSsimThreads>(sum, totals);
    if (threadIdx.x == 0) means[plane] = static_cast<A>(sum / static_cast<double>(places));
  }
}

/// The pixels of a column of slopes, with zeros around them, filtered along the depth.
template <int kRadius, class A>
struct SlopeCells {
  using Index = SsimIndex<kRadius>;
  using Raw = SsimDeepCell<A>;
  static constexpr bool kAhead = false;
  const SsimShape& shape;
  const SsimTaps<A>& taps;
  const A* slopes;  // of the plane, at this column
  int64_t depth;    // of the gradient
  int used;
  bool inside;

  __device__ SlopeCells(const SsimShape& shape, const SsimTaps<A>& taps, const A* slopes, int side,
                        const SsimStrip<Index>& strip, int64_t column)
      : shape(shape),
        taps(taps),
        slopes(slopes + strip.plane * shape.out_plane() + column),
        depth(strip.slice),
        used(side == 0 ? 4 : 3),
        inside(column >= 0 && column < shape.out[2]) {}

  /// `row` is counted from the first one that the strip's windows see, 2 radius above its own.
  __device__ __forceinline__ Raw fetch(Index row) const {
    Raw sums = {};
    const int64_t at = row - 2 * shape.radius[1];
    if (!inside || at < 0 || at >= shape.out[1]) return sums;
    const int64_t apart = shape.planes() * shape.out_plane();
    const int count = 2 * static_cast<int>(shape.radius[0]) + 1;
    for (int k = 0; k < count; ++k) {
      const int64_t from = depth - k;
      if (from < 0 || from >= shape.out[0]) continue;
      const A* cell = slopes + (from * shape.out[1] + at) * shape.out[2];
      const A weight = count > 1 ? taps.outer(k) : A(1);
#pragma unroll
      for (int map = 0; map < kMoments; ++map) {
        if (map < used) sums.maps[map] += weight * cell[map * apart];
      }
    }
    return sums;
  }
  __device__ __forceinline__ void widen(const Raw& raw, A (&maps)[kMoments]) const {
#pragma unroll
    for (int map = 0; map < kMoments; ++map) maps[map] = raw.maps[map];
  }
};

/// The gradients at one pixel from filtered slopes: of s^2, d^2, s, d. For one gradient alone the third holds the
/// fourth's part already, and that is 0.
template <class A>
struct SsimPixel {
  A along_s, along_d;

  template <class T>
  __device__ __forceinline__ SsimPixel(const SsimCentre<T>& centre, T x, T y, const A (&slopes)[kMoments]) {
    A s, d;
    centre.read(x, y, &s, &d);
    along_s = slopes[2] + A(2) * s * slopes[0];
    along_d = slopes[3] + A(2) * d * slopes[1];
  }
  __device__ __forceinline__ A dx() const { return along_s + along_d; }
  __device__ __forceinline__ A dy() const { return along_s - along_d; }
};

/// dx and dy, or one of them, from the slopes of ssim_kernel.
template <int kRadius, class T>
__global__ void __launch_bounds__(kSsimThreads, PYDLX_BLOCKS(kSsimBlocks<accumulate_t<T>>))
    ssim_gradient_kernel(const SsimImages<T> images, const SsimStrips strips,
                         const accumulate_t<T>* __restrict__ slopes, int side, T* __restrict__ dx, T* __restrict__ dy) {
  using A = accumulate_t<T>;
  using Room = SsimRoom<A, kSsimThreads>;
  using Index = SsimIndex<kRadius>;
  PYDLX_SHARED(typename Room::Cells, room, Room::kRows * kMoments * Room::kRow);
  const SsimShape& shape = images.shape;
  for (Index index = blockIdx.x; index < strips.count; index += gridDim.x) {
    const SsimStrip<Index> strip(strips, index);
    const SsimCentre<T> centre(images, strip.plane);
    const Index first = strip.first_column;
    const int columns = strip.columns_of(strips);
    const int64_t slice = (strip.plane * strips.slices + strip.slice) * strips.rows * strips.columns;
    const int64_t column = first + static_cast<int64_t>(threadIdx.x) - 2 * shape.radius[2];
    const SlopeCells<kRadius, A> cells(shape, images.taps, slopes, side, strip, column);
    const auto done = [&](Index row, int own_row, int group, A(&maps)[kMoments][Room::kWide]) {
      each_column<A, kSsimThreads>(
          room, own_row, group, maps, side == 0 ? 4 : 3, [&](int column, const auto& filtered) {
            if (column >= columns || row >= strip.last_row) return;
            const int64_t at = slice + row * strips.columns + first + column;
            const A of[kMoments] = {filtered(0), filtered(1), filtered(2), side == 0 ? filtered(3) : A(0)};
            const SsimPixel<A> pixel(centre, images.x[at], images.y[at], of);
            if (dx) dx[at] = static_cast<T>(pixel.dx());
            if (dy) dy[at] = static_cast<T>(pixel.dy());
          });
    };
    filter_strip<kRadius, kSsimThreads>(images.taps, strip, room, cells, done);
  }
}

}  // namespace pydlx
