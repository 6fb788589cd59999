// One head of one item for the CPU kernel: its tokens without padding, and its gold spans.
#pragma once

#include <algorithm>
#include <vector>

#include "global_pointer_loss/global_pointer_loss.h"

namespace pydlx {

// Tokens per side of a tile of scores; a tile fits into the L1 cache.
template <class A>
constexpr int64_t kTileSide = sizeof(A) == 4 ? 64 : 32;

// A gold span: its tile, its type among those of the head, and its position in the tile.
struct GoldCell {
  int64_t tile, type, row, column;

  bool operator<(const GoldCell& other) const { return std::tie(tile, type) < std::tie(other.tile, other.type); }
};

// Partial sums of a type.
template <class A>
struct HeadSums {
  LogSum<A, double> gold, others;
};

struct HeadCells {
  std::vector<int64_t> tokens;  // their positions
  std::vector<GoldCell> gold;   // ordered by tile, then type

  // Tiles are numbered in the order of computation: column of tiles by column, from the first row down.
  template <class T>
  HeadCells(const GlobalPointerShape& shape, const GlobalPointerArrays<T>& arrays, int64_t item, int64_t head) {
    constexpr int64_t kSide = kTileSide<accumulate_t<T>>;
    const int64_t length = shape.length;
    std::vector<int64_t> places(static_cast<size_t>(length), -1);
    for (int64_t position = 0; position < length; ++position) {
      if (arrays.mask && !arrays.mask[item * length + position]) continue;
      places[position] = static_cast<int64_t>(tokens.size());
      tokens.push_back(position);
    }
    const int64_t tiles = (count() + kSide - 1) / kSide;
    const int64_t first = item * shape.types + head * shape.types_of_head();
    const auto *begin = arrays.cells, *end = begin + arrays.gold;
    const auto* cell = std::lower_bound(begin, end, first * length * length);
    const auto* last = std::lower_bound(cell, end, (first + shape.types_of_head()) * length * length);
    for (; cell < last; ++cell) {
      if (cell > begin && cell[-1] == *cell) continue;
      const int64_t row = places[*cell / length % length], column = places[*cell % length];
      if (row < 0 || column < 0 || (shape.triangle && row > column)) continue;
      gold.push_back(
          {column / kSide * tiles + row / kSide, *cell / (length * length) - first, row % kSide, column % kSide});
    }
    std::sort(gold.begin(), gold.end());
  }

  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
};

}  // namespace pydlx
