// Cosine and sine transforms on CUDA: the last two axes are transformed together, others one by one. With registration.
#include <algorithm>

#include "common/launch.cuh"
#include "dct/transforms.h"

namespace pydlx {
namespace {

Tensor transform_axis(const Tensor& y, int64_t axis, const DctCall& call, cudaStream_t stream) {
  int64_t inner = 1;
  for (int64_t i = axis + 1; i < y.dim(); ++i) inner *= y.size(i);
  const int64_t n = y.size(axis);
  const Tensor lines = torch::stable::view(y, {y.numel() / (n * inner), n, inner});
  return torch::stable::view(transform_axis_cuda(lines, dct_axis(call, n), stream), y.sizes());
}

Tensor transform_last_two(const Tensor& y, const DctCall& call, cudaStream_t stream) {
  const int64_t height = y.size(y.dim() - 2), width = y.size(y.dim() - 1);
  const Tensor planes = torch::stable::view(y, {y.numel() / (height * width), height, width});
  const Tensor done = transform_planes_cuda(planes, dct_axis(call, height), dct_axis(call, width), stream);
  return torch::stable::view(done, y.sizes());
}

Tensor dct(const Tensor& input, int64_t type, bool sine, const std::vector<int64_t> axes, int64_t norm, bool adjoint) {
  const DctCall call = dct_call(input, type, sine, axes, norm, adjoint);
  const DeviceScope scope(input);
  Tensor y = made_contiguous(input);
  if (axes.empty() || y.numel() == 0) return torch::stable::clone(y);
  const auto wanted = [&](int64_t axis) { return std::count(axes.begin(), axes.end(), axis) == 1; };
  const bool together = wanted(y.dim() - 2) && wanted(y.dim() - 1);
  if (together) y = transform_last_two(y, call, scope.stream());
  for (int64_t axis : axes) {
    if (!together || axis < y.dim() - 2) y = transform_axis(y, axis, call, scope.stream());
  }
  check_launch("dct");
  return y;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) { m.impl("dct", TORCH_BOX(&pydlx::dct)); }
