// Conjugate gradients on one plane; rows_simd.h has the loops, setup_simd.h the hierarchy, vcycle_simd.h the
// preconditioner. Included once per instruction set by masked_poisson_cpu.cpp, which includes every header this needs.
#include "masked_poisson/rows_simd.h"

#include "masked_poisson/setup_simd.h"
#include "masked_poisson/vcycle_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// One right side and its scale, a power of two that brings its largest entry into [1, 2), so that tiny and huge inputs
// stay within float32's range.
template <class T>
struct RightSide {
  const T* values;
  const Canvas& canvas;
  double scale = 1, largest = 0;
  bool finite = true;

  RightSide(const T* plane, const Canvas& in, const Level& finest) : values(plane), canvas(in) {
    std::vector<T> peaks(finest.height), taints(finest.height, T(0));
    parallel_for(finest.height, 1 + 65536 / finest.width, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        peaks[i] = largest_in_row(canvas.row(values, i), finest.weight.row(i), finest.width, taints[i]);
      }
    });
    finite = std::all_of(taints.begin(), taints.end(), [](T taint) { return taint == 0; });
    largest = static_cast<double>(*std::max_element(peaks.begin(), peaks.end()));
    if (finite && largest > 0) scale = std::ldexp(1.0, -std::ilogb(largest));
  }
};

struct Norms {
  double residual, rhs;  // squared
};

// residual = rhs - A solution, in float64 throughout.
template <class T>
inline Norms true_residual(const Level& finest, const RightSide<T>& rhs, Workspace<T>& w) {
  std::vector<double> rhs_sums(finest.blocks.size(), 0.0);
  Norms norms{};
  norms.residual = sum_over_blocks<double>(finest, 2, finest.width, [&](const Block& block, Plane<double>& scratch) {
    const int64_t begin = block.begin, end = std::min(block.end, finest.width);
    double residual_sum = 0, rhs_sum = 0;
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      double *wanted = scratch.row(0), *rest = scratch.row(1);
      true_residual_row(finest.weight.row(i), rhs.canvas.row(rhs.values, i), rhs.scale,
                        rows_around(w.solution, i, finest.height), wanted, rest, begin, end);
      convert_row(rest, 1.0, w.residual.row(i), begin, end);
      residual_sum += dot_row(rest, rest, begin, end);
      rhs_sum += dot_row(wanted, wanted, begin, end);
    }
    rhs_sums[&block - finest.blocks.data()] = rhs_sum;
    return residual_sum;
  });
  for (const double sum : rhs_sums) norms.rhs += sum;
  return norms;
}

// direction = correction + beta last (or just the correction); returns direction . A direction. The stencil needs the
// new edge rows of neighbouring blocks, which each block computes for itself.
template <class T>
inline double new_direction(const Level& finest, T beta, const Plane<float>& correction, const Plane<T>* last,
                            Plane<T>& direction) {
  return sum_over_blocks<T>(finest, 2, finest.width, [&](const Block& block, Plane<T>& halo) {
    const int64_t begin = block.begin, end = block.end;
    const auto target = [&](int64_t i) -> T* {
      return i < block.first_row ? halo.row(0) : i >= block.last_row ? halo.row(1) : direction.row(i);
    };
    const auto fill = [&](int64_t i) {
      if (last) {
        direction_row(correction.row(i), beta, last->row(i), target(i), begin, end);
      } else {
        convert_row(correction.row(i), 1.0, target(i), begin, end);
      }
      finish_row(target(i), begin, end, finest.width);
    };
    double sum = 0;
    for (int64_t i = std::max<int64_t>(0, block.first_row - 1); i <= block.first_row; ++i) fill(i);
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      if (i + 1 < finest.height) fill(i + 1);
      const RowTriple<T> rows{target(i > 0 ? i - 1 : i), target(i), target(i + 1 < finest.height ? i + 1 : i)};
      sum += energy_row(rows, begin, std::min(end, finest.width));
    }
    return sum;
  });
}

// residual -= step A direction; returns the residual's squared norm.
template <class T>
inline double reduce_residual(const Level& finest, T step, const Plane<T>& direction, Plane<T>& residual) {
  return sum_over_blocks<T>(finest, 0, 0, [&](const Block& block, Plane<T>&) {
    const int64_t begin = block.begin, end = block.end;
    double sum = 0;
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      const RowTriple<T> rows = rows_around(direction, i, finest.height);
      T* rest = residual.row(i);
      each_part<Grid::kFinest>(finest, i, begin, end, [&](const auto&, const auto& weight, int64_t from, int64_t to) {
        reduce_residual_row(weight, rows, step, rest, from, to);
      });
      sum += dot_row(rest, rest, begin, end);
    }
    return sum;
  });
}

// solution += the saved directions times their step lengths.
template <class T>
inline void advance_solution(const Level& finest, Workspace<T>& w) {
  sum_over_blocks<T>(finest, 0, 0, [&](const Block& block, Plane<T>&) {
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      double* solution = w.solution.row(i);
      for (size_t k = 0; k < w.steps.size(); ++k) {
        advance_solution_row(w.directions[k].row(i), w.steps[k], solution, block.begin, block.end);
      }
      finish_row(solution, block.begin, block.end, finest.width);
    }
    return 0.0;
  });
  w.steps.clear();
}

// Conjugate gradients from the current solution and residual, until the recursive residual's squared norm is at most
// `goal`. Returns the number of iterations.
template <class T>
inline int64_t iterate(const Hierarchy& hierarchy, double squared_norm, double goal, int64_t max_iterations,
                       Workspace<T>& w) {
  const Level& finest = hierarchy.levels.front();
  const Plane<T>* last = nullptr;
  double slope = 0;
  int64_t iterations = 0;
  for (; squared_norm > goal && iterations < max_iterations; ++iterations) {
    if (w.steps.size() == Workspace<T>::kDirections) advance_solution(finest, w);
    Plane<T>& direction = w.directions[w.steps.size()];
    const double last_slope = slope;
    slope = precondition(hierarchy, w);
    const double beta = last_slope > 0 ? slope / last_slope : 0;
    const double energy = new_direction(finest, static_cast<T>(beta), w.correction, last, direction);
    const T step = static_cast<T>(slope / energy);
    squared_norm = reduce_residual(finest, step, direction, w.residual);
    w.steps.push_back(static_cast<double>(step));
    last = &direction;
  }
  advance_solution(finest, w);
  return iterations;
}

// solution = scale initial on unknown pixels.
template <class T>
inline void load_initial(const Level& finest, const RightSide<T>& rhs, const T* initial, Workspace<T>& w) {
  sum_over_blocks<T>(finest, 0, 0, [&](const Block& block, Plane<T>&) {
    const int64_t begin = block.begin, end = std::min(block.end, finest.width);
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      double* solution = w.solution.row(i);
      convert_unknowns_row(finest.weight.row(i), rhs.canvas.row(initial, i), rhs.scale, solution, begin, end);
      finish_row(solution, begin, block.end, finest.width);
    }
    return 0.0;
  });
}

// solution = 0, so residual = scale rhs on unknown pixels.
template <class T>
inline Norms start_at_zero(const Level& finest, const RightSide<T>& rhs, Workspace<T>& w) {
  const double norm = sum_over_blocks<T>(finest, 0, 0, [&](const Block& block, Plane<T>&) {
    const int64_t begin = block.begin, end = std::min(block.end, finest.width);
    double sum = 0;
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      double* solution = w.solution.row(i);
      T* residual = w.residual.row(i);
      std::fill(solution + begin, solution + block.end, 0.0);
      finish_row(solution, begin, block.end, finest.width);
      convert_unknowns_row(finest.weight.row(i), rhs.canvas.row(rhs.values, i), rhs.scale, residual, begin, end);
      sum += dot_row(residual, residual, begin, end);
    }
    return sum;
  });
  return {norm, norm};
}

template <class T>
inline Norms start(const Level& finest, const RightSide<T>& rhs, const T* initial, Workspace<T>& w) {
  if (!initial) return start_at_zero(finest, rhs, w);
  load_initial(finest, rhs, initial, w);
  return true_residual(finest, rhs, w);
}

template <class T>
inline void store_solution(const Level& finest, const RightSide<T>& rhs, const Workspace<T>& w, T* solution) {
  sum_over_blocks<T>(finest, 0, 0, [&](const Block& block, Plane<T>&) {
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      convert_row(w.solution.row(i), 1 / rhs.scale, rhs.canvas.row(solution, i), block.begin,
                  std::min(block.end, finest.width));
    }
    return 0.0;
  });
}

// A right side that is not finite has no solution: writes NaN to every unknown pixel.
template <class T>
inline double refuse(const Level& finest, const Canvas& canvas, T* solution) {
  for (int64_t i = 0; i < finest.height; ++i) {
    const float* weight = finest.weight.row(i);
    T* to = canvas.row(solution, i);
    for (int64_t j = 0; j < finest.width; ++j) to[j] = weight[j] != 0 ? std::numeric_limits<T>::quiet_NaN() : T(0);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// Solves one plane into `solution`, which must be zero. Returns the relative residual of the float64 solution, before
// it is rounded to T.
template <class T>
inline double solve_plane(const Hierarchy& hierarchy, const Canvas& canvas, const T* values, const T* initial,
                          const StoppingRule& rule, Workspace<T>& w, T* solution) {
  const Level& finest = hierarchy.levels.front();
  const RightSide<T> rhs(values, canvas, finest);
  if (!rhs.finite) return refuse(finest, canvas, solution);
  if (rhs.largest == 0) return 0;
  Norms norms = start(finest, rhs, initial, w);
  const double goal = rule.tolerance * rule.tolerance * norms.rhs;
  double before = std::numeric_limits<double>::infinity();
  int64_t iterations = 0;
  while (goes_on(norms.residual, goal, before) && iterations < rule.max_iterations) {
    iterations += iterate(hierarchy, norms.residual, goal, rule.max_iterations - iterations, w);
    before = norms.residual;
    norms = true_residual(finest, rhs, w);
  }
  store_solution(finest, rhs, w, solution);
  return std::sqrt(norms.residual / norms.rhs);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
