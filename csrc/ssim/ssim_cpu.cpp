// Structural similarity on the CPU: work cutting and registration. The maths is in ssim.h, the loops in
// ssim_cpu_simd.h.
#include "ssim/ssim.h"

#include <array>

#include "common/workspace.h"

namespace pydlx {

// Rows are filtered by the batch, and within it by the group, whose sums share what they load. The rows kept of each
// map go over to a new start when they are full: with what a window of 11 keeps and five batches, that is as seldom as
// the second-level cache allows, and when there is least to move.
constexpr int64_t kSsimGroup = 4;
constexpr int64_t kSsimBatch = 8;
constexpr int64_t kSsimRows = 10 + 5 * kSsimBatch;
static_assert(kSsimBatch % kSsimGroup == 0 && kSsimRows >= 2 * kSsimMaxRadius + kSsimBatch);
// Columns of a row in work, halo included. Strips are tall, since each one computes its halo anew, but four of them
// share a plane where it has the rows; of a volume the backward keeps as many slices of a strip as the window is deep.
constexpr int64_t kSsimColumns = 192;
constexpr int64_t kSsimStripRows = 128;
constexpr int64_t kSsimTallStripRows = 288;
constexpr int64_t kSsimVolumeRows = 32;
// A row of maps in work. Not a power of 2, or the rows of a column would fall into few sets and banks of the cache.
constexpr int64_t kSsimStep = kMoments * kSsimColumns + 16;
constexpr int64_t kSsimForwardWork = kSsimColumns + (kSsimRows + kSsimBatch + 1) * kSsimStep;

// Rows [first_row, last_row) and columns [first, last) of a plane: of S in the forward, of the images in the backward.
struct SsimTile {
  int64_t plane, first_row, last_row, first, last;
};

// dL/dS as a map, or dL/d(mean of S) for every plane.
template <class A>
struct SsimGradient {
  const A *map, *means;
};

// Elements the backward works in: rows of moments and of gradients, two lines for each, slack for the last vector; the
// ring of slices.
inline int64_t ssim_backward_work(const SsimShape& shape) {
  const int64_t slices = shape.radius[0] > 0 ? 2 * shape.radius[0] + 1 : 0;
  return kSsimColumns + kSsimStep * (2 * (kSsimRows + kSsimBatch) + 1 + slices * kSsimVolumeRows);
}

// The cut of planes of `rows` x `columns` into tiles, for filters that see `halo` columns beyond each.
struct SsimTiles {
  int64_t rows, columns, rows_per_tile, columns_per_tile, strips, blocks;

  SsimTiles(const SsimShape& shape, const int64_t* size, int64_t halo)
      : rows(size[1]),
        columns(size[2]),
        rows_per_tile(shape.radius[0] > 0 ? kSsimVolumeRows
                                          : std::clamp((rows + 3) / 4, kSsimStripRows, kSsimTallStripRows)),
        columns_per_tile((kSsimColumns - halo) / 16 * 16),
        strips((rows + rows_per_tile - 1) / rows_per_tile),
        blocks((columns + columns_per_tile - 1) / columns_per_tile) {}

  int64_t per_plane() const { return strips * blocks; }

  SsimTile operator[](int64_t index) const {
    const int64_t row = index / blocks % strips * rows_per_tile, column = index % blocks * columns_per_tile;
    return {index / per_plane(), row, std::min(rows, row + rows_per_tile), column,
            std::min(columns, column + columns_per_tile)};
  }
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "ssim/ssim_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

Tensor ssim(const Tensor& x, const Tensor& y, int64_t window, double sigma, double covariance, double c1, double c2,
            bool luminance, bool map) {
  const SsimOptions options{window, sigma, covariance, c1, c2, luminance, map};
  const SsimShape shape = ssim_shape(x, y, window);
  const Tensor first = made_contiguous(x), second = made_contiguous(y);
  Tensor out = uninitialised(x, ssim_output_sizes(x, shape, map), wide_dtype(x));
  if (out.numel() == 0) return out;
  const SsimTiles tiles(shape, shape.out, window - 1);
  dispatch_pixels(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const auto taps = options.taps<A>();
    const auto formula = options.formula<A>();
    std::vector<double> sums(size_t(shape.planes() * tiles.per_plane()));
    A* to = output_data<A>(out);
    parallel_for(int64_t(sums.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        sums[size_t(i)] = PYDLX_SIMD_CALL(forward_tile<T>)(shape, taps, formula, tiles[i], input_data<T>(first),
                                                           input_data<T>(second), map ? to : nullptr);
      }
    });
    for (int64_t plane = 0; !map && plane < shape.planes(); ++plane) {
      double sum = 0;
      for (int64_t i = 0; i < tiles.per_plane(); ++i) sum += sums[size_t(plane * tiles.per_plane() + i)];
      to[plane] = A(sum / double(shape.out_plane()));
    }
  });
  return out;
}

std::tuple<Tensor, Tensor> ssim_backward(const Tensor& grad_output, const Tensor& x, const Tensor& y, int64_t window,
                                         double sigma, double covariance, double c1, double c2, bool luminance,
                                         bool map, bool wants_x, bool wants_y) {
  const SsimOptions options{window, sigma, covariance, c1, c2, luminance, map};
  const SsimShape shape = ssim_shape(x, y, window);
  const Tensor first = made_contiguous(x), second = made_contiguous(y);
  const Tensor grad = ssim_gradient(x, shape, map, grad_output);
  auto [dx, dy] = ssim_new_gradients(x, wants_x, wants_y);
  if (x.numel() == 0 || !(wants_x || wants_y)) return {dx, dy};
  prefer_large_pages(dx);
  prefer_large_pages(dy);
  const SsimTiles tiles(shape, shape.in, 2 * (window - 1));
  dispatch_floating(x.scalar_type(), "ssim", [&, &dx = dx, &dy = dy](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const auto taps = options.taps<A>();
    const auto formula = options.formula<A>();
    const A* gradient = input_data<A>(grad);
    const SsimGradient<A> from{map ? gradient : nullptr, map ? nullptr : gradient};
    const T *a = input_data<T>(first), *b = input_data<T>(second);
    T *da = wants_x ? output_data<T>(dx) : nullptr, *db = wants_y ? output_data<T>(dy) : nullptr;
    parallel_for(shape.planes() * tiles.per_plane(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (da && db) {
          PYDLX_SIMD_CALL(backward_tile<T, 4>)(shape, taps, formula, tiles[i], a, b, from, da, db);
        } else {
          PYDLX_SIMD_CALL(backward_tile<T, 3>)(shape, taps, formula, tiles[i], a, b, from, da, db);
        }
      }
    });
  });
  return {dx, dy};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("ssim", TORCH_BOX(&pydlx::ssim));
  m.impl("_ssim_backward", TORCH_BOX(&pydlx::ssim_backward));
}
