// Poisson and Gaussian-Poisson equations on rectangles, in closed form.
//
// On a plane of H rows and W columns, L is minus the 5-point Laplacian and G the separable 3 x 3 filter with taps
// (side, centre, side). A DCT along the rows (for Dirichlet borders a DST-I) decouples the columns. For column
// frequency j, with
//
//     s_j = 4 sin^2(pi j / 2W)            g_j = centre + 2 side - side s_j            Neumann,   j = 0 .. W-1
//     s_j = 4 sin^2(pi (j+1) / 2(W+1))                                                Dirichlet, j = 0 .. W-1
//
// both are tridiagonal along the column: L has (-1, 2 + s_j, -1) and G has g_j (side, centre, side); mirrored ends add
// the missing neighbour to the diagonal. So each formulation is one banded system per column frequency:
//
//     official   (L + beta G) u = rhs + beta colour                    tridiagonal
//     screened   (L + beta G^2) u = rhs + beta G colour                pentadiagonal
//     paper      (L^2 + beta G^2) u = L rhs + beta G colour            complex tridiagonal:
//                u = Re (L + i sqrt(beta) G)^-1 (rhs + i sqrt(beta) colour), whose condition number is that of
//                `official`; the pentadiagonal system of L^2 + beta G^2 would have the square of it
//
// Elimination along H needs no transform along H and no transpose, and a prime H costs nothing extra.
//
// The mean of u (Neumann) is computed separately, because beta may be 1e-8 and rhs, a divergence, sums to zero except
// for rounding: mean(u) = mean(colour) / g^2 + mean(rhs) / (beta g^2) for `official` with g = centre + 2 side (a filter
// in each direction), and a sum of rhs within eps(dtype) * sum |rhs| counts as zero.
//
// Bytes per element of a float32 solve: rhs and colour must be read and u written (12); the CPU version also reads and
// writes the spectrum twice (16), which stays in the cache for planes of a few megabytes.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"
#include "fft/fft.h"

namespace pydlx {

enum Formulation : int64_t { kOfficial = 0, kPaper = 1, kScreened = 2 };

struct PoissonProblem {
  int64_t planes, height, width;
  bool dirichlet;
  Formulation formulation;
  double beta;  // weight of the filter term
  double centre, side;
};

// The coefficients of one column frequency's system: diagonal, first and second off-diagonal. For `paper` the imaginary
// parts are those of sqrt(beta) G.
struct ColumnBands {
  double diagonal, inner, outer;
  double imaginary_diagonal, imaginary_inner;
};

// s_j, the row part of L's eigenvalues; as 4 sin^2, which avoids cancellation.
inline double frequency(const PoissonProblem& p, int64_t j) {
  const double half_angle =
      p.dirichlet ? kPi * double(j + 1) / (2.0 * double(p.width + 1)) : kPi * double(j) / (2.0 * double(p.width));
  return 4 * std::sin(half_angle) * std::sin(half_angle);
}

// g_j, the row part of G's eigenvalues.
inline double filter_gain(const PoissonProblem& p, int64_t j) {
  return p.centre + 2 * p.side - p.side * frequency(p, j);
}

inline ColumnBands column_bands(const PoissonProblem& p, int64_t j) {
  const double s = frequency(p, j), a = p.centre, b = p.side, g = filter_gain(p, j);
  switch (p.formulation) {
    case kPaper: {
      const double weight = std::sqrt(p.beta) * g;
      return {2 + s, -1, 0, weight * a, weight * b};
    }
    case kScreened: {
      const double weight = p.beta * g * g;
      return {2 + s + weight * (a * a + 2 * b * b), -1 + weight * 2 * a * b, weight * b * b, 0, 0};
    }
    default:
      return {2 + s + p.beta * g * a, -1 + p.beta * g * b, 0, 0, 0};
  }
}

struct RowSums {
  double sum, magnitude;
};

inline RowSums operator+(const RowSums& a, const RowSums& b) { return {a.sum + b.sum, a.magnitude + b.magnitude}; }

// The lowest columns of the spectrum, which a badly conditioned float32 problem computes as float64 sums over its rows
// (with Neumann borders, column 0 always is). Rounding errors of the row transform and of rhs + beta colour are similar
// from row to row, so they add up along a column, and the lowest columns amplify them by up to 1 / eigenvalue.
constexpr int64_t kExactColumns = 5;

// Float64 sums over each row of the planes, null if not wanted: plain sums for column 0 of Neumann problems, and the
// exact columns (rows, kExactColumns).
struct PlaneSums {
  RowSums *rhs, *colour;
  double *exact_rhs, *exact_colour;

  PlaneSums from_row(int64_t row) const {
    return {rhs ? rhs + row : nullptr, colour ? colour + row : nullptr,
            exact_rhs ? exact_rhs + row * kExactColumns : nullptr,
            exact_colour ? exact_colour + row * kExactColumns : nullptr};
  }
};

inline int64_t first_exact_column(const PoissonProblem& p) { return p.dirichlet ? 0 : 1; }

// Whether the problem needs exact columns. Where this says no, errors of a float32 solution for an image are below
// about 0.003 / 255 (measured up to 4096^2).
template <class T>
bool wants_exact_columns(const PoissonProblem& p) {
  if (sizeof(T) == 8 || p.width <= kExactColumns) return false;
  const double weight = p.formulation == kPaper ? std::sqrt(p.beta) : p.beta;
  return frequency(p, first_exact_column(p)) + weight < 4e-5;
}

// The basis functions (kExactColumns, width): element c of a row's spectrum is the dot product of the row and function
// c.
inline std::vector<double> exact_basis(const PoissonProblem& p) {
  std::vector<double> basis;
  for (int64_t c = 0; c < kExactColumns; ++c) {
    const int64_t j = first_exact_column(p) + c;
    for (int64_t n = 0; n < p.width; ++n) {
      basis.push_back(p.dirichlet ? 2 * std::sin(kPi * double((j + 1) * (n + 1)) / double(p.width + 1))
                                  : 2 * std::cos(kPi * double(j * (2 * n + 1)) / double(2 * p.width)));
    }
  }
  return basis;
}

// The mean of u from the float64 sums of rhs, |rhs| and colour over the plane; `epsilon` is that of the tensors' type.
PYDLX_HOST_DEVICE inline double solution_mean(const PoissonProblem& p, const RowSums& rhs, double colour,
                                              double epsilon) {
  const double area = double(p.height) * double(p.width);
  const double g = (p.centre + 2 * p.side) * (p.centre + 2 * p.side);
  if (p.beta == 0) return 0;
  const double mean = colour / area / g;
  if (p.formulation == kPaper || fabs(rhs.sum) <= epsilon * rhs.magnitude) return mean;
  return mean + rhs.sum / area / (p.beta * (p.formulation == kScreened ? g * g : g));
}

// The problem of a call.
inline PoissonProblem poisson_problem(const Tensor& rhs, bool dirichlet, double screening) {
  const int64_t dims = rhs.dim();
  STD_TORCH_CHECK(dims >= 2, "poisson: rhs must have shape (..., H, W), got ", dims, " dimensions");
  PoissonProblem p{};
  p.height = rhs.size(dims - 2);
  p.width = rhs.size(dims - 1);
  p.planes = rhs.numel() == 0 ? 0 : rhs.numel() / (p.height * p.width);
  p.dirichlet = dirichlet;
  p.formulation = kOfficial;
  p.beta = screening;
  p.centre = 1;
  return p;
}

inline PoissonProblem gaussian_poisson_problem(const Tensor& rhs, const Tensor& colour, int64_t formulation,
                                               double beta, double centre, double side) {
  const Arguments arguments("gaussian_poisson", "rhs", rhs);
  arguments.check_alike("colour", colour);
  arguments.check_range("formulation", formulation, kOfficial, kScreened);
  PoissonProblem p = poisson_problem(rhs, false, beta);
  p.formulation = static_cast<Formulation>(formulation);
  p.centre = centre;
  p.side = side;
  return p;
}

}  // namespace pydlx
