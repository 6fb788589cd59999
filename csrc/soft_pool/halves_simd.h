// SoftPool with 2 x 2 and 2 x 2 x 2 windows at stride 2 over contiguous float32 or float64 rows, the most common
// pooling. Included once per instruction set by soft_pool_cpu_simd.h.
//
// The taps of a vector of outputs are separated in registers, from vectors of two input rows per slice, without a phase
// buffer. A vector has two halves of neighbouring outputs each. A half that remains at the end of a row is paired with
// one of the next row; a shorter remainder becomes a half that overlaps the one before it, whose values are written
// twice.

namespace pydlx {
namespace PYDLX_SIMD {

template <class A>
constexpr int64_t kHalfLanes = kVecLanes<A> / 2;

template <class T>
inline bool halves_rows(const SoftPoolShape& s) {
  bool halves = std::is_same_v<T, accumulate_t<T>>;
  for (int axis = 0; axis < 3; ++axis) {
    const bool half = s.kernel[axis] == 2 && s.stride[axis] == 2 && s.dilation[axis] == 1 && s.padding[axis] == 0 &&
                      2 * s.out[axis] <= s.in[axis];
    halves &= half || (axis == 0 && s.kernel[0] == 1 && s.padding[0] == 0);
  }
  return halves && s.out[2] >= kHalfLanes<accumulate_t<T>>;
}

// A range of outputs: the offset of the first one, and of the upper left element of its window.
struct Stretch {
  int64_t cell, output;

  // The start of output row (plane, od, oh).
  static Stretch row(const SoftPoolShape& s, int64_t plane, int64_t od, int64_t oh) {
    return {((plane * s.in[0] + od * s.stride[0]) * s.in[1] + 2 * oh) * s.in[2],
            ((plane * s.out[0] + od) * s.out[1] + oh) * s.out[2]};
  }
  Stretch from(int64_t output_offset) const { return {cell + 2 * output_offset, output + output_offset}; }
};

// Cuts rows of outputs into halves and calls visit(low, high) for pairs of them; next_row() returns one row after
// another. There is only one call of visit: with a second one, for whole vectors within a row, the compiler would
// reload visit's constants twice per row, which costs short rows more than it saves.
template <class A, class NextRow, class Visit>
__attribute__((always_inline)) inline void visit_halves(const SoftPoolShape& s, int64_t rows, const NextRow& next_row,
                                                        const Visit& visit) {
  const int64_t width = s.out[2], halves = rows * ((width + kHalfLanes<A> - 1) / kHalfLanes<A>);
  Stretch row{};
  int64_t at = width;
  const auto next = [&]() __attribute__((always_inline)) {
    if (at >= width) {
      row = next_row();
      at = 0;
    }
    const Stretch half = row.from(std::min(at, width - kHalfLanes<A>));
    at += kHalfLanes<A>;
    return half;
  };
  for (int64_t i = 0; i < halves; i += 2) {
    const Stretch low = next();
    visit(low, i + 1 < halves ? next() : low);
  }
}

// Prefetches the elements that will be read, or written (kWrite), some rows further down. Between two accesses there is
// more arithmetic than the processor's out-of-order window covers, so it would wait for memory at each of them.
// Distances from 2 to 16 KiB perform about equally.
template <bool kWrite, class A>
__attribute__((always_inline)) inline void prefetch_ahead(const A* cells) {
  constexpr uintptr_t kDistance = 8192, kLine = 64;
  const uintptr_t ahead = reinterpret_cast<uintptr_t>(cells) + kDistance;
#pragma GCC unroll 2
  for (uintptr_t i = 0; i < 2 * PYDLX_SIMD_BYTES; i += kLine) {
    __builtin_prefetch(reinterpret_cast<void*>(ahead + i), kWrite);
  }
}

// The kRows input rows of a window: two rows of a slice, and for 3-D windows two of the next slice.
template <int64_t kRows>
struct HalvedRows {
  int64_t offset[kRows];

  explicit HalvedRows(const SoftPoolShape& s) {
    for (int64_t r = 0; r < kRows; ++r) offset[r] = (r / 2 * s.in[1] + r % 2) * s.in[2];
  }
};

// The elements of the windows of two halves of outputs, in block order; `low` and `high` point to the upper left ones.
template <class A, int64_t kRows>
__attribute__((always_inline)) inline std::array<Vec<A>, 2 * kRows> halved_cells(const A* low, const A* high,
                                                                                 const HalvedRows<kRows>& rows) {
  std::array<Vec<A>, 2 * kRows> cells;
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
    prefetch_ahead<false>(low + rows.offset[r]);
    const auto [even, odd] = load_block_pairs(low + rows.offset[r], high + rows.offset[r]);
    cells[2 * r] = even;
    cells[2 * r + 1] = odd;
  }
  return cells;
}

// As soft_pool_some_rows.
template <class A, bool kCareful, int64_t kRows>
bool soft_pool_halves(const SoftPoolShape& s, const A* x, A* y, int64_t begin, int64_t end) {
  Vec<A> probe{};
  const HalvedRows<kRows> rows(s);
  const auto pool = [&](const Stretch& low, const Stretch& high) __attribute__((always_inline)) {
    const auto cells = halved_cells(x + low.cell, x + high.cell, rows);
    const Vec<A> value = pooled<A, kCareful, 2 * kRows>([&](int64_t t) { return cells[t]; });
    probe += value;
    store_block_halves<A>(y + low.output, y + high.output, value);
  };
  RowCounter row(s, begin);
  const auto next_row = [&]() __attribute__((always_inline)) {
    const Stretch here = Stretch::row(s, row.plane, row.od, row.oh);
    row.advance();
    return here;
  };
  visit_halves<A>(s, end - begin, next_row, pool);
  return any(probe - probe != A(0));
}

// Computes output rows [begin, end), numbered through planes, depths and heights.
template <class A>
void soft_pool_halved_rows(const SoftPoolShape& s, const A* x, A* y, int64_t begin, int64_t end) {
  if (s.kernel[0] == 1) {
    if (soft_pool_halves<A, false, 2>(s, x, y, begin, end)) soft_pool_halves<A, true, 2>(s, x, y, begin, end);
  } else {
    if (soft_pool_halves<A, false, 4>(s, x, y, begin, end)) soft_pool_halves<A, true, 4>(s, x, y, begin, end);
  }
}

// The gradient of the windows of a block. Returns false if the careful version must be run.
template <class A, bool kCareful, int64_t kRows>
bool soft_pool_halves_backward(const SoftPoolShape& s, const A* grad, const A* x, A* dx, int64_t plane,
                               const SoftPoolBlock& block, A slope) {
  Vec<A> probe{};
  const HalvedRows<kRows> rows(s);
  const auto pool = [&](const Stretch& low, const Stretch& high) __attribute__((always_inline)) {
    const auto cells = halved_cells(x + low.cell, x + high.cell, rows);
    const Windows<A, kCareful, 2 * kRows> windows([&](int64_t t) { return cells[t]; }, 2 * kRows);
    const Vec<A> scale = load_block_halves(grad + low.output, grad + high.output) / windows.total;
    probe += windows.mean_distance;
    const auto gradient = [&](int64_t t) __attribute__((always_inline)) {
      return windows.gradient(windows.distances[t], windows.weights[t], scale, slope);
    };
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      A* row = dx + rows.offset[r];
      prefetch_ahead<true>(row + low.cell);
      store_block_pairs<A>(row + low.cell, row + high.cell, gradient(2 * r), gradient(2 * r + 1));
    }
  };
  int64_t od = block.first_out[0], oh = block.first_out[1];
  const auto next_row = [&]() __attribute__((always_inline)) {
    const Stretch here = Stretch::row(s, plane, od, oh);
    if (++oh == block.last_out[1]) {
      oh = block.first_out[1];
      ++od;
    }
    return here;
  };
  const int64_t output_rows = (block.last_out[0] - block.first_out[0]) * (block.last_out[1] - block.first_out[1]);
  visit_halves<A>(s, output_rows, next_row, pool);
  return !any(probe - probe != A(0));
}

// The same for both kinds of windows.
template <class A, bool kCareful>
bool soft_pool_halved_block(const SoftPoolShape& s, const A* grad, const A* x, A* dx, int64_t plane,
                            const SoftPoolBlock& block, A slope) {
  if (s.kernel[0] == 1) return soft_pool_halves_backward<A, kCareful, 2>(s, grad, x, dx, plane, block, slope);
  return soft_pool_halves_backward<A, kCareful, 4>(s, grad, x, dx, plane, block, slope);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
