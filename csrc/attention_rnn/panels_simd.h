// Products of a few rows with a matrix that is packed once and used many times. Included once per instruction set.
//
// A row is stored as parts that start at multiples of a vector, with finite padding between them (Layout). The matrix
// is cut into panels of kPanelVectors vectors of columns; a panel stores its lines one after another.

#include "common/product_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

constexpr int kPanelVectors = 4;
constexpr int kMostParts = 5;

// The parts of a row, each starting at a multiple of a vector.
template <class T>
struct Layout {
  int parts = 0;
  int64_t at[kMostParts], size[kMostParts];
  int64_t width = 0;  // of the buffer
  int64_t total = 0;  // of the parts alone

  Layout() = default;
  Layout(int count, int64_t part) {
    for (int i = 0; i < count; ++i) add(part);
  }

  void add(int64_t part) {
    at[parts] = width;
    size[parts++] = part;
    total += part;
    width += (part + kVecLanes<T> - 1) / kVecLanes<T> * kVecLanes<T>;
  }

  int64_t vectors() const { return width / kVecLanes<T>; }

  // Copies contiguous parts to this layout, with zeros as padding.
  void spread(const T* from, T* to) const {
    for (int i = 0; i < parts; ++i) {
      const int64_t end = i + 1 < parts ? at[i + 1] : width;
      std::copy_n(from, size[i], to + at[i]);
      std::fill(to + at[i] + size[i], to + end, T(0));
      from += size[i];
    }
  }

  // The inverse.
  void gather(const T* from, T* to) const {
    for (int i = 0; i < parts; ++i) {
      std::copy_n(from + at[i], size[i], to);
      to += size[i];
    }
  }
};

// A packed matrix that maps rows with layout `lines` to rows with layout `columns`.
template <class T>
struct Panels {
  Layout<T> lines, columns;
  const T* data = nullptr;

  int64_t numbers() const { return lines.total * columns.width; }

  // Packs the matrix with elements entry(part of lines, index in it, part of columns, index in it).
  template <class Entry>
  void pack(T* to, const Entry& entry) {
    data = to;
    for (int64_t first = 0; first < columns.width; first += kPanelVectors * kVecLanes<T>) {
      const int64_t end = std::min(first + kPanelVectors * kVecLanes<T>, columns.width);
      for (int i = 0; i < lines.parts; ++i) {
        for (int64_t k = 0; k < lines.size[i]; ++k) {
          for (int64_t c = first; c < end; ++c) {
            int j = columns.parts - 1;
            while (columns.at[j] > c) --j;
            *to++ = c - columns.at[j] < columns.size[j] ? entry(i, k, j, c - columns.at[j]) : T(0);
          }
        }
      }
    }
  }
};

// Multiplies kRows rows with kVectors vectors of columns, which start at `panel`; `step` is the stride between lines.
template <class T, int kRows, int kVectors, bool kAdd>
__attribute__((always_inline)) inline void multiply_tile(const Layout<T>& lines, const T* in, int64_t in_stride,
                                                         const T* panel, int64_t step, T* out, int64_t out_stride) {
  ProductTile<T, kRows, kVectors> tile;
  tile.template begin<kAdd>(out, out_stride);
  for (int i = 0; i < lines.parts; ++i) {
    tile.add(lines.size[i], in + lines.at[i], in_stride, 1, panel, step);
    panel += lines.size[i] * step;
  }
  tile.end(out, out_stride);
}

// Tiles are sized for the number of registers: 32 with 64-byte vectors, else 16.
constexpr bool kManyRegisters = PYDLX_SIMD_BYTES == 64;

template <class T, int kRows, bool kAdd>
void multiply_panel(const Layout<T>& lines, const T* in, int64_t in_stride, const T* panel, int64_t vectors, T* out,
                    int64_t out_stride) {
  constexpr int64_t L = kVecLanes<T>;
  constexpr int kWidest = kRows * 4 <= (kManyRegisters ? 16 : 8) ? 4 : 2;
  int64_t v = 0;
  const auto tile = [&](auto count) {
    for (; v + count() <= vectors; v += count()) {
      multiply_tile<T, kRows, count(), kAdd>(lines, in, in_stride, panel + v * L, vectors * L, out + v * L, out_stride);
    }
  };
  tile(std::integral_constant<int, kWidest>{});
  tile(std::integral_constant<int, 2>{});
  tile(std::integral_constant<int, 1>{});
}

// out = in * matrix, or += with kAdd, for `rows` rows.
template <class T, bool kAdd = false>
void multiply(const Panels<T>& matrix, int64_t rows, const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  constexpr int64_t L = kVecLanes<T>;
  const T* panel = matrix.data;
  for (int64_t first = 0; first < matrix.columns.vectors(); first += kPanelVectors) {
    const int64_t vectors = std::min<int64_t>(kPanelVectors, matrix.columns.vectors() - first);
    int64_t r = 0;
    const auto group = [&](auto count) {
      for (; r + count() <= rows; r += count()) {
        multiply_panel<T, count(), kAdd>(matrix.lines, in + r * in_stride, in_stride, panel, vectors,
                                         out + r * out_stride + first * L, out_stride);
      }
    };
    if constexpr (kManyRegisters) group(std::integral_constant<int, 8>{});
    group(std::integral_constant<int, 4>{});
    group(std::integral_constant<int, 2>{});
    group(std::integral_constant<int, 1>{});
    panel += matrix.lines.total * vectors * L;
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
