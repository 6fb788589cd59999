// Poisson's equation on the unknown pixels of a mask, with zero on the known ones (Perez, Gangnet, Blake, "Poisson
// image editing", SIGGRAPH 2003, equation 7, with the known values moved to the right-hand side):
//
//     n_p u[p] - sum_{q in N(p), q unknown} u[q] = rhs[p]      for p unknown,      u[p] = 0 otherwise,
//
// N(p) = the 4-neighbours of p inside the canvas (the whole image), n_p = |N(p)|: neighbours outside of the canvas are
// dropped, a natural Neumann boundary. The operator is evaluated as a sum of differences, sum_q (u[p] - u[q]), which
// loses no digits where u is smooth.
//
// Method: conjugate gradients, preconditioned by one multigrid V-cycle (Trottenberg, Oosterlee, Schueller, "Multigrid",
// 2001, sections 2.4 and 7.8). A coarse level keeps every second pixel of both axes, known or unknown as before.
// Prolongation P is bilinear and zero on known pixels; outside of the canvas it repeats the last coarse pixel, so
// constants are preserved. Coarse operators are Galerkin products P^T A P: symmetric 9-point stencils that adapt to the
// mask's ragged boundary. There is one sweep of damped Jacobi before and one after the coarse correction; the first
// starts at zero, so it is a product with `weight` and is recomputed rather than stored.
//
// Precision: the preconditioner is always float32; residual and search direction have rhs's dtype; the solution is
// float64 (in float32 its rounding alone could leave a residual above 1e-6). When the recursive residual has reached
// the goal, the true one is computed in float64; if that is not small enough, the iteration restarts from it.
#pragma once

#include <cstdint>
#include <optional>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

constexpr float kDamping = 0.8f;  // of the Jacobi step; damps both ends of the upper half of the spectrum equally

struct StoppingRule {
  double tolerance;
  int64_t max_iterations;
};

// Whether another round of iterations is useful after one that started with the squared residual norm `before`: a round
// that did not halve the residual has reached the rounding errors.
PYDLX_HOST_DEVICE inline bool goes_on(double residual, double goal, double before) {
  return residual > goal && residual < 0.25 * before;
}

inline void check_masked_poisson(const Tensor& rhs, const Tensor& mask, const std::optional<Tensor>& initial,
                                 int64_t max_iterations) {
  const Arguments arguments("masked_poisson", "rhs", rhs);
  arguments.check_dims("rhs", rhs, 4, 4);
  arguments.check("mask", mask, ScalarType::Bool, {rhs.size(0), rhs.size(2), rhs.size(3)});
  if (initial) arguments.check_alike("initial", *initial);
  arguments.check_positive("max_iterations", max_iterations);
}

}  // namespace pydlx
