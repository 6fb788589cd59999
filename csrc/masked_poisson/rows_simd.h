// Loops over one row, as functions of plain pointers that the compiler vectorises. Columns are [begin, end); up, here
// and down are rows i - 1, i and i + 1. Included by masked_poisson_cpu_simd.h.

namespace pydlx {
namespace PYDLX_SIMD {

// (A z)[j] on the finest level, as a sum of differences.
template <class T>
inline T plain_stencil(const T* up, const T* here, const T* down, int64_t j) {
  return ((here[j] - here[j - 1]) + (here[j] - here[j + 1])) + ((here[j] - up[j]) + (here[j] - down[j]));
}

struct PlainStencil {
  float operator()(const float* up, const float* here, const float* down, int64_t j) const {
    return plain_stencil(up, here, down, j);
  }
};

struct ConstantStencil {
  float centre, side, corner;
  float operator()(const float* up, const float* here, const float* down, int64_t j) const {
    return centre * here[j] + side * ((here[j - 1] + here[j + 1]) + (up[j] + down[j])) +
           corner * ((up[j - 1] + up[j + 1]) + (down[j - 1] + down[j + 1]));
  }
};

struct StoredStencil {
  const float *centre, *east, *south_west, *south, *south_east, *north_east, *north, *north_west;
  StoredStencil(const Level& level, int64_t i)
      : centre(level.centre.row(i)),
        east(level.east.row(i)),
        south_west(level.south_west.row(i)),
        south(level.south.row(i)),
        south_east(level.south_east.row(i)),
        north_east(level.south_west.row(i - 1)),
        north(level.south.row(i - 1)),
        north_west(level.south_east.row(i - 1)) {}
  float operator()(const float* up, const float* here, const float* down, int64_t j) const {
    return (centre[j] * here[j] + east[j] * here[j + 1] + east[j - 1] * here[j - 1]) +
           (south_west[j] * down[j - 1] + south[j] * down[j] + south_east[j] * down[j + 1]) +
           (north_east[j + 1] * up[j + 1] + north[j] * up[j] + north_west[j - 1] * up[j - 1]);
  }
};

struct ConstantWeight {
  float weight;
  float operator[](int64_t) const { return weight; }
};

enum class Grid { kFinest, kCoarse };

// Calls body(stencil, weight, begin, end) for the parts of a row: its regular runs and the gaps between them.
template <Grid kGrid, class Body>
inline void each_part(const Level& level, int64_t i, int64_t begin, int64_t end, const Body& body) {
  const ConstantWeight typical{level.typical.weight};
  const float* stored = level.weight.row(i);
  const auto parts = [&](const auto& regular_stencil, const auto& stencil) {
    int64_t at = begin;
    for (const Run& run : level.regular[i]) {
      const int64_t first = std::clamp(run.begin, at, end), last = std::clamp(run.end, first, end);
      if (at < first) body(stencil, stored, at, first);
      if (first < last) body(regular_stencil, typical, first, last);
      at = last;
    }
    if (at < end) body(stencil, stored, at, end);
  };
  if constexpr (kGrid == Grid::kFinest) {
    parts(PlainStencil{}, PlainStencil{});
  } else {
    parts(ConstantStencil{level.typical.centre, level.typical.side, level.typical.corner}, StoredStencil(level, i));
  }
}

// Three neighbouring rows. Outside of the grid the edge row is repeated, so that there is no flow across it.
template <class T>
struct RowTriple {
  const T *up, *here, *down;
};

// The rows around row i of a plane, or of a ring buffer of three scratch rows.
template <class T>
inline RowTriple<T> rows_around(const Plane<T>& plane, int64_t i, int64_t height) {
  return {plane.row(i > 0 ? i - 1 : i), plane.row(i), plane.row(i + 1 < height ? i + 1 : i)};
}
template <class T>
inline RowTriple<T> ring_around(const Plane<T>& ring, int64_t i, int64_t height) {
  return {ring.row((i > 0 ? i - 1 : i) % 3), ring.row(i % 3), ring.row((i + 1 < height ? i + 1 : i) % 3)};
}

// Sets the elements just outside of [begin, end), which a stencil reads: to zero, or at the sides of the grid to the
// edge column. Repeating is right for the canvas edge (no flow across it) and for prolongation; if the edge column is
// known, it is zero anyway.
template <class T>
inline void finish_row(T* row, int64_t begin, int64_t end, int64_t width) {
  row[begin - 1] = begin == 0 ? row[0] : T(0);
  row[end] = T(0);
  if (end >= width) row[width] = row[width - 1];
}

template <class T, class U>
[[gnu::noinline]] inline double dot_row(const T* a, const U* b, int64_t begin, int64_t end) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = begin; j < end; ++j) sum += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  return sum;
}

// here . A here
template <class T>
[[gnu::noinline]] inline double energy_row(const RowTriple<T>& p, int64_t begin, int64_t end) {
  const T *up = p.up, *here = p.here, *down = p.down;
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = begin; j < end; ++j) sum += static_cast<double>(here[j] * plain_stencil(up, here, down, j));
  return sum;
}

// ---- V-cycle

template <class Weight, class T>
[[gnu::noinline]] inline void smooth_row(const Weight weight, const T* rhs, float* s, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) s[j] = weight[j] * static_cast<float>(rhs[j]);
}

template <class Stencil, class Weight, class T>
[[gnu::noinline]] inline void residual_row(const Stencil stencil, const Weight weight, const T* rhs,
                                           const RowTriple<float>& s, float* residual, int64_t begin, int64_t end) {
  const float *up = s.up, *here = s.here, *down = s.down;
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) {
    const float rest = static_cast<float>(rhs[j]) - stencil(up, here, down, j);
    residual[j] = weight[j] != 0 ? rest : 0.0f;
  }
}

[[gnu::noinline]] inline void restrict_rows(const float* above, float above_weight, const float* here,
                                            const float* below, float below_weight, float* sum, int64_t begin,
                                            int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) sum[j] = here[j] + above_weight * above[j] + below_weight * below[j];
}

[[gnu::noinline]] inline void restrict_columns(const float* sum, const float* coarse_weight, float* coarse_rhs,
                                               int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t J = begin; J < end; ++J) {
    const float value = sum[2 * J] + 0.5f * (sum[2 * J - 1] + sum[2 * J + 1]);
    coarse_rhs[J] = coarse_weight[J] != 0 ? value : 0.0f;
  }
}

[[gnu::noinline]] inline void mean_row(const float* a, const float* b, float* mean, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t J = begin; J < end; ++J) mean[J] = 0.5f * (a[J] + b[J]);
}

[[gnu::noinline]] inline void prolong_columns(const float* coarse, float* fine, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t J = begin; J < end; ++J) {
    fine[2 * J] = coarse[J];
    fine[2 * J + 1] = 0.5f * (coarse[J] + coarse[J + 1]);
  }
}

template <class Weight, class T>
[[gnu::noinline]] inline void correct_row(const Weight weight, const T* rhs, const float* correction, float* z,
                                          int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) {
    const float value = weight[j] * static_cast<float>(rhs[j]) + correction[j];
    z[j] = weight[j] != 0 ? value : 0.0f;
  }
}

template <class Stencil, class Weight, class T>
[[gnu::noinline]] inline void relax_row(const Stencil stencil, const Weight weight, const T* rhs,
                                        const RowTriple<float>& z, float* fix, int64_t begin, int64_t end) {
  const float *up = z.up, *here = z.here, *down = z.down;
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) {
    fix[j] = here[j] + weight[j] * (static_cast<float>(rhs[j]) - stencil(up, here, down, j));
  }
}

// ---- conjugate gradients

template <class T>
[[gnu::noinline]] inline void direction_row(const float* correction, T beta, const T* old, T* direction, int64_t begin,
                                            int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) direction[j] = static_cast<T>(correction[j]) + beta * old[j];
}

template <class Weight, class T>
[[gnu::noinline]] inline void reduce_residual_row(const Weight weight, const RowTriple<T>& direction, T step,
                                                  T* residual, int64_t begin, int64_t end) {
  const T *up = direction.up, *here = direction.here, *down = direction.down;
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) {
    const T rest = residual[j] - step * plain_stencil(up, here, down, j);
    residual[j] = weight[j] != 0 ? rest : T(0);
  }
}

template <class T>
[[gnu::noinline]] inline void advance_solution_row(const T* direction, double step, double* solution, int64_t begin,
                                                   int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) solution[j] += step * static_cast<double>(direction[j]);
}

// wanted = scale rhs and residual = wanted - A solution on unknown pixels, both in float64.
template <class T>
[[gnu::noinline]] inline void true_residual_row(const float* weight, const T* rhs, double scale,
                                                const RowTriple<double>& solution, double* wanted, double* residual,
                                                int64_t begin, int64_t end) {
  const double *up = solution.up, *here = solution.here, *down = solution.down;
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) {
    const double value = scale * static_cast<double>(rhs[j]);
    const double rest = value - plain_stencil(up, here, down, j);
    wanted[j] = weight[j] != 0 ? value : 0.0;
    residual[j] = weight[j] != 0 ? rest : 0.0;
  }
}

template <class To, class From>
[[gnu::noinline]] inline void convert_row(const From* from, double scale, To* to, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) to[j] = static_cast<To>(scale * static_cast<double>(from[j]));
}

// to = scale from on unknown pixels, zero elsewhere.
template <class To, class From>
[[gnu::noinline]] inline void convert_unknowns_row(const float* weight, const From* from, double scale, To* to,
                                                   int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t j = begin; j < end; ++j) {
    const To value = static_cast<To>(scale * static_cast<double>(from[j]));
    to[j] = weight[j] != 0 ? value : To(0);
  }
}

// The largest |row[j]| on unknown pixels; sets `taint` to NaN if one of them is not finite.
template <class T>
[[gnu::noinline]] inline T largest_in_row(const T* row, const float* weight, int64_t width, T& taint) {
  T peak = 0, mark = 0;
#pragma omp simd reduction(max : peak) reduction(+ : mark)
  for (int64_t j = 0; j < width; ++j) {
    const T size = weight[j] != 0 ? std::fabs(row[j]) : T(0);
    peak = size > peak ? size : peak;
    mark += size - size;
  }
  taint += mark;
  return peak;
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
