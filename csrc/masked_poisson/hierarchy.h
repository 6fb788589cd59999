// Data structures of the CPU solver: the grids of a mask's hierarchy, and the vectors of a solve.
//
// Bytes per pixel and iteration on the finest level for float32: 4 (restrict) + 8 (correct and relax) + 12 (new
// direction) + 12 (reduce the residual) + 8 (a quarter of adding four directions to the solution), and 4 more per pass
// where the weights must be read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "masked_poisson/plane.h"

namespace pydlx {

// The part of a plane that one task processes. Blocks, and so results, do not depend on the number of threads.
struct Block {
  int64_t first_row, last_row;  // [first, last)
  int64_t begin, end;           // columns, multiples of 16; the columns just outside are known in all these rows
};

// A range of columns of a row; both ends are multiples of 8.
struct Run {
  int64_t begin, end;
};

// The stencil of pixels away from known pixels and from the canvas edge, the same everywhere on a level.
struct RegularStencil {
  float centre, side, corner, weight;
};

// One grid of the hierarchy. `weight` is the Jacobi step, damping / diagonal; zero means that the pixel is known.
// Coarse levels store their stencils: the centre and the couplings of (i, j) to (i, j + 1), (i + 1, j - 1), (i + 1, j)
// and (i + 1, j + 1); by symmetry the other four are stored with the neighbours. The finest level's stencil is not
// stored. In a row's `regular` runs every pixel has the level's typical stencil, so that neither stencil nor weight is
// read.
struct Level {
  static constexpr int64_t kBlockRows = 32;

  int64_t height, width;
  Plane<float> weight;
  Plane<float> centre, east, south_west, south, south_east;
  std::vector<Block> blocks;
  RegularStencil typical{};
  std::vector<std::vector<Run>> regular;  // of every row, in order

  Level(int64_t h, int64_t w) : height(h), width(w), weight(h, w), regular(h) {}

  void allocate_stencil() {
    for (Plane<float>* plane : {&centre, &east, &south_west, &south, &south_east}) *plane = Plane<float>(height, width);
  }

  // The least number of blocks per thread.
  int64_t grain() const { return 1 + 8192 / (kBlockRows * width); }
};

// The unknown pixels' bounding box in the canvas, enlarged by one known row or column except at the canvas edge.
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
  bool open_bottom = false, open_right = false;  // the box ends at the canvas edge: natural Neumann
  bool empty() const { return height == 0; }
};

inline Box bounding_box(const bool* mask, int64_t canvas_height, int64_t canvas_width) {
  int64_t top = canvas_height, bottom = 0, left = canvas_width, right = 0;
  for (int64_t i = 0; i < canvas_height; ++i) {
    const bool* row = mask + i * canvas_width;
    const auto* hit = static_cast<const bool*>(std::memchr(row, 1, canvas_width));
    if (!hit) continue;
    top = std::min(top, i);
    bottom = i + 1;
    left = std::min<int64_t>(left, hit - row);
    int64_t last = canvas_width;
    while (last > right && !row[last - 1]) --last;
    right = std::max(right, last);
  }
  Box box;
  if (bottom == 0) return box;
  box.open_bottom = bottom == canvas_height;
  box.open_right = right == canvas_width;
  box.top = std::max<int64_t>(0, top - 1);
  box.left = std::max<int64_t>(0, left - 1);
  box.height = bottom + !box.open_bottom - box.top;
  box.width = right + !box.open_right - box.left;
  return box;
}

// A canvas and the box in it; row(base, i) is row i of the box in a canvas-sized array.
struct Canvas {
  int64_t height, width;
  Box box;

  int64_t pixels() const { return height * width; }
  template <class T>
  T* row(T* base, int64_t i) const {
    return base + (box.top + i) * width + box.left;
  }
};

// Cholesky factor (lower triangular L with L L^T = A) of the coarsest operator over its unknown pixels.
struct CoarsestSolve {
  std::vector<std::pair<int64_t, int64_t>> pixels;
  std::vector<double> factor;
};

struct Hierarchy {
  static constexpr int64_t kCoarsestPixels = 64;
  std::vector<Level> levels;  // at least two
  CoarsestSolve coarsest;

  // Allocates the grids; the kernels fill in weights, stencils and blocks. If the box ends at a known row or column, so
  // does every coarse grid; if it ends at the canvas edge, coarse grids end at the last pixel that they keep.
  explicit Hierarchy(const Box& box) {
    levels.emplace_back(box.height, box.width);
    do {
      const int64_t h = levels.back().height, w = levels.back().width;
      levels.emplace_back(box.open_bottom ? (h + 1) / 2 : h / 2 + 1, box.open_right ? (w + 1) / 2 : w / 2 + 1);
      levels.back().allocate_stencil();
    } while (levels.back().height * levels.back().width > kCoarsestPixels);
  }
};

// The vectors of one solve. They are reused from plane to plane, because they stay zero outside the mask. Search
// directions are saved with their step lengths and added to the solution a few at a time.
template <class T>
struct Workspace {
  static constexpr size_t kDirections = 4;

  Plane<double> solution;
  Plane<T> residual;
  Plane<T> directions[kDirections];
  std::vector<double> steps;                         // step lengths of the directions not yet added to the solution
  Plane<float> correction;                           // preconditioned residual
  std::vector<Plane<float>> coarse_rhs, coarse_fix;  // level l at index l - 1

  explicit Workspace(const Hierarchy& hierarchy) {
    const Level& finest = hierarchy.levels.front();
    solution = Plane<double>(finest.height, finest.width);
    residual = Plane<T>(finest.height, finest.width);
    for (Plane<T>& direction : directions) direction = Plane<T>(finest.height, finest.width);
    correction = Plane<float>(finest.height, finest.width);
    for (size_t l = 1; l < hierarchy.levels.size(); ++l) {
      const Level& level = hierarchy.levels[l];
      coarse_rhs.emplace_back(level.height, level.width);
      coarse_fix.emplace_back(level.height, level.width);
    }
  }
};

}  // namespace pydlx
