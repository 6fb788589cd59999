// Structural similarity on the CPU, compiled once per instruction set (ssim.h has the maths).
//
// A unit of work is a tile: a strip of output rows by a block of columns of one plane, over all of its depth. Rows go
// through a pipeline and never leave the cache: moments of input rows (filtered along the depth) -> filter over the
// last rows, then along the columns -> S. The backward goes on: gradients of the moments -> the same filter again ->
// depth -> dx, dy. It recomputes what the forward knew, which takes as long as writing that to memory and reading it
// back, and needs no memory. Tiles do not depend on the number of threads.
//
// A filter is limited by instructions, a third of them loads, so neighbouring results are computed together and share
// theirs: rows come in fours, and within a row the even columns stand in front of the odd ones ("parted"), so that a
// column's neighbours are whole vectors.
#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

#include "ssim/rows_simd.h"
#include "ssim/similarity.h"

// S of a tile: to `map`, or its sum as the result.
template <class T, int kRadius>
double tile_forward(const SsimShape& shape, const SsimTaps<accumulate_t<T>>& taps,
                    const SsimFormula<accumulate_t<T>>& formula, const SsimTile& tile, const T* x, const T* y,
                    accumulate_t<T>* map) {
  using A = accumulate_t<T>;
  const SsimWindow<A, kRadius> window(taps);
  const SsimFormula<A> numbers = formula;
  const SsimPair<T> pair(shape, x, y, tile);
  const A centre_s = pair.centre_s(), centre_d = pair.centre_d();
  const int64_t columns = tile.last - tile.first;
  const Workspace space(kSsimForwardWork * int64_t(sizeof(A)));
  A* sums = space.as<A>();
  A* work = sums + kSsimColumns;
  double total = 0;
  for (int64_t depth = 0; depth < shape.out[0]; ++depth) {
    std::fill(sums, work, A(0));
    const auto take_row = [&](int64_t row, A* line) {
      each_part<A>(columns, [&](int64_t at) {
        Vec<A> moments[kMoments];
        load_maps<kMoments>(line + at, moments);
        const Vec<A> value = Similarity<Vec<A>, A>(moments, numbers, centre_s, centre_d).value();
        store(line + at, value);
        store(sums + at, Vec<A>(load(sums + at) + value));
      });
      if (!map) return;
      A* to = map + ((tile.plane * shape.out[0] + depth) * shape.out[1] + row) * shape.out[2] + tile.first;
      for (int64_t at = 0; 2 * at < columns; at += kVecLanes<A>) {
        store_parted(to + 2 * at, columns - 2 * at, load(line + at), load(line + kSsimColumns / 2 + at));
      }
    };
    each_row(pair, taps, window, depth, tile.first_row, tile.last_row, tile.first, columns, work, take_row);
    for (int64_t i = 0; i < columns; ++i) total += sums[i % 2 * (kSsimColumns / 2) + i / 2];
  }
  return total;
}

// The filtered maps of the slices a slice of the input sees: of the latest alone for an image, and for a volume summed
// over a ring of them.
template <class A, int kMaps>
struct SsimSlices {
  const SsimTaps<A>& taps;
  int64_t radius;
  A* ring;

  static constexpr int64_t kSize = kSsimVolumeRows * kSsimStep;

  A* place(int64_t depth, int64_t row) const { return ring + depth % (2 * radius + 1) * kSize + row * kSsimStep; }

  // Takes a row of the maps of slice `depth`, and leaves the sum over the slices up to there in its place.
  void filter(int64_t depth, int64_t row, int64_t columns, A* line) const {
    if (radius == 0) return;
    each_part<A>(columns, [&](int64_t at) {
      Vec<A> sums[kMaps], maps[kMaps];
      load_maps<kMaps>(line + at, sums);
      store_maps<kMaps>(place(depth, row) + at, sums);
      for (int map = 0; map < kMaps; ++map) sums[map] *= taps.outer(0);
      for (int64_t k = 1; k <= std::min(2 * radius, depth); ++k) {
        load_maps<kMaps>(place(depth - k, row) + at, maps);
        for (int map = 0; map < kMaps; ++map) sums[map] += maps[map] * taps.outer(k);
      }
      store_maps<kMaps>(line + at, sums);
    });
  }
};

// The gradient of a tile of the images; dx or dy may be null, which kMaps = 3 says.
template <class T, int kMaps, int kRadius>
void tile_backward(const SsimShape& shape, const SsimTaps<accumulate_t<T>>& taps,
                   const SsimFormula<accumulate_t<T>>& formula, const SsimTile& tile, const T* x, const T* y,
                   const SsimGradient<accumulate_t<T>>& gradient, T* dx, T* dy) {
  using A = accumulate_t<T>;
  constexpr int64_t kHalf = kSsimColumns / 2;
  const SsimWindow<A, kRadius> window(taps);
  const SsimPair<T> pair(shape, x, y, tile);
  const A centre_s = pair.centre_s(), centre_d = pair.centre_d(), side = dx ? A(1) : A(-1), two = A(2);
  const int64_t columns = tile.last - tile.first, reach = 2 * window.radius();
  // The part of S that the tile sees. Beyond it the filter sees zeros: `margin` columns to its left, and rows.
  const int64_t first = std::max<int64_t>(0, tile.first - reach), last = std::min(shape.out[2], tile.last);
  const int64_t margin = first - (tile.first - reach), used = margin + last - first;
  const int64_t top = tile.first_row - reach, first_row = std::max<int64_t>(0, top);
  const int64_t last_row = std::min(shape.out[1], tile.last_row);

  const Workspace space(ssim_backward_work(shape) * int64_t(sizeof(A)));
  A* gradients = space.as<A>();
  A* work = gradients + kSsimColumns;
  A* map_work = work + (kSsimRows + kSsimBatch) * kSsimStep;
  A* lines = map_work + kSsimRows * kSsimStep;
  std::fill(gradients, gradients + kSsimColumns,
            gradient.map ? A(0) : gradient.means[tile.plane] / A(shape.out_plane()));
  const SsimSlices<A, kMaps> slices{taps, shape.radius[0], lines + kSsimBatch * kSsimStep};

  for (int64_t depth = 0; depth < shape.in[0]; ++depth) {
    SsimRows<A> rows{map_work, reach};
    int64_t row = tile.first_row;
    const auto take_gradient = [&](int64_t at_row, A* line) {
      slices.filter(depth, at_row - tile.first_row, columns, line);
      const int64_t start = pair.place(depth, at_row, tile.first), plane = tile.plane * shape.in_plane();
      for (int64_t at = 0; at < columns; at += 2 * kVecLanes<A>) {
        Vec<A> even[kMaps], odd[kMaps];
        load_maps<kMaps>(line + at / 2, even);
        load_maps<kMaps>(line + kHalf + at / 2, odd);
        const int64_t to = plane + start + at, left = columns - at;
        const auto [s, d] = pair.load(start + at, shape.in[2] - tile.first - at);
        const Vec<A> s_even = two * s.first * even[0], s_odd = two * s.second * odd[0];
        const Vec<A> d_even = two * d.first * even[1], d_odd = two * d.second * odd[1];
        if constexpr (kMaps == 3) {
          store_parted((dx ? dx : dy) + to, left, Vec<A>(even[2] + s_even + side * d_even),
                       Vec<A>(odd[2] + s_odd + side * d_odd));
        } else {
          const Vec<A> ds_even = even[2] + s_even, ds_odd = odd[2] + s_odd;
          const Vec<A> dd_even = even[3] + d_even, dd_odd = odd[3] + d_odd;
          store_parted(dx + to, left, Vec<A>(ds_even + dd_even), Vec<A>(ds_odd + dd_odd));
          store_parted(dy + to, left, Vec<A>(ds_even - dd_even), Vec<A>(ds_odd - dd_odd));
        }
      }
    };
    // Filters the complete windows, and takes their rows of the gradient.
    const auto finish_rows = [&] {
      const int64_t count = rows.ready(), to = tile.plane * shape.in_plane() + pair.place(depth, row, tile.first);
      const SsimAhead<T, true> ahead{(dx ? dx : dy) + to, (dy ? dy : dx) + to, shape.in[2], count, columns};
      filter_rows<A, kMaps>(window, rows.take(count), count, lines, columns, ahead);
      for (int64_t i = 0; i < count; ++i) take_gradient(row++, lines + i * kSsimStep);
    };
    const auto append = [&] {
      if (rows.ready() == kSsimBatch) finish_rows();
      return rows.append();
    };
    const auto zero_rows = [&](int64_t count) {
      for (; count > 0; --count) {
        A* to = append();
        std::fill(to, to + kSsimStep, A(0));
      }
    };
    const auto take_row = [&](int64_t map_row, const A* line) {
      A* to = append();
      if (gradient.map) {
        const int64_t index = (tile.plane * shape.out[0] + depth) * shape.out[1] + map_row;
        const A* from = gradient.map + index * shape.out[2] + first;
        for (int64_t at = 0; at < last - first; at += 2 * kVecLanes<A>) {
          const auto [even, odd] = load_parted(from + at, shape.out[2] - first - at);
          store(gradients + at / 2, even);
          store(gradients + kHalf + at / 2, odd);
        }
      }
      each_part<A>(last - first, [&](int64_t at) {
        Vec<A> moments[kMoments], slopes[kMoments];
        load_maps<kMoments>(line + at, moments);
        Similarity<Vec<A>, A>(moments, formula, centre_s, centre_d).slopes(moments, load(gradients + at), slopes);
        join_slopes<kMaps>(slopes, side);
        store_maps<kMaps>(to + margin / 2 + at, slopes);
      });
      // A last vector may have run over into the margin of the part behind; that is cleared here as well.
      for (int map = 0; map < kMaps; ++map) {
        A *even = to + map * kSsimColumns, *odd = even + kHalf;
        std::fill(even, even + margin / 2, A(0));
        std::fill(odd, odd + margin / 2, A(0));
        std::fill(even + (used + 1) / 2, odd, A(0));
        std::fill(odd + used / 2, odd + kHalf, A(0));
      }
    };
    if (depth < shape.out[0]) {
      zero_rows(first_row - top);
      each_row(pair, taps, window, depth, first_row, last_row, first, last - first, work, take_row);
      zero_rows(tile.last_row - last_row);
    } else {
      zero_rows(tile.last_row - top);
    }
    finish_rows();
  }
}

// Chooses the loops by the window: those of 11 and 7 taps have their own.
template <class T>
double forward_tile(const SsimShape& shape, const SsimTaps<accumulate_t<T>>& taps,
                    const SsimFormula<accumulate_t<T>>& formula, const SsimTile& tile, const T* x, const T* y,
                    accumulate_t<T>* map) {
  if (taps.radius == 5) return tile_forward<T, 5>(shape, taps, formula, tile, x, y, map);
  if (taps.radius == 3) return tile_forward<T, 3>(shape, taps, formula, tile, x, y, map);
  return tile_forward<T, -1>(shape, taps, formula, tile, x, y, map);
}

template <class T, int kMaps>
void backward_tile(const SsimShape& shape, const SsimTaps<accumulate_t<T>>& taps,
                   const SsimFormula<accumulate_t<T>>& formula, const SsimTile& tile, const T* x, const T* y,
                   const SsimGradient<accumulate_t<T>>& gradient, T* dx, T* dy) {
  if (taps.radius == 5) return tile_backward<T, kMaps, 5>(shape, taps, formula, tile, x, y, gradient, dx, dy);
  if (taps.radius == 3) return tile_backward<T, kMaps, 3>(shape, taps, formula, tile, x, y, gradient, dx, dy);
  tile_backward<T, kMaps, -1>(shape, taps, formula, tile, x, y, gradient, dx, dy);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
