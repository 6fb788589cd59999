// Corner pooling on CUDA: launches and registration. The kernels are in corner_pool.cuh.
#include "common/launch.cuh"
#include "corner_pool/corner_pool.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

template <class T>
void scan(const CornerScan& s, const Tensor& x, const Tensor& y, cudaStream_t stream) {
  if (s.inner == 1) {
    PYDLX_LAUNCH((corner_rows_kernel<T>), blocks_for(s.outer, kThreads / kWarp), kThreads, 0, stream, s,
                 input_data<T>(x), output_data<T>(y));
  } else {
    const int64_t columns = s.outer * s.inner;
    PYDLX_LAUNCH((corner_columns_kernel<T, false>), blocks_for(columns, kThreads), kThreads, 0, stream, s,
                 input_data<T>(x), output_data<T>(y), columns);
  }
}

Tensor corner_pool(const Tensor& input, int64_t direction) {
  const DeviceScope scope(input);
  const Tensor x = dense(input);
  const CornerScan s = corner_scan(x, direction);
  Tensor y = uninitialised_like(x);
  if (y.numel() == 0) return y;
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto zero) { scan<decltype(zero)>(s, x, y, scope.stream()); });
  check_launch("corner_pool");
  return y;
}

Tensor corner_pool_backward(const Tensor& grad_output, const Tensor& input, int64_t direction) {
  Arguments("_corner_pool_backward", "x", input).check_alike("grad", grad_output);
  const DeviceScope scope(input);
  const Tensor x = dense(input), grad = in_format(grad_output, is_channels_last(x));
  const CornerScan s = corner_scan(x, direction);
  Tensor dx = uninitialised_like(x);
  if (dx.numel() == 0) return dx;
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    if (s.inner == 1) {
      PYDLX_LAUNCH((corner_rows_backward_kernel<T>), blocks_for(s.outer, kThreads / kWarp), kThreads, 0, scope.stream(),
                   s, input_data<T>(grad), input_data<T>(x), output_data<T>(dx));
    } else {
      const int64_t columns = s.outer * s.inner;
      PYDLX_LAUNCH((corner_columns_backward_kernel<T>), blocks_for(columns, kThreads), kThreads, 0, scope.stream(), s,
                   input_data<T>(grad), input_data<T>(x), output_data<T>(dx), columns);
    }
  });
  check_launch("corner_pool");
  return dx;
}

// The rows' maxima are written, then the columns' added: a column kernel serves columns of any storage order.
Tensor corner_pool_pair(const Tensor& vertical, const Tensor& horizontal, bool top_left) {
  Arguments("corner_pool_pair", "vertical", vertical).check_alike("horizontal", horizontal);
  const DeviceScope scope(vertical);
  const Tensor a = dense(vertical), b = in_format(horizontal, is_channels_last(a));
  const CornerScan rows = corner_scan(b, top_left ? kLeft : kRight),
                   columns = corner_scan(a, top_left ? kTop : kBottom);
  Tensor y = uninitialised_like(a);
  if (y.numel() == 0) return y;
  const int64_t count = columns.outer * columns.inner;
  dispatch_floating(a.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    scan<T>(rows, b, y, scope.stream());
    PYDLX_LAUNCH((corner_columns_kernel<T, true>), blocks_for(count, kThreads), kThreads, 0, scope.stream(), columns,
                 input_data<T>(a), output_data<T>(y), count);
  });
  check_launch("corner_pool");
  return y;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("corner_pool", TORCH_BOX(&pydlx::corner_pool));
  m.impl("_corner_pool_backward", TORCH_BOX(&pydlx::corner_pool_backward));
  m.impl("corner_pool_pair", TORCH_BOX(&pydlx::corner_pool_pair));
}
