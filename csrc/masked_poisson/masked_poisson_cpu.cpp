// The masked Poisson solver on the CPU: work cutting and registration. The method is in masked_poisson.h.
#include "masked_poisson/masked_poisson.h"

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "masked_poisson/hierarchy.h"

#define PYDLX_SIMD_FILE "masked_poisson/masked_poisson_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Planes of up to this many pixels are solved in parallel, each by one thread. So are larger ones, as long as every
// thread has one, since threads with a plane of their own do not wait for each other after every pass. The planes that
// are left over are solved one after another, each by all threads.
constexpr int64_t kSmallCanvas = 1 << 17;

// rhs and initial: (masks, planes, height, width); mask: (masks, height, width).
template <class T>
struct Batch {
  int64_t masks, planes, height, width;
  const T *rhs, *initial;  // initial may be nullptr
  const bool* mask;
  T* solution;
  double* residual;

  int64_t pixels() const { return height * width; }

  bool small() const { return pixels() <= kSmallCanvas && masks * planes > 1; }

  void solve(const StoppingRule& rule) const {
    const auto body = [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m) solve_mask(m, rule);
    };
    small() ? parallel_for(masks, 1, body) : body(0, masks);
  }

  template <class Body>
  void each_plane(const Body& body) const {
    const auto threads = static_cast<int64_t>(torch::stable::get_num_threads());
    const int64_t alone = small() ? planes : planes / threads * threads;
    parallel_for(alone, 1, body);
    if (alone < planes) body(alone, planes);
  }

  void solve_mask(int64_t m, const StoppingRule& rule) const {
    const bool* unknown = mask + m * pixels();
    const Canvas canvas{height, width, bounding_box(unknown, height, width)};
    if (canvas.box.empty()) return;
    Hierarchy hierarchy(canvas.box);
    PYDLX_SIMD_CALL(build_hierarchy)(hierarchy, unknown, canvas);
    each_plane([&](int64_t begin, int64_t end) {
      Workspace<T> workspace(hierarchy);
      for (int64_t p = m * planes + begin; p < m * planes + end; ++p) {
        const int64_t at = p * pixels();
        residual[p] = PYDLX_SIMD_CALL(solve_plane<T>)(hierarchy, canvas, rhs + at, initial ? initial + at : nullptr,
                                                      rule, workspace, solution + at);
      }
    });
  }
};

std::tuple<Tensor, Tensor> masked_poisson(const Tensor& rhs, const Tensor& mask, const std::optional<Tensor> initial,
                                          double tolerance, int64_t max_iterations) {
  check_masked_poisson(rhs, mask, initial, max_iterations);
  const Tensor b = made_contiguous(rhs), m = made_contiguous(mask);
  const Tensor start = initial ? made_contiguous(*initial) : b;
  Tensor u = torch::stable::new_zeros(b, b.sizes());
  Tensor residual = torch::stable::new_zeros(b, {b.size(0), b.size(1)}, ScalarType::Double);
  if (b.numel() == 0) return {u, residual};
  dispatch_full_precision(b.scalar_type(), "masked_poisson", [&](auto zero) {
    using T = decltype(zero);
    Batch<T>{b.size(0),           b.size(1),         b.size(2),
             b.size(3),           input_data<T>(b),  initial ? input_data<T>(start) : nullptr,
             input_data<bool>(m), output_data<T>(u), output_data<double>(residual)}
        .solve({tolerance, max_iterations});
  });
  return {u, residual};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("masked_poisson", TORCH_BOX(&pydlx::masked_poisson)); }
