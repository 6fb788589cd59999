// Solves the columns of whole planes; rows_simd.h has the row transforms, banded_simd.h the systems of single columns.
// Included once per instruction set by poisson_cpu.cpp, which includes every header this needs.
#include "fft/fft_simd.h"

#include "fft/cosine_simd.h"

#include "poisson/rows_simd.h"

#include "poisson/banded_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Columns solved together: enough to hide the latency of the recurrence, and few enough for a strip of a few thousand
// rows to stay in the L2 cache.
template <class T>
constexpr int64_t kStrip = 256 / int64_t(sizeof(T));

template <class T>
int64_t strip_width() {
  return kStrip<T>;
}

// The first columns, whose systems are nearly singular, are solved in float64 whatever T is.
constexpr int64_t kLowColumns = 8;

// Copies columns between arrays of rows of any pitch and type. Other lanes of the target keep their values, which do
// not affect other lanes.
template <class From, class To>
inline void copy_columns(const From* from, int64_t from_pitch, To* to, int64_t to_pitch, int64_t rows,
                         int64_t columns) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < columns; ++c) to[i * to_pitch + c] = To(from[i * from_pitch + c]);
}

// x += beta colour, or for `screened` beta G colour, in column c of (height, kLowColumns) blocks.
inline void combine_column(const PoissonProblem& p, int64_t c, const double* colour, double* x) {
  constexpr int64_t S = kLowColumns;
  const double g = filter_gain(p, c);
  for (int64_t i = 0; i < p.height && p.formulation != kPaper; ++i) {
    double term = colour[i * S + c];
    if (p.formulation == kScreened) {
      const double above = colour[std::max<int64_t>(i - 1, 0) * S + c];
      const double below = colour[std::min(i + 1, p.height - 1) * S + c];
      term = g * (p.centre * term + p.side * (above + below));
    }
    x[i * S + c] += p.beta * term;
  }
}

// Replaces the row transform's lowest columns by the exact columns.
inline void set_exact_columns(const PoissonProblem& p, const PlaneSums& sums, double* x, double* y) {
  constexpr int64_t S = kLowColumns, J = kExactColumns;
  for (int64_t j = 0; j < J; ++j) {
    const int64_t c = first_exact_column(p) + j;
    for (int64_t i = 0; i < p.height; ++i) {
      x[i * S + c] = sums.exact_rhs[i * J + j];
      y[i * S + c] = sums.exact_colour ? sums.exact_colour[i * J + j] : 0;
    }
    combine_column(p, c, y, x);
  }
}

// Sets column 0 of a Neumann problem, with its mean removed, and returns what to add to the solution's column 0, once
// that has mean 0.
template <class T>
double set_mean_column(const PoissonProblem& p, const PlaneSums& sums, double* x, double* y) {
  constexpr int64_t S = kLowColumns;
  const int64_t h = p.height;
  RowSums rhs{}, colour{};
  for (int64_t i = 0; i < h; ++i) {
    rhs = rhs + sums.rhs[i];
    colour = colour + sums.colour[i];
  }
  for (int64_t i = 0; i < h; ++i) {
    x[i * S] = 2 * (sums.rhs[i].sum - rhs.sum / double(h));
    y[i * S] = 2 * (sums.colour[i].sum - colour.sum / double(h));
  }
  combine_column(p, 0, y, x);
  return 2 * double(p.width) * solution_mean(p, rhs, colour.sum, double(std::numeric_limits<T>::epsilon()));
}

using LowSolver = ColumnSolver<Vec<double>, double, kLowColumns>;
template <class T>
using StripSolver = ColumnSolver<Vec<T>, T, kStrip<T>>;

// Solves columns [0, kLowColumns) of one plane's spectrum into u, with y as workspace, both (height, kLowColumns).
template <class T>
void solve_low_columns(const LowSolver& solver, const T* spectrum, const T* colour_spectrum, const PlaneSums& sums,
                       double* u, double* y) {
  constexpr int64_t S = kLowColumns;
  const PoissonProblem& p = solver.p;
  const int64_t h = p.height, w = p.width;
  copy_columns(spectrum, w, u, S, h, std::min(S, w));
  if (colour_spectrum) copy_columns(colour_spectrum, w, y, S, h, std::min(S, w));
  if (sums.exact_rhs) set_exact_columns(p, sums, u, y);
  const double level = p.dirichlet ? 0 : set_mean_column<T>(p, sums, u, y);
  solver.solve(u, y, S);
  if (p.dirichlet) return;
  double mean = 0;
  for (int64_t i = 0; i < h; ++i) mean += u[i * S] / double(h);
  for (int64_t i = 0; i < h; ++i) u[i * S] += level - mean;
}

// Solves `columns` columns of one plane, fewer than the solver's, through (height, kStrip) buffers x and y.
template <class T>
void solve_narrow_strip(const StripSolver<T>& solver, T* spectrum, const T* colour_spectrum, int64_t columns, T* x,
                        T* y) {
  constexpr int64_t S = kStrip<T>;
  const int64_t h = solver.p.height, w = solver.p.width;
  copy_columns(spectrum, w, x, S, h, columns);
  if (colour_spectrum) copy_columns(colour_spectrum, w, y, S, h, columns);
  solver.solve(x, y, S);
  copy_columns(x, S, spectrum, w, h, columns);
}

// Solves one strip of planes [first, last); strip 0 includes the low columns. `bands` has those of all columns, padded
// with the last one to a multiple of the strip width.
template <class T>
void solve_strips(const PoissonProblem& p, const ColumnBands* bands, int64_t strip, T* spectra, const T* colour_spectra,
                  const PlaneSums& sums, int64_t first, int64_t last) {
  constexpr int64_t S = kStrip<T>, L = kLowColumns;
  const int64_t h = p.height, w = p.width, column = strip * S, columns = std::min(S, w - column);
  const int64_t low = strip == 0 ? LowSolver::work_size(h) + 2 * h * L : 0;
  const int64_t wide = StripSolver<T>::work_size(h) + 2 * h * S;
  const Workspace space(low * int64_t(sizeof(double)) + wide * int64_t(sizeof(T)));
  double* u = space.as<double>();
  T* x = reinterpret_cast<T*>(u + low);
  const StripSolver<T> solver(p, bands + column, x + 2 * h * S);
  std::optional<LowSolver> low_solver;
  if (strip == 0) low_solver.emplace(p, bands, u + 2 * h * L);
  for (int64_t plane = first; plane < last; ++plane) {
    T* spectrum = spectra + plane * h * w + column;
    const T* colour_spectrum = colour_spectra ? colour_spectra + plane * h * w + column : nullptr;
    if (low_solver) solve_low_columns(*low_solver, spectrum, colour_spectrum, sums.from_row(plane * h), u, u + h * L);
    if (columns == S) {
      solver.solve(spectrum, colour_spectrum, w);
    } else {
      solve_narrow_strip(solver, spectrum, colour_spectrum, columns, x, x + h * S);
    }
    if (low_solver) copy_columns(u, L, spectrum, w, h, std::min(L, w));
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
