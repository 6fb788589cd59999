// Closed-form Poisson solves on CUDA: transforms along both axes, a division, inverse transforms. The kernels are in
// poisson.cuh and dct/dct.cuh.
#include <limits>

#include "common/launch.cuh"
#include "dct/transforms.h"
#include "poisson/poisson.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

// Unscaled transforms of both axes of a contiguous (planes, H, W) tensor: forward, or back again.
Tensor transform_planes(const PoissonProblem& p, const Tensor& planes, bool back, cudaStream_t stream) {
  const DctAxis axis{p.dirichlet ? 1 : back ? 3 : 2, 1, 1};
  return transform_planes_cuda(planes, axis, axis, stream);
}

// Adding a small beta * colour to rhs before the transform would lose its digits; then both are transformed.
template <class T>
bool combines(const PoissonProblem& p) {
  return p.formulation == kOfficial && (sizeof(T) == 8 || p.beta >= 1e-3);
}

template <class T>
Tensor solve(const PoissonProblem& p, const Tensor& rhs, const Tensor* colour, cudaStream_t stream) {
  const auto as_planes = [&](const Tensor& x) { return torch::stable::view(x, {p.planes, p.height, p.width}); };
  const Tensor partials = uninitialised(
      rhs, {p.planes * kSumBlocks, static_cast<int64_t>(sizeof(PlanePartial) / sizeof(double))}, ScalarType::Double);
  const bool combined = colour && combines<T>(p);
  Tensor source = as_planes(rhs);
  Tensor sum = combined ? uninitialised_like(source) : source;
  const dim3 grid(kSumBlocks, static_cast<unsigned>(std::min<int64_t>(p.planes, 65535)));
  PYDLX_LAUNCH(plane_sums_kernel<T>, grid, kSumThreads, 0, stream, input_data<T>(source),
               colour ? input_data<T>(*colour) : nullptr, combined ? output_data<T>(sum) : nullptr,
               static_cast<T>(p.beta), p.height * p.width, p.planes, output_data<PlanePartial>(partials));

  Tensor spectrum = transform_planes(p, sum, false, stream);
  Tensor colour_spectrum = spectrum;
  if (colour && !combined) colour_spectrum = transform_planes(p, as_planes(*colour), false, stream);
  const double ends = p.dirichlet ? 1 : 0;
  const PoissonKernel<T> kernel{p,
                                static_cast<double>(std::numeric_limits<T>::epsilon()),
                                static_cast<T>(p.beta),
                                static_cast<T>(p.centre),
                                static_cast<T>(p.side),
                                static_cast<T>(0.25 / ((double(p.height) + ends) * (double(p.width) + ends)))};
  PYDLX_LAUNCH(divide_kernel<T>, blocks_for(rhs.numel(), kThreads), kThreads, 0, stream, kernel,
               output_data<T>(spectrum), colour && !combined ? input_data<T>(colour_spectrum) : nullptr,
               input_data<PlanePartial>(partials), rhs.numel());
  return transform_planes(p, spectrum, true, stream);
}

Tensor solve_tensor(const PoissonProblem& problem, const Tensor& rhs, const Tensor* colour) {
  const DeviceScope scope(rhs);
  const Tensor b = made_contiguous(rhs);
  Tensor u = uninitialised_like(b);
  if (problem.planes == 0) return u;
  dispatch_full_precision(b.scalar_type(), "poisson", [&](auto zero) {
    using T = decltype(zero);
    if (!colour) {
      u = solve<T>(problem, b, nullptr, scope.stream());
      return;
    }
    const Tensor c = made_contiguous(*colour);
    u = solve<T>(problem, b, &c, scope.stream());
  });
  check_launch("poisson");
  return torch::stable::view(u, {rhs.sizes().begin(), rhs.sizes().end()});
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

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("poisson", TORCH_BOX(&pydlx::poisson));
  m.impl("gaussian_poisson", TORCH_BOX(&pydlx::gaussian_poisson));
}
