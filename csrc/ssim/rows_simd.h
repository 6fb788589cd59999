// Rows of maps and their filter (ssim_cpu_simd.h, into whose namespace this is included).

// The even and the odd columns of 2 kVecLanes pixels, of which `left` are there; the others are 0.
template <class T>
__attribute__((always_inline)) inline auto load_parted(const T* from, int64_t left) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  if (left >= 2 * L) return part_pairs<A>(load_wide(from), load_wide(from + L));
  T cells[2 * L] = {};
  std::copy(from, from + left, cells);
  return part_pairs<A>(load_wide(cells), load_wide(cells + L));
}

template <class T>
__attribute__((always_inline)) inline void store_parted(T* to, int64_t left, const Vec<accumulate_t<T>>& even,
                                                        const Vec<accumulate_t<T>>& odd) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  const auto [low, high] = join_pairs<A>(even, odd);
  if (left >= 2 * L) {
    store_narrow(to, low);
    store_narrow(to + L, high);
    return;
  }
  T cells[2 * L];
  store_narrow(cells, low);
  store_narrow(cells + L, high);
  std::copy(cells, cells + left, to);
}

// The taps as vectors. With kRadius they are known in number and stay in registers; with -1 the radius is open.
template <class A, int kRadius>
struct SsimWindow {
  int64_t open_radius;
  Vec<A> half[kRadius < 0 ? kSsimMaxRadius + 1 : kRadius + 1];

  explicit SsimWindow(const SsimTaps<A>& taps) : open_radius(taps.radius) {
    for (int64_t k = 0; k <= radius(); ++k) half[k] = splat(taps.half[k]);
  }

  __attribute__((always_inline)) int64_t radius() const { return kRadius < 0 ? open_radius : kRadius; }

  // The weighted sums around pixels 0 to kSums - 1. Each pixel is loaded once: what one sum has seen below its middle
  // the next one sees a step later, and above it a step sooner.
  template <int kSums, class Cell>
  __attribute__((always_inline)) std::array<Vec<A>, kSums> sums(const Cell& cell) const {
    std::array<Vec<A>, kSums> below, above, total;
    for (int i = 0; i < kSums; ++i) {
      below[i] = above[i] = opaque<A>(cell(i));
      total[i] = below[i] * half[0];
    }
#pragma GCC unroll 8
    for (int64_t k = 1; k <= radius(); ++k) {
      for (int i = kSums - 1; i > 0; --i) below[i] = below[i - 1];
      for (int i = 0; i + 1 < kSums; ++i) above[i] = above[i + 1];
      below[0] = opaque<A>(cell(-k));
      above[kSums - 1] = opaque<A>(cell(kSums - 1 + k));
      for (int i = 0; i < kSums; ++i) total[i] += (below[i] + above[i]) * half[k];
    }
    return total;
  }
};

// The last rows of some maps, parted: appended one by one, and taken for a batch of windows that see `reach` more rows.
template <class A>
struct SsimRows {
  A* start;
  int64_t reach, first = 0, count = 0;

  A* append() {
    if (count == kSsimRows) {
      std::copy(start + first * kSsimStep, start + count * kSsimStep, start);
      count -= first;
      first = 0;
    }
    return start + count++ * kSsimStep;
  }

  // The windows that are complete.
  int64_t ready() const { return count - first - reach; }

  // The row in the middle of the first of them, after which those of `windows` are done with.
  const A* take(int64_t windows) {
    const A* middle = start + (first + reach / 2) * kSsimStep;
    first += windows;
    return middle;
  }
};

// Blocks of rows of two images that will be read, or written, after the next filter. The processor foresees steps along
// a row, not down a block of columns, and cannot wait for many lines at once: they are asked for a few at a time.
template <class T, bool kWritten>
struct SsimAhead {
  const T *x, *y;
  int64_t stride, rows, columns, at = 0;

  static constexpr int64_t kLine = 64 / sizeof(T);

  // How many lines of each image are due at each of `steps` steps.
  int64_t share(int64_t steps) const { return (rows * ((columns + kLine - 1) / kLine) + steps - 1) / steps; }

  __attribute__((always_inline)) void fetch(int64_t lines) {
    for (; lines > 0 && rows > 0; --lines) {
      __builtin_prefetch(x + at, kWritten);
      __builtin_prefetch(y + at, kWritten);
      at += kLine;
      if (at < columns) continue;
      at = 0;
      x += stride;
      y += stride;
      --rows;
    }
  }
};

// Filters over height and width the `count` rows from `middle` on: leaves `columns` results of each in `lines`, and
// nothing of use in what fills up the last group of rows. All rows of a column come before the next column: they fill
// the first-level cache, and two pipelines take turns in it. Never inlined, for the sums need every register.
template <class A, int kMaps, int kRadius, class Ahead>
__attribute__((noinline)) void filter_rows(const SsimWindow<A, kRadius>& taps, const A* middle, int64_t count, A* lines,
                                           int64_t columns, Ahead ahead) {
  constexpr int64_t L = kVecLanes<A>, kHalf = kSsimColumns / 2;
  const SsimWindow<A, kRadius> window = taps;  // a copy that no store can change
  const int64_t radius = window.radius(), half_columns = (columns + 1) / 2;
  const int64_t share = ahead.share(2 * kMaps * ((half_columns + radius + L - 1) / L));
  for (int part = 0; part < 2 * kMaps; ++part) {
    for (int64_t at = part * kHalf; at < part * kHalf + half_columns + radius; at += L) {
      ahead.fetch(share);
      for (int64_t row = 0; row < count; row += kSsimGroup) {
        const A* from = middle + at + row * kSsimStep;
        const auto sums = window.template sums<kSsimGroup>([&](int64_t i) { return load(from + i * kSsimStep); });
        for (int64_t i = 0; i < kSsimGroup; ++i) store(lines + at + (row + i) * kSsimStep, sums[i]);
      }
    }
  }
  for (int64_t row = 0; row < count; ++row) {
    for (int map = 0; map < kMaps; ++map) {
      A* even = lines + row * kSsimStep + map * kSsimColumns;
      A* odd = even + kHalf;
      // In place: no later vector reads what is overwritten.
      for (int64_t at = 0; at < half_columns; at += L) {
        const auto [a, b] = window.template sums<2>([&](int64_t i) {
          const int64_t column = radius + i;
          return load((column % 2 ? odd : even) + at + column / 2);
        });
        store(even + at, a);
        store(odd + at, b);
      }
    }
  }
}

// Two images' planes, seen as s and d from the centre of a tile.
template <class T>
struct SsimPair {
  using A = accumulate_t<T>;
  using Parts = std::pair<Vec<A>, Vec<A>>;
  const SsimShape& shape;
  const T *x, *y;
  A centre_x, centre_y;

  SsimPair(const SsimShape& s, const T* first, const T* second, const SsimTile& tile)
      : shape(s), x(first + tile.plane * s.in_plane()), y(second + tile.plane * s.in_plane()) {
    const int64_t at = place(s.in[0] / 2, (tile.first_row + tile.last_row) / 2, tile.first);
    centre_x = centre_of(x + at, tile.last - tile.first);
    centre_y = centre_of(y + at, tile.last - tile.first);
  }

  int64_t place(int64_t depth, int64_t row, int64_t column) const {
    return (depth * shape.in[1] + row) * shape.in[2] + column;
  }
  A centre_s() const { return centre_x + centre_y; }
  A centre_d() const { return centre_x - centre_y; }

  // s and d, each parted, of the 2 kVecLanes pixels at `at`, where `left` of the row are there.
  __attribute__((always_inline)) std::pair<Parts, Parts> load(int64_t at, int64_t left) const {
    const auto a = load_parted(x + at, left), b = load_parted(y + at, left);
    const Vec<A> a_even = a.first - centre_x, a_odd = a.second - centre_x;
    const Vec<A> b_even = b.first - centre_y, b_odd = b.second - centre_y;
    return {{a_even + b_even, a_odd + b_odd}, {a_even - b_even, a_odd - b_odd}};
  }

  // Rows from `row` on, of the last slice that `depth` sees: the others have been read before.
  SsimAhead<T, false> ahead(int64_t depth, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    const int64_t at = place(depth + 2 * shape.radius[0], row, column);
    return {x + at, y + at, shape.in[2], rows, columns};
  }

  // The moments of a row, filtered over the slices from `depth` on.
  void moments(const SsimTaps<A>& taps, int64_t depth, int64_t row, int64_t column, int64_t columns, A* to) const {
    const int64_t slice = shape.in[1] * shape.in[2], first = place(depth, row, column);
    for (int64_t at = 0; at < columns; at += 2 * kVecLanes<A>) {
      const int64_t left = shape.in[2] - column - at;
      const auto [s, d] = load(first + at, left);
      Vec<A> even[kMoments], odd[kMoments];
      moments_of(s.first, d.first, even);
      moments_of(s.second, d.second, odd);
      if (shape.radius[0] > 0) {
        for (int map = 0; map < kMoments; ++map) even[map] *= taps.outer(0), odd[map] *= taps.outer(0);
        for (int64_t k = 1; k <= 2 * shape.radius[0]; ++k) {
          const auto [s_k, d_k] = load(first + at + k * slice, left);
          Vec<A> more[kMoments];
          moments_of(s_k.first, d_k.first, more);
          for (int map = 0; map < kMoments; ++map) even[map] += more[map] * taps.outer(k);
          moments_of(s_k.second, d_k.second, more);
          for (int map = 0; map < kMoments; ++map) odd[map] += more[map] * taps.outer(k);
        }
      }
      for (int map = 0; map < kMoments; ++map) {
        A* cells = to + map * kSsimColumns + at / 2;
        store(cells, even[map]);
        store(cells + kSsimColumns / 2, odd[map]);
      }
    }
  }

  __attribute__((always_inline)) static void moments_of(const Vec<A>& s, const Vec<A>& d, Vec<A>* to) {
    to[0] = s * s;
    to[1] = d * d;
    to[2] = s;
    to[3] = d;
  }
};

// Calls body(row, line) for rows [first_row, last_row) of slice `depth` of S: `line` holds the filtered moments of
// `columns` columns from `first` on. `work` holds kSsimRows + kSsimBatch rows.
template <class T, int kRadius, class Body>
inline void each_row(const SsimPair<T>& pair, const SsimTaps<accumulate_t<T>>& taps,
                     const SsimWindow<accumulate_t<T>, kRadius>& window, int64_t depth, int64_t first_row,
                     int64_t last_row, int64_t first, int64_t columns, accumulate_t<T>* work, const Body& body) {
  using A = accumulate_t<T>;
  const int64_t reach = 2 * window.radius();
  SsimRows<A> rows{work, reach};
  A* lines = work + kSsimRows * kSsimStep;
  for (int64_t row = first_row, next = first_row; row < last_row; row += kSsimBatch) {
    const int64_t count = std::min(kSsimBatch, last_row - row);
    for (; next < row + count + reach; ++next) pair.moments(taps, depth, next, first, columns + reach, rows.append());
    const int64_t left = std::min(kSsimBatch, last_row + reach - next);
    filter_rows<A, kMoments>(window, rows.take(count), count, lines, columns,
                             pair.ahead(depth, next, left, first, columns + reach));
    for (int64_t i = 0; i < count; ++i) body(row + i, lines + i * kSsimStep);
  }
}

// Calls body(at) for the vectors of a parted row of `columns`.
template <class A, class Body>
__attribute__((always_inline)) inline void each_part(int64_t columns, const Body& body) {
  for (int64_t at = 0; 2 * at < columns; at += kVecLanes<A>) {
    body(at);
    body(kSsimColumns / 2 + at);
  }
}

// All maps of a row at one place.
template <int kMaps, class A>
__attribute__((always_inline)) inline void load_maps(const A* from, Vec<A>* maps) {
  for (int map = 0; map < kMaps; ++map) maps[map] = load(from + map * kSsimColumns);
}

template <int kMaps, class A>
__attribute__((always_inline)) inline void store_maps(A* to, const Vec<A>* maps) {
  for (int map = 0; map < kMaps; ++map) store(to + map * kSsimColumns, maps[map]);
}
