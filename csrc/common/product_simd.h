// A tile of a matrix product, accumulated in registers. Included once per instruction set; no include guard.

namespace pydlx {
namespace PYDLX_SIMD {

// kRows rows of kVectors vectors of sums.
template <class A, int kRows, int kVectors>
struct ProductTile {
  static constexpr int64_t L = kVecLanes<A>;
  Vec<A> sum[kRows][kVectors];

  // Starts from the values at `from` (row stride from_row) with kAdd, else from zeros.
  template <bool kAdd>
  __attribute__((always_inline)) void begin(const A* from, int64_t from_row) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = kAdd ? load(from + i * from_row + v * L) : Vec<A>{};
    }
  }

  // Adds the product of x, whose element (i, k) is x[i * row + k * column], with `depth` rows of y.
  __attribute__((always_inline)) void add(int64_t depth, const A* x, int64_t row, int64_t column, const A* y,
                                          int64_t y_row) {
    for (int64_t k = 0; k < depth; ++k, x += column, y += y_row) {
      Vec<A> right[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) right[v] = load(y + v * L);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Vec<A> left = splat(x[i * row]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += right[v] * left;
      }
    }
  }

  __attribute__((always_inline)) void end(A* to, int64_t to_row) const {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) store(to + i * to_row + v * L, sum[i][v]);
    }
  }
};

}  // namespace PYDLX_SIMD
}  // namespace pydlx
