// Closed-form Poisson solves on the CPU: row transforms, one banded sweep per column frequency, inverse row transforms.
// The maths is in poisson.h, the loops in poisson_cpu_simd.h.
#include "poisson/poisson.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "common/tensor_utils.h"
#include "fft/cosine.h"

#define PYDLX_SIMD_FILE "poisson/poisson_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The size of planes solved together: enough to keep the threads busy, and small enough for the spectrum to stay in the
// cache between passes.
constexpr int64_t kChunkBytes = int64_t(1) << 24;
constexpr int64_t kRowsPerTask = 32;
constexpr int64_t kSweepTasks = 64;
constexpr int64_t kElementsPerThread = 65536;

template <class T>
void solve(const PoissonProblem& problem, const T* rhs, const T* colour, T* u) {
  const int64_t h = problem.height, w = problem.width, plane = h * w;
  const bool paper = problem.formulation == kPaper;
  const LineKind forward_kind = problem.dirichlet ? LineKind::kSine1 : LineKind::kCosine2;
  const LineKind inverse_kind = problem.dirichlet ? LineKind::kSine1 : LineKind::kCosine3;
  const LinePlan<T> forward(forward_kind, w), inverse(inverse_kind, w);
  const T scale = T(0.5 / double(problem.dirichlet ? w + 1 : w));
  const int64_t strip = PYDLX_SIMD_CALL(strip_width<T>)();
  const int64_t strips = (w + strip - 1) / strip;
  const int64_t chunk = std::max<int64_t>(1, std::min(problem.planes, kChunkBytes / (plane * int64_t(sizeof(T)))));
  std::vector<ColumnBands> bands;
  for (int64_t j = 0; j < strips * strip; ++j) bands.push_back(column_bands(problem, std::min(j, w - 1)));
  const bool exact = wants_exact_columns<T>(problem);
  const std::vector<double> basis = exact ? exact_basis(problem) : std::vector<double>();
  std::vector<RowSums> row_sums(problem.dirichlet ? 0 : size_t(2 * chunk * h));
  std::vector<double> exact_sums(exact ? size_t(2 * chunk * h * kExactColumns) : 0);
  PlaneSums sums{};
  if (!problem.dirichlet) sums.rhs = row_sums.data(), sums.colour = sums.rhs + chunk * h;
  if (exact) sums.exact_rhs = exact_sums.data(), sums.exact_colour = sums.exact_rhs + chunk * h * kExactColumns;
  std::vector<T> colour_spectrum(paper ? size_t(chunk * plane) : 0);
  // Calls body(first, last) in parallel for parts of [0, rows), in whole tasks.
  const auto rows_parallel = [&](int64_t rows, const auto& body) {
    parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, kElementsPerThread / (w * kRowsPerTask),
                 [&](int64_t begin, int64_t end) { body(begin * kRowsPerTask, std::min(rows, end * kRowsPerTask)); });
  };
  for (int64_t first = 0; first < problem.planes; first += chunk) {
    PoissonProblem p = problem;
    p.planes = std::min(chunk, problem.planes - first);
    const T* b = rhs + first * plane;
    const T* c = colour ? colour + first * plane : nullptr;
    T* x = u + first * plane;
    rows_parallel(p.planes * h, [&](int64_t begin, int64_t end) {
      const T* combined = paper ? nullptr : c;
      PYDLX_SIMD_CALL(forward_rows<T>)(p, forward, b, combined, x, sums, basis.data(), begin, end);
      if (!paper) return;
      const PlaneSums c_sums{sums.colour, nullptr, sums.exact_colour, nullptr};
      PYDLX_SIMD_CALL(forward_rows<T>)
      (p, forward, c, static_cast<const T*>(nullptr), colour_spectrum.data(), c_sums, basis.data(), begin, end);
    });
    // Planes of one task share their factors.
    const int64_t blocks = std::min(p.planes, (kSweepTasks + strips - 1) / strips);
    parallel_for(blocks * strips, kElementsPerThread * blocks / (strip * h * p.planes),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t task = begin; task < end; ++task) {
                     const int64_t block = task / strips;
                     PYDLX_SIMD_CALL(solve_strips<T>)
                     (p, bands.data(), task % strips, x, paper ? colour_spectrum.data() : nullptr, sums,
                      block * p.planes / blocks, (block + 1) * p.planes / blocks);
                   }
                 });
    rows_parallel(p.planes * h,
                  [&](int64_t begin, int64_t end) { PYDLX_SIMD_CALL(inverse_rows<T>)(inverse, x, scale, begin, end); });
  }
}

Tensor solve_tensor(const PoissonProblem& problem, const Tensor& rhs, const Tensor* colour) {
  const Tensor b = made_contiguous(rhs);
  Tensor u = uninitialised(b, b.sizes());
  if (problem.planes == 0) return u;
  dispatch_full_precision(b.scalar_type(), "poisson", [&](auto zero) {
    using T = decltype(zero);
    if (!colour) return solve<T>(problem, input_data<T>(b), nullptr, output_data<T>(u));
    const Tensor c = made_contiguous(*colour);
    solve<T>(problem, input_data<T>(b), input_data<T>(c), output_data<T>(u));
  });
  return u;
}

Tensor poisson(const Tensor& rhs, bool dirichlet, double screening) {
  return solve_tensor(poisson_problem(rhs, dirichlet, screening), rhs, nullptr);
}

Tensor gaussian_poisson(const Tensor& rhs, const Tensor& colour, int64_t formulation, double beta, double centre,
                        double side) {
  return solve_tensor(gaussian_poisson_problem(rhs, colour, formulation, beta, centre, side), rhs, &colour);
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("poisson", TORCH_BOX(&pydlx::poisson));
  m.impl("gaussian_poisson", TORCH_BOX(&pydlx::gaussian_poisson));
}
