// Structural similarity on the CPU, compiled once per instruction set (ssim.h has the maths).
//
// A unit of work is a tile: a strip of output rows by a block of columns of one plane, over all of its depth. Rows go
// through a pipeline and never leave the cache: moments of input rows (filtered along the depth) -> filter over the
// last rows, then along the columns -> S. The backward goes on: gradients of the moments -> the same filter again ->
// depth -> dx, dy. It recomputes what the forward knew, which takes as long as writing that to memory and reading it
// back, and needs no memory. Tiles do not depend on the number of threads.
#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

#include "ssim/similarity.h"

// The taps as vectors. With kRadius they are known in number and stay in registers; with -1 the radius is open.
template <class A, int kRadius>
struct SsimWindow {
  int64_t open_radius;
  Vec<A> half[kRadius < 0 ? kSsimMaxRadius + 1 : kRadius + 1];

  explicit SsimWindow(const SsimTaps<A>& taps) : open_radius(taps.radius) {
    for (int64_t k = 0; k <= radius(); ++k) half[k] = splat(taps.half[k]);
  }

  __attribute__((always_inline)) int64_t radius() const { return kRadius < 0 ? open_radius : kRadius; }

  // The weighted sum over a window of vectors, which start `step` numbers apart.
  __attribute__((always_inline)) Vec<A> sum(const A* middle, int64_t step) const {
    Vec<A> total = load(middle) * half[0];
#pragma GCC unroll 8
    for (int64_t k = 1; k <= radius(); ++k) total += (load(middle - k * step) + load(middle + k * step)) * half[k];
    return total;
  }
};

// The last rows of kMaps maps: rows are appended, and the window sees the 2 radius + 1 latest.
template <class A, int kMaps>
struct SsimRows {
  static constexpr int64_t kStep = kMaps * kSsimColumns;
  A* start;
  int64_t kept, count = 0;

  SsimRows(A* storage, int64_t radius) : start(storage), kept(2 * radius) {}

  A* append() {
    if (count == kSsimRows) {
      std::copy(start + (count - kept) * kStep, start + count * kStep, start);
      count = kept;
    }
    return start + count++ * kStep;
  }

  bool full() const { return count > kept; }
  const A* middle() const { return start + (count - 1 - kept / 2) * kStep; }
};

// Filters the window's rows over height and width: sink(column, maps) for every vector of `columns` results. `line`
// holds a row.
template <class A, int kMaps, int kRadius, class Sink>
__attribute__((always_inline)) inline void filter_rows(const SsimWindow<A, kRadius>& window,
                                                       const SsimRows<A, kMaps>& rows, A* line, int64_t columns,
                                                       const Sink& sink) {
  constexpr int64_t L = kVecLanes<A>;
  const A* middle = rows.middle();
  for (int map = 0; map < kMaps; ++map, middle += kSsimColumns) {
    for (int64_t at = 0; at < columns + 2 * window.radius(); at += L) {
      store(line + map * kSsimColumns + at, window.sum(middle + at, SsimRows<A, kMaps>::kStep));
    }
  }
  for (int64_t at = 0; at < columns; at += L) {
    Vec<A> maps[kMaps];
    for (int map = 0; map < kMaps; ++map) {
      maps[map] = window.sum(line + map * kSsimColumns + at + window.radius(), 1);
    }
    sink(at, maps);
  }
}

// Calls body(a whole or a part vector) for the vector at `at` of a row of `columns` cells.
template <class T, class Body>
__attribute__((always_inline)) inline void with_vector(int64_t at, int64_t columns, const Body& body) {
  if (at + kVecLanes<accumulate_t<T>> <= columns) return body(WholeVector<T>{});
  body(PartVector<T>{columns - at});
}

// Two images' planes, seen as s and d from the centre of a tile.
template <class T>
struct SsimPair {
  using A = accumulate_t<T>;
  const SsimShape& shape;
  const T *x, *y;
  A centre_x, centre_y;

  SsimPair(const SsimShape& s, const T* first, const T* second, const SsimTile& tile)
      : shape(s), x(first + tile.plane * s.in_plane()), y(second + tile.plane * s.in_plane()) {
    const int64_t at = place(s.in[0] / 2, (tile.first_row + tile.last_row) / 2, (tile.first + tile.last) / 2);
    centre_x = centre_of(x[at]);
    centre_y = centre_of(y[at]);
  }

  int64_t place(int64_t depth, int64_t row, int64_t column) const {
    return (depth * shape.in[1] + row) * shape.in[2] + column;
  }
  A centre_s() const { return centre_x + centre_y; }
  A centre_d() const { return centre_x - centre_y; }

  template <class Vector>
  __attribute__((always_inline)) std::pair<Vec<A>, Vec<A>> load(const Vector& vector, int64_t at) const {
    const Vec<A> a = vector.load(x + at) - centre_x, b = vector.load(y + at) - centre_y;
    return {a + b, a - b};
  }

  // The moments of a row, filtered over the slices from `depth` on.
  void moments(const SsimTaps<A>& taps, int64_t depth, int64_t row, int64_t column, int64_t columns, A* to) const {
    const int64_t radius = shape.radius[0], slice = shape.in[1] * shape.in[2];
    const int64_t first = place(depth, row, column);
    for_vectors<T>(columns, false, [&](int64_t at, const auto& vector) {
      auto [s, d] = load(vector, first + at);
      Vec<A> ss = s * s, dd = d * d;
      if (radius > 0) {
        const A outer = taps.half[radius];
        ss *= outer, dd *= outer, s *= outer, d *= outer;
        for (int64_t k = 1; k <= 2 * radius; ++k) {
          const A weight = taps.half[k < radius ? radius - k : k - radius];
          const auto [s_k, d_k] = load(vector, first + at + k * slice);
          ss += s_k * s_k * weight, dd += d_k * d_k * weight, s += s_k * weight, d += d_k * weight;
        }
      }
      store(to + at, ss);
      store(to + kSsimColumns + at, dd);
      store(to + 2 * kSsimColumns + at, s);
      store(to + 3 * kSsimColumns + at, d);
    });
  }
};

// Calls sink(row, at, moments) for all vectors of the moments at rows [first_row, last_row) and `columns` columns from
// `first` on, of slice `depth` of S. `work` holds kSsimRows + 1 rows of the four moments.
template <class T, int kRadius, class Sink, class EndOfRow>
__attribute__((always_inline)) inline void each_moment(const SsimPair<T>& pair, const SsimTaps<accumulate_t<T>>& taps,
                                                       const SsimWindow<accumulate_t<T>, kRadius>& window,
                                                       int64_t depth, int64_t first_row, int64_t last_row,
                                                       int64_t first, int64_t columns, accumulate_t<T>* work,
                                                       const Sink& sink, const EndOfRow& end_of_row) {
  using A = accumulate_t<T>;
  const int64_t reach = 2 * window.radius();
  SsimRows<A, kMoments> rows(work, window.radius());
  A* line = work + kSsimRows * kMoments * kSsimColumns;
  for (int64_t row = first_row; row < last_row + reach; ++row) {
    pair.moments(taps, depth, row, first, columns + reach, rows.append());
    if (!rows.full()) continue;
    filter_rows(window, rows, line, columns, [&](int64_t at, const Vec<A>* m) { sink(row - reach, at, m); });
    end_of_row();
  }
}

// S of a tile: to `map`, or its sum as the result.
template <class T, int kRadius>
double tile_forward(const SsimShape& shape, const SsimTaps<accumulate_t<T>>& taps,
                    const SsimFormula<accumulate_t<T>>& formula, const SsimTile& tile, const T* x, const T* y,
                    accumulate_t<T>* map) {
  using A = accumulate_t<T>;
  const SsimWindow<A, kRadius> window(taps);
  const SsimPair<T> pair(shape, x, y, tile);
  const A centre_s = pair.centre_s(), centre_d = pair.centre_d();
  const int64_t columns = tile.last - tile.first;
  A* sums = static_cast<A*>(thread_workspace(kSsimForwardWork * int64_t(sizeof(A))));
  A* work = sums + kSsimColumns;
  double total = 0;
  for (int64_t depth = 0; depth < shape.out[0]; ++depth) {
    std::fill(sums, work, A(0));
    const auto sink = [&](int64_t row, int64_t at, const Vec<A>* moments) {
      const Vec<A> value = Similarity<Vec<A>, A>(moments, formula, centre_s, centre_d).value();
      if (!map) return store(sums + at, Vec<A>(load(sums + at) + value));
      A* to = map + ((tile.plane * shape.out[0] + depth) * shape.out[1] + row) * shape.out[2] + tile.first + at;
      with_vector<A>(at, columns, [&](const auto& vector) { vector.store(to, value); });
    };
    each_moment(pair, taps, window, depth, tile.first_row, tile.last_row, tile.first, columns, work, sink, [] {});
    for (int64_t i = 0; i < columns; ++i) total += sums[i];
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

  static constexpr int64_t kSize = kSsimVolumeRows * kMaps * kSsimColumns;

  A* place(int64_t depth, int64_t row, int64_t at) const {
    return ring + depth % (2 * radius + 1) * kSize + row * kMaps * kSsimColumns + at;
  }

  // Puts the maps of slice `depth` in, and takes the sum over the slices up to there.
  __attribute__((always_inline)) void filter(int64_t depth, int64_t row, int64_t at, Vec<A>* maps) const {
    if (radius == 0) return;
    for (int map = 0; map < kMaps; ++map) {
      store(place(depth, row, at) + map * kSsimColumns, maps[map]);
      maps[map] *= taps.half[radius];
    }
    for (int64_t k = 1; k <= std::min(2 * radius, depth); ++k) {
      const A* from = place(depth - k, row, at);
      const A weight = taps.half[k < radius ? radius - k : k - radius];
      for (int map = 0; map < kMaps; ++map) maps[map] += load(from + map * kSsimColumns) * weight;
    }
  }
};

// The gradient of a tile of the images; dx or dy may be null, which kMaps = 3 says.
template <class T, int kMaps, int kRadius>
void tile_backward(const SsimShape& shape, const SsimTaps<accumulate_t<T>>& taps,
                   const SsimFormula<accumulate_t<T>>& formula, const SsimTile& tile, const T* x, const T* y,
                   const SsimGradient<accumulate_t<T>>& gradient, T* dx, T* dy) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  const SsimWindow<A, kRadius> window(taps);
  const SsimPair<T> pair(shape, x, y, tile);
  const A centre_s = pair.centre_s(), centre_d = pair.centre_d(), side = dx ? A(1) : A(-1), two = A(2);
  const int64_t columns = tile.last - tile.first, reach = 2 * window.radius();
  // The columns of S that the tile sees, and how far to the right of the filter's first column they start.
  const int64_t first = std::max<int64_t>(0, tile.first - reach), last = std::min(shape.out[2], tile.last);
  const int64_t margin = first - (tile.first - reach), whole = (columns + reach + L - 1) / L * L;
  const A mean_gradient = gradient.map ? A(0) : gradient.means[tile.plane] / A(shape.out_plane());

  A* work = static_cast<A*>(thread_workspace(ssim_backward_work(shape) * int64_t(sizeof(A))));
  A* map_work = work + (kSsimRows + 1) * kMoments * kSsimColumns;
  A* line = map_work + kSsimRows * kMoments * kSsimColumns;
  const SsimSlices<A, kMaps> slices{taps, shape.radius[0], line + kMoments * kSsimColumns};

  for (int64_t depth = 0; depth < shape.in[0]; ++depth) {
    SsimRows<A, kMaps> rows(map_work, window.radius());
    int64_t row = tile.first_row;
    // Filters what is there, once it is enough, into row `row` of the gradient.
    const auto emit = [&]() __attribute__((noinline)) {
      if (!rows.full()) return;
      filter_rows(window, rows, line, columns, [&](int64_t at, Vec<A>* maps) {
        slices.filter(depth, row - tile.first_row, at, maps);
        const int64_t place = pair.place(depth, row, tile.first + at);
        with_vector<T>(at, columns, [&](const auto& vector) {
          const auto [s, d] = pair.load(vector, place);
          const Vec<A> along_s = two * s * maps[0], along_d = two * d * maps[1];
          const int64_t from = tile.plane * shape.in_plane() + place;
          if constexpr (kMaps == 3) {
            vector.store((dx ? dx : dy) + from, Vec<A>(maps[2] + along_s + side * along_d));
          } else {
            const Vec<A> ds = maps[2] + along_s, dd = maps[3] + along_d;
            vector.store(dx + from, Vec<A>(ds + dd));
            vector.store(dy + from, Vec<A>(ds - dd));
          }
        });
      });
      ++row;
    };
    const auto emit_zeros = [&](int64_t count) {
      for (; count > 0; --count, emit()) {
        A* to = rows.append();
        std::fill(to, to + kMaps * kSsimColumns, A(0));
      }
    };
    if (depth >= shape.out[0]) {
      emit_zeros(tile.last_row - tile.first_row + reach);
      continue;
    }
    const int64_t top = tile.first_row - reach, first_row = std::max<int64_t>(0, top);
    const int64_t last_row = std::min(shape.out[1], tile.last_row);
    emit_zeros(first_row - top);
    A* to = nullptr;
    const auto sink = [&](int64_t map_row, int64_t at, const Vec<A>* moments) {
      if (at == 0) to = rows.append();
      Vec<A> g = splat(mean_gradient), slopes[kMoments];
      if (gradient.map) {
        const A* from =
            gradient.map + ((tile.plane * shape.out[0] + depth) * shape.out[1] + map_row) * shape.out[2] + first + at;
        with_vector<A>(at, last - first, [&](const auto& vector) { g = vector.load(from); });
      }
      Similarity<Vec<A>, A>(moments, formula, centre_s, centre_d).slopes(moments, g, slopes);
      join_slopes<kMaps>(slopes, side);
      for (int map = 0; map < kMaps; ++map) store(to + map * kSsimColumns + margin + at, slopes[map]);
    };
    each_moment(pair, taps, window, depth, first_row, last_row, first, last - first, work, sink, [&] {
      for (int map = 0; map < kMaps; ++map) {
        A* cells = to + map * kSsimColumns;
        std::fill(cells, cells + margin, A(0));
        std::fill(cells + margin + last - first, cells + whole, A(0));
      }
      emit();
    });
    emit_zeros(tile.last_row - last_row);
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
