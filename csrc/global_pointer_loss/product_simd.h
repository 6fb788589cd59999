// Products of small matrices whose result rows are whole vectors. Included once per instruction set.

#include "common/product_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// The left factor of a product: element (i, k) is data[i * row + k * column].
template <class A>
struct Factor {
  const A* data;
  int64_t row, column;
};

// Sized so that sums stay in registers: there are 32 with 64-byte vectors, else 16.
constexpr int kProductVectors = PYDLX_SIMD_BYTES == 64 ? 4 : 2;

template <class A, int kRows, bool kAdd>
void product_rows(const Factor<A>& left, int64_t depth, const A* right, int64_t right_row, int64_t vectors, A* out,
                  int64_t out_row) {
  constexpr int64_t L = kVecLanes<A>;
  int64_t v = 0;
  const auto tiles = [&](auto width) {
    for (; v + width() <= vectors; v += width()) {
      ProductTile<A, kRows, width()> tile;
      tile.template begin<kAdd>(out + v * L, out_row);
      tile.add(depth, left.data, left.row, left.column, right + v * L, right_row);
      tile.end(out + v * L, out_row);
    }
  };
  tiles(std::integral_constant<int, kProductVectors>{});
  if constexpr (kProductVectors > 2) tiles(std::integral_constant<int, 2>{});
  tiles(std::integral_constant<int, 1>{});
}

// out = left * right, or += with kAdd, for `rows` rows of `vectors` vectors.
template <class A, bool kAdd = false>
void product(int64_t rows, Factor<A> left, int64_t depth, const A* right, int64_t right_row, int64_t vectors, A* out,
             int64_t out_row) {
  const auto groups = [&](auto count) {
    for (; rows >= count(); rows -= count()) {
      product_rows<A, count(), kAdd>(left, depth, right, right_row, vectors, out, out_row);
      left.data += count() * left.row;
      out += count() * out_row;
    }
  };
  groups(std::integral_constant<int, 4>{});
  groups(std::integral_constant<int, 1>{});
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
