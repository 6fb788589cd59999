// Corner pooling's loops. Included once per instruction set by corner_pool_cpu.cpp, which brings in every header this
// needs.
//
// Where the elements of a line lie side by side in the direction of the scan ("rows", inner = 1), a vector is scanned
// within itself; elsewhere ("columns") lanes are neighbouring columns and one line is compared with the next.

#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// The maximum after `a`: a, if it is greater or NaN; but a NaN that is there already stays.
template <class V>
__attribute__((always_inline)) inline V running_max(const V& best, const V& a) {
  const V greater = a > best ? a : best;
  return a == a ? greater : a;
}

// ---- rows

// Every lane's neighbour `kStep` lanes nearer to the start of the scan; those that have none keep their own.
template <int kStep, bool kFromEnd, class A, size_t... I>
__attribute__((always_inline)) inline Vec<A> lanes_before(const Vec<A>& v, std::index_sequence<I...>) {
  constexpr int L = int(sizeof...(I));
  return __builtin_shufflevector(
      v, v, (kFromEnd ? int(I) + (int(I) + kStep < L ? kStep : 0) : int(I) - (int(I) < kStep ? 0 : kStep))...);
}

// Running maxima within one vector of numbers, in log2(kVecLanes) steps.
template <class A, bool kFromEnd, int kStep = 1>
__attribute__((always_inline)) inline Vec<A> scan_vector(const Vec<A>& v) {
  if constexpr (kStep == kVecLanes<A>) {
    return v;
  } else {
    const Vec<A> before = lanes_before<kStep, kFromEnd, A>(v, std::make_index_sequence<kVecLanes<A>>());
    return scan_vector<A, kFromEnd, 2 * kStep>(v > before ? v : before);
  }
}

// Elements [first, count) of a row, in the order of the scan, one by one.
template <bool kFromEnd, class T, class Out>
void scan_cells(const T* x, Out* y, int64_t first, int64_t count, accumulate_t<T> best) {
  for (int64_t k = first; k < count; ++k) {
    const int64_t at = kFromEnd ? count - 1 - k : k;
    best = running_max(best, static_cast<accumulate_t<T>>(x[at]));
    y[at] = static_cast<Out>(best);
  }
}

// One row, written as elements or in the wider type. It is taken to hold no NaN; if it does, it is done again.
template <bool kFromEnd, class T, class Out>
inline void scan_row(const T* x, Out* y, int64_t count) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  constexpr A kLowest = -std::numeric_limits<A>::infinity();
  Vec<A> best = splat(kLowest);
  auto is_nan = best != best;
  int64_t k = 0;
  for (; k + L <= count; k += L) {
    const int64_t at = kFromEnd ? count - L - k : k;
    const Vec<A> cells = load_wide(x + at);
    is_nan |= cells != cells;
    const Vec<A> scanned = scan_vector<A, kFromEnd>(cells);
    store_narrow<Out, true>(y + at, Vec<A>(scanned > best ? scanned : best));
    const Vec<A> last = splat(scanned[kFromEnd ? 0 : L - 1]);
    best = last > best ? last : best;
  }
  if (any(is_nan)) return scan_cells<kFromEnd>(x, y, 0, count, kLowest);
  scan_cells<kFromEnd>(x, y, k, count, best[0]);
}

template <class T, class Out>
inline void scan_row(const T* x, Out* y, int64_t count, bool from_end) {
  if (from_end) return scan_row<true>(x, y, count);
  scan_row<false>(x, y, count);
}

// Rows [begin, end).
template <class T>
void corner_pool_rows(const CornerScan& s, const T* x, T* y, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = (s.from_end ? begin + end - 1 - i : i) * s.length;
    scan_row(x + row, y + row, s.length, s.from_end);
  }
}

// ---- columns

// `count` neighbouring columns of one block.
template <class T>
void scan_columns(const CornerScan& s, const T* x, T* y, int64_t count) {
  std::copy_n(x + s.line(0), count, y + s.line(0));
  for (int64_t k = 1; k < s.length; ++k) {
    const T *best = y + s.line(k - 1), *line = x + s.line(k);
    T* to = y + s.line(k);
    for_vectors<T>(count, s.from_end, [&](int64_t at, auto vector) {
      vector.store_exact(to + at, running_max(vector.load(best + at), vector.load(line + at)));
    });
  }
}

// Bundles [begin, end) of columns.
template <class T>
void corner_pool_columns(const CornerBundles& bundles, const T* x, T* y, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    const auto [at, count] = bundles[unit];
    scan_columns(bundles.scan, x + at, y + at, count);
  }
}

// On entry dx holds y, on return the gradient. Walking back, against the scan, an element where the maximum changed
// takes the sum of all gradients since the last such element. At most kMaxBundle columns.
template <class T>
void gather_columns(const CornerScan& s, const T* grad, T* dx, int64_t count) {
  using A = accumulate_t<T>;
  alignas(64) A sums[kMaxBundle] = {};
  for (int64_t k = s.length - 1; k > 0; --k) {
    const T *g = grad + s.line(k), *before = dx + s.line(k - 1);
    T* to = dx + s.line(k);
    for_vectors<T>(count, !s.from_end, [&](int64_t at, auto vector) {
      const Vec<A> sum = load(sums + at) + vector.load(g + at);
      const Vec<A> y = vector.load(to + at), y_before = vector.load(before + at);
      const auto changed = (y != y_before) & (y_before == y_before);
      vector.store(to + at, changed ? sum : Vec<A>{});
      store(sums + at, changed ? Vec<A>{} : sum);
    });
  }
  const T* g = grad + s.line(0);
  T* to = dx + s.line(0);
  for_vectors<T>(count, false, [&](int64_t at, auto vector) {
    vector.store(to + at, Vec<A>(load(sums + at) + vector.load(g + at)));
  });
}

template <class T>
void corner_pool_backward_columns(const CornerBundles& bundles, const T* grad, const T* x, T* dx, int64_t begin,
                                  int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    const auto [at, count] = bundles[unit];
    scan_columns(bundles.scan, x + at, dx + at, count);
    gather_columns(bundles.scan, grad + at, dx + at, count);
  }
}

// ---- gradient of rows: a few at a time are turned into columns

template <class A>
constexpr int64_t kRowsAtOnce = 4 * kVecLanes<A>;

// Column c of `rows` <= kRowsAtOnce rows to columns[c]; rows that are missing repeat the last one.
template <class T>
void rows_to_columns(const T* x, int64_t length, int64_t rows, accumulate_t<T>* columns) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  for (int64_t first = 0; first < kRowsAtOnce<A>; first += L) {
    const T* row[L];
    for (int64_t l = 0; l < L; ++l) row[l] = x + std::min(first + l, rows - 1) * length;
    int64_t c = 0;
    for (; c + L <= length; c += L) {
      Vec<A> tile[L];
      for (int64_t l = 0; l < L; ++l) {
        tile[l] = load_wide(row[l] + c);
        __builtin_prefetch(row[l] + c + L * length);  // the next L rows: so many streams at once are not foreseen
      }
      transpose<A>(tile);
      for (int64_t l = 0; l < L; ++l) store(columns + (c + l) * kRowsAtOnce<A> + first, tile[l]);
    }
    for (; c < length; ++c) {
      for (int64_t l = 0; l < L; ++l) columns[c * kRowsAtOnce<A> + first + l] = static_cast<A>(row[l][c]);
    }
  }
}

// The way back.
template <class T>
void columns_to_rows(const accumulate_t<T>* columns, int64_t length, int64_t rows, T* x) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  for (int64_t first = 0; first < rows; first += L) {
    const int64_t present = std::min(L, rows - first);
    int64_t c = 0;
    for (; c + L <= length; c += L) {
      Vec<A> tile[L];
      for (int64_t l = 0; l < L; ++l) tile[l] = load(columns + (c + l) * kRowsAtOnce<A> + first);
      transpose<A>(tile);
      if (present == L) {
        for (int64_t l = 0; l < L; ++l) store_narrow(x + (first + l) * length + c, tile[l]);
      } else {
        for (int64_t l = 0; l < present; ++l) store_narrow(x + (first + l) * length + c, tile[l]);
      }
    }
    for (; c < length; ++c) {
      for (int64_t l = 0; l < present; ++l) {
        x[(first + l) * length + c] = static_cast<T>(columns[c * kRowsAtOnce<A> + first + l]);
      }
    }
  }
}

template <class T>
struct RowGradient {
  using A = accumulate_t<T>;
  CornerScan columns;
  std::vector<A> x_columns, grad_columns, dx_columns;

  explicit RowGradient(const CornerScan& rows)
      : columns{1, rows.length, kRowsAtOnce<A>, rows.from_end},
        x_columns(columns.size()),
        grad_columns(columns.size()),
        dx_columns(columns.size()) {}

  // The gradient of `rows` rows.
  void run(const T* grad, const T* x, T* dx, int64_t rows) {
    for (int64_t first = 0; first < rows; first += kRowsAtOnce<A>) {
      const int64_t present = std::min(kRowsAtOnce<A>, rows - first), at = first * columns.length;
      rows_to_columns(x + at, columns.length, present, x_columns.data());
      rows_to_columns(grad + at, columns.length, present, grad_columns.data());
      scan_columns(columns, x_columns.data(), dx_columns.data(), kRowsAtOnce<A>);
      gather_columns(columns, grad_columns.data(), dx_columns.data(), kRowsAtOnce<A>);
      columns_to_rows(dx_columns.data(), columns.length, present, dx + at);
    }
  }
};

// Rows [begin, end).
template <class T>
void corner_pool_backward_rows(const CornerScan& s, const T* grad, const T* x, T* dx, int64_t begin, int64_t end) {
  RowGradient<T> gradient(s);
  gradient.run(grad + begin * s.length, x + begin * s.length, dx + begin * s.length, end - begin);
}

// ---- pairs

// Contiguous planes [begin, end): one row of running maxima for the columns, rows scanned as they come.
template <class T>
void corner_pair_planes(const CornerScan& columns, const T* vertical, const T* horizontal, T* y, int64_t begin,
                        int64_t end) {
  using A = accumulate_t<T>;
  const int64_t width = columns.inner;
  std::vector<A> best(width + kVecLanes<A>), scanned(width + kVecLanes<A>);
  for (int64_t plane = begin; plane < end; ++plane) {
    std::fill(best.begin(), best.end(), -std::numeric_limits<A>::infinity());
    for (int64_t k = 0; k < columns.length; ++k) {
      const int64_t row = plane * columns.length * width + columns.line(k);
      scan_row(horizontal + row, scanned.data(), width, columns.from_end);
      for_vectors<T>(width, columns.from_end, [&](int64_t at, auto vector) {
        const Vec<A> value = running_max(load(best.data() + at), vector.load(vertical + row + at));
        store(best.data() + at, value);
        vector.store(y + row + at, Vec<A>(value + load(scanned.data() + at)));
      });
    }
  }
}

// Channels-last images: bundles [begin, end) of the channels of an image, which `bundles` takes for columns.
template <class T>
void corner_pair_pixels(const CornerBundles& bundles, int64_t width, const T* vertical, const T* horizontal, T* y,
                        int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  const CornerScan& pixels = bundles.scan;  // all pixels of an image, last to first if from_end
  std::vector<A> best(width * bundles.width);
  alignas(64) A along_row[kMaxBundle];
  for (int64_t unit = begin; unit < end; ++unit) {
    const auto [first, count] = bundles[unit];
    std::fill(best.begin(), best.end(), -std::numeric_limits<A>::infinity());
    for (int64_t k = 0; k < pixels.length; ++k) {
      const int64_t pixel = first + pixels.line(k);
      A* above = best.data() + k % width * bundles.width;
      if (k % width == 0) std::fill_n(along_row, bundles.width, -std::numeric_limits<A>::infinity());
      for_vectors<T>(count, false, [&](int64_t at, auto vector) {
        const Vec<A> down = running_max(load(above + at), vector.load(vertical + pixel + at));
        const Vec<A> along = running_max(load(along_row + at), vector.load(horizontal + pixel + at));
        store(above + at, down);
        store(along_row + at, along);
        vector.store(y + pixel + at, Vec<A>(down + along));
      });
    }
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
