// Closed-form Poisson solves on CUDA: by row transforms and systems of column frequencies (solve_parts.h), or by
// transforms of both axes and a division (poisson.cuh). With registration.
#include <limits>
#include <optional>

#include "common/launch.cuh"
#include "dct/transforms.h"
#include "poisson/poisson.cuh"
#include "poisson/solve_parts.h"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

// Unscaled transforms of both axes of a contiguous (planes, H, W) tensor, or with `back` the inverse ones.
Tensor transform_planes(const PoissonProblem& p, const Tensor& planes, bool back, cudaStream_t stream) {
  const DctAxis axis{p.dirichlet ? 1 : back ? 3 : 2, 1, 1};
  return transform_planes_cuda(planes, axis, axis, stream);
}

// Whether beta * colour is added to rhs before the transform. With a small beta its digits would be lost, so rhs and
// colour are transformed separately.
template <class T>
bool combines(const PoissonProblem& p) {
  return p.formulation == kOfficial && (sizeof(T) == 8 || p.beta >= 1e-3);
}

Tensor sums_of_planes(const Tensor& like, int64_t planes, int64_t parts) {
  constexpr auto size = static_cast<int64_t>(sizeof(PlanePartial) / sizeof(double));
  return uninitialised(like, {planes * parts, size}, ScalarType::Double);
}

// Solves by systems of columns, on groups of planes that stay in the cache between the steps.
Tensor solve_by_columns(const PoissonProblem& p, const Tensor& rhs, const Tensor* colour, cudaStream_t stream) {
  const Tensor u = uninitialised(rhs, {p.planes, p.height, p.width});
  const int64_t plane = p.height * p.width;
  for_cached_planes(p.planes, plane * int64_t{sizeof(float)}, [&](int64_t first, int64_t count) {
    const float* c = colour ? input_data<float>(*colour) + first * plane : nullptr;
    RightSide side = right_side_of(p, input_data<float>(rhs) + first * plane, c);
    MeanOfPlane mean{nullptr, static_cast<int>(side.parts), std::numeric_limits<float>::epsilon(), p};
    const Tensor partials = sums_of_planes(rhs, p.dirichlet ? 0 : count, side.parts);
    if (!p.dirichlet) mean.partials = side.partials = output_data<PlanePartial>(partials);
    const Tensor z = transform_right_side(side, count, rhs, stream);
    solve_columns(p, count, z, mean, stream);
    transform_back(side, count, z, output_data<float>(u) + first * plane, stream);
  });
  return u;
}

// Solves by division of the spectrum.
template <class T>
Tensor solve(const PoissonProblem& p, const Tensor& rhs, const Tensor* colour, cudaStream_t stream) {
  const auto as_planes = [&](const Tensor& x) { return torch::stable::view(x, {p.planes, p.height, p.width}); };
  const Tensor partials = sums_of_planes(rhs, p.planes, kSumBlocks);
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
  const std::optional<Tensor> c = colour ? std::optional(made_contiguous(*colour)) : std::nullopt;
  const Tensor* const colours = c ? &*c : nullptr;
  if (b.scalar_type() == ScalarType::Float && solves_columns(problem)) {
    u = solve_by_columns(problem, b, colours, scope.stream());
  } else {
    dispatch_full_precision(b.scalar_type(), "poisson",
                            [&](auto zero) { u = solve<decltype(zero)>(problem, b, colours, scope.stream()); });
  }
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
