// Cosine and sine transforms on CUDA: axis by axis, then registration. The kernels are in dct.cuh.
#include "common/launch.cuh"
#include "dct/dct_lines.cuh"

namespace pydlx {
namespace {

Tensor dct(const Tensor& input, int64_t type, bool sine, const std::vector<int64_t> axes, int64_t norm, bool adjoint) {
  const DctCall call = dct_call(input, type, sine, axes, norm, adjoint);
  const DeviceScope scope(input);
  Tensor y = made_contiguous(input);
  if (axes.empty() || y.numel() == 0) return torch::stable::clone(y);
  dispatch_full_precision(y.scalar_type(), "dct", [&](auto zero) {
    for (int64_t axis : axes) {
      int64_t inner = 1;
      for (int64_t i = axis + 1; i < input.dim(); ++i) inner *= input.size(i);
      const int64_t n = input.size(axis);
      const Tensor lines = torch::stable::view(y, {y.numel() / (n * inner), n, inner});
      y = transform_axis_cuda<decltype(zero)>(lines, dct_axis(call, n), scope.stream());
    }
  });
  check_launch("dct");
  return torch::stable::view(y, {input.sizes().begin(), input.sizes().end()});
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) { m.impl("dct", TORCH_BOX(&pydlx::dct)); }
