// SoftPool on CUDA: launches and registration. The kernels are in soft_pool.cuh.
#include <limits>

#include "common/launch.cuh"
#include "soft_pool/soft_pool.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

// The largest number an index, or a sum on the way to one, takes in the input or the padded output windows.
int64_t largest_index(const SoftPoolShape& s) {
  double padded = double(s.batch) * double(s.channels);  // which 64 bits need not hold
  for (int axis = 0; axis < 3; ++axis) {
    padded *= double(std::max(s.in[axis], s.out[axis]) + s.stride[axis] + s.dilation[axis] * s.kernel[axis] +
                     s.padding[axis]);
  }
  return padded < double(kNarrowIndexLimit) ? int64_t(padded) : std::numeric_limits<int64_t>::max();
}

Tensor soft_pool(const Tensor& input, const std::vector<int64_t> window, bool ceil_mode, bool straight_through) {
  const SoftPoolShape s = soft_pool_shape(input, window, ceil_mode);
  const DeviceScope scope(input);
  const SoftPoolLayout layout(input);
  Tensor y = layout.new_output(s);
  if (y.numel() == 0) return y;
  dispatch_floating(y.scalar_type(), "soft_pool", [&](auto zero) {
    dispatch_index(largest_index(s), [&](auto narrow) {
      using T = decltype(zero);
      const SoftPoolKernel<decltype(narrow)> p(s, layout.channels_last, straight_through);
      PYDLX_LAUNCH((soft_pool_forward_kernel<T, decltype(narrow)>), blocks_for(y.numel(), kThreads), kThreads, 0,
                   scope.stream(), p, input_data<T>(layout.x), output_data<T>(y), y.numel());
    });
  });
  check_launch("soft_pool");
  return y;
}

Tensor soft_pool_backward(const Tensor& grad_output, const Tensor& input, const std::vector<int64_t> window,
                          bool ceil_mode, bool straight_through) {
  const SoftPoolShape s = soft_pool_shape(input, window, ceil_mode);
  const DeviceScope scope(input);
  const SoftPoolLayout layout(input);
  const Tensor grad = layout.gradient(s, grad_output);
  Tensor dx = layout.new_gradient();
  if (dx.numel() == 0) return dx;
  dispatch_floating(dx.scalar_type(), "soft_pool", [&](auto zero) {
    dispatch_index(largest_index(s), [&](auto narrow) {
      using T = decltype(zero);
      const SoftPoolKernel<decltype(narrow)> p(s, layout.channels_last, straight_through);
      PYDLX_LAUNCH((soft_pool_backward_kernel<T, decltype(narrow)>), blocks_for(dx.numel(), kThreads), kThreads, 0,
                   scope.stream(), p, input_data<T>(grad), input_data<T>(layout.x), output_data<T>(dx), dx.numel());
    });
  });
  check_launch("soft_pool");
  return dx;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("soft_pool", TORCH_BOX(&pydlx::soft_pool));
  m.impl("_soft_pool_backward", TORCH_BOX(&pydlx::soft_pool_backward));
}
