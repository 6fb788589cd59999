// Suppression on CUDA: launches and registration. The kernel is in nms.cuh.
#include "common/launch.cuh"
#include "nms/nms.cuh"

namespace pydlx {
namespace {

// Input is NmsBoxInput or NmsPoseInput.
template <class Input>
std::tuple<Tensor, Tensor> suppress(const Input& input, const NmsOptions& options, const DeviceScope& scope) {
  auto [order, rescored] = nms_outputs(input.scores);
  if (order.numel() == 0) return {order, rescored};
  const int64_t batch = input.scores.size(0), n = input.scores.size(1);
  Tensor left = uninitialised(input.scores, {batch, n});
  int64_t* to = output_data<int64_t>(order);
  dispatch_full_precision(input.scores.scalar_type(), "nms", [&, &rescored = rescored](auto zero) {
    using A = decltype(zero);
    const auto items = input.template all<A>();
    const dim3 grid(static_cast<unsigned>(std::min(batch, kMaxBlocks)));
    PYDLX_LAUNCH((nms_kernel<A, std::decay_t<decltype(items)>>), grid, kNmsThreads, 0, scope.stream(),
                 NmsRule<A>(options), items, input_data<A>(input.scores), batch, n, output_data<A>(left), to,
                 output_data<A>(rescored));
  });
  check_launch("nms");
  return {order, rescored};
}

std::tuple<Tensor, Tensor> box_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor> labels,
                                   int64_t method, double sigma, double threshold, double score_threshold,
                                   double pixel_offset) {
  const DeviceScope scope(scores);
  return suppress(NmsBoxInput(boxes, scores, labels, pixel_offset), {method, sigma, threshold, score_threshold}, scope);
}

std::tuple<Tensor, Tensor> pose_nms(const Tensor& points, const Tensor& scores, const Tensor& area,
                                    const Tensor& sigmas, int64_t method, double sigma, double threshold,
                                    double score_threshold) {
  const DeviceScope scope(scores);
  return suppress(NmsPoseInput(points, scores, area, sigmas), {method, sigma, threshold, score_threshold}, scope);
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("box_nms", TORCH_BOX(&pydlx::box_nms));
  m.impl("pose_nms", TORCH_BOX(&pydlx::pose_nms));
}
