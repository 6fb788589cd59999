// Structural similarity on CUDA: launches and registration. The kernels are in ssim.cuh.
#include "common/launch.cuh"
#include "ssim/ssim.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

// Calls body(radius) with the radius as a constant, for the windows that have kernels of their own, or -1.
template <class Body>
void dispatch_radius(int64_t radius, const Body& body) {
  if (radius == 5) return body(std::integral_constant<int, 5>{});
  if (radius == 3) return body(std::integral_constant<int, 3>{});
  body(std::integral_constant<int, -1>{});
}

template <class T>
SsimImages<T> images_of(const SsimShape& shape, const SsimOptions& options, const Tensor& x, const Tensor& y) {
  using A = accumulate_t<T>;
  return {shape, options.taps<A>(), options.formula<A>(), input_data<T>(x), input_data<T>(y)};
}

unsigned grid_of(int64_t strips) { return static_cast<unsigned>(std::min(strips, kMaxBlocks)); }

Tensor ssim(const Tensor& x, const Tensor& y, int64_t window, double sigma, double covariance, double c1, double c2,
            bool luminance, bool map) {
  const SsimOptions options{window, sigma, covariance, c1, c2, luminance, map};
  const SsimShape shape = ssim_shape(x, y, window);
  const DeviceScope scope(x);
  const Tensor first = made_contiguous(x), second = made_contiguous(y);
  Tensor out = uninitialised(x, ssim_output_sizes(x, shape, map), wide_dtype(x));
  if (out.numel() == 0) return out;
  dispatch_floating(x.scalar_type(), "ssim", [&](auto zero) {
    dispatch_radius(window / 2, [&](auto radius) {
      using T = decltype(zero);
      using A = accumulate_t<T>;
      constexpr int kRadius = decltype(radius)::value;
      const SsimStrips strips(shape.out, kSsimThreads<kRadius>);
      const int64_t count = shape.planes() * strips.per_plane();
      Tensor sums = uninitialised(x, {map ? 0 : count}, ScalarType::Double);
      A* to = output_data<A>(out);
      PYDLX_LAUNCH((ssim_kernel<kRadius, T>), grid_of(count), kSsimThreads<kRadius>,
                   ssim_shared_elements<kRadius>(window / 2) * sizeof(A), scope.stream(),
                   images_of<T>(shape, options, first, second), strips, map ? to : nullptr, output_data<double>(sums),
                   count);
      if (map) return;
      PYDLX_LAUNCH(ssim_mean_kernel<A>, blocks_for(shape.planes(), kThreads), kThreads, 0, scope.stream(),
                   input_data<double>(sums), to, shape.planes(), strips.per_plane(), shape.out_plane());
    });
  });
  check_launch("ssim");
  return out;
}

std::tuple<Tensor, Tensor> ssim_backward(const Tensor& grad_output, const Tensor& x, const Tensor& y, int64_t window,
                                         double sigma, double covariance, double c1, double c2, bool luminance,
                                         bool map, bool wants_x, bool wants_y) {
  const SsimOptions options{window, sigma, covariance, c1, c2, luminance, map};
  const SsimShape shape = ssim_shape(x, y, window);
  const DeviceScope scope(x);
  const Tensor first = made_contiguous(x), second = made_contiguous(y);
  const Tensor grad = ssim_gradient(x, shape, map, grad_output);
  auto [dx, dy] = ssim_new_gradients(x, wants_x, wants_y);
  if (x.numel() == 0 || !(wants_x || wants_y)) return {dx, dy};
  const int side = wants_x && wants_y ? 0 : wants_x ? 1 : -1;
  const int64_t cells = shape.planes() * shape.out_plane();
  Tensor maps = uninitialised(x, {(side == 0 ? 4 : 3) * cells}, wide_dtype(x));
  dispatch_floating(x.scalar_type(), "ssim", [&, &dx = dx, &dy = dy](auto zero) {
    dispatch_radius(window / 2, [&](auto radius) {
      using T = decltype(zero);
      using A = accumulate_t<T>;
      constexpr int kRadius = decltype(radius)::value;
      constexpr int threads = kSsimThreads<kRadius>;
      const auto shared = ssim_shared_elements<kRadius>(window / 2) * sizeof(A);
      const auto images = images_of<T>(shape, options, first, second);
      const SsimStrips out_strips(shape.out, threads), in_strips(shape.in, threads);
      const int64_t outs = shape.planes() * out_strips.per_plane(), ins = shape.planes() * in_strips.per_plane();
      PYDLX_LAUNCH((ssim_slopes_kernel<kRadius, T>), grid_of(outs), threads, shared, scope.stream(), images, out_strips,
                   input_data<A>(grad), map, side, output_data<A>(maps), outs);
      PYDLX_LAUNCH((ssim_gradient_kernel<kRadius, T>), grid_of(ins), threads, shared, scope.stream(), images, in_strips,
                   input_data<A>(maps), side, wants_x ? output_data<T>(dx) : nullptr,
                   wants_y ? output_data<T>(dy) : nullptr, ins);
    });
  });
  check_launch("ssim");
  return {dx, dy};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("ssim", TORCH_BOX(&pydlx::ssim));
  m.impl("_ssim_backward", TORCH_BOX(&pydlx::ssim_backward));
}
