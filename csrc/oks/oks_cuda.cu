// OKS on CUDA: launches and registration. The kernels are in oks.cuh.
#include "common/launch.cuh"
#include "oks/oks.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 128;

Tensor oks(const Tensor& pred, const Tensor& truth, const Tensor& visible, const Tensor& area, const Tensor& sigmas,
           const std::optional<Tensor> boxes) {
  const DeviceScope scope(pred);
  const OksInput input(4, pred, truth, visible, area, sigmas, boxes);
  const OksSizes sizes(input);
  Tensor similarities = uninitialised(pred, {sizes.groups, sizes.preds, sizes.truths});
  if (similarities.numel() == 0) return similarities;
  dispatch_full_precision(pred.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    PYDLX_LAUNCH(oks_kernel<A>, blocks_for(sizes.pairs(), kThreads), kThreads, 0, scope.stream(), input.rows<A>(),
                 sizes, output_data<A>(similarities));
  });
  check_launch("oks");
  return similarities;
}

std::tuple<Tensor, Tensor, Tensor> oks_backward(const Tensor& grad_output, const Tensor& pred, const Tensor& truth,
                                                const Tensor& visible, const Tensor& area, const Tensor& sigmas,
                                                const std::optional<Tensor> boxes) {
  const DeviceScope scope(pred);
  const OksInput input(4, pred, truth, visible, area, sigmas, boxes);
  const OksSizes sizes(input);
  const Tensor grad = oks_gradient(input, sizes, grad_output);
  Tensor dpred = uninitialised(pred, oks_shape(pred)), dtruth = uninitialised(pred, oks_shape(truth)),
         darea = uninitialised(pred, oks_shape(area)), growth = uninitialised(pred, {area.numel(), sizes.points});
  const int64_t pred_points = dpred.numel() / 2, truth_points = growth.numel();
  dispatch_full_precision(pred.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    const OksRows<A> rows = input.rows<A>();
    const A* gradient = input_data<A>(grad);
    if (pred_points > 0) {
      PYDLX_LAUNCH(oks_backward_pred_kernel<A>, blocks_for(pred_points, kThreads), kThreads, 0, scope.stream(), rows,
                   sizes, gradient, output_data<A>(dpred), pred_points);
    }
    if (area.numel() == 0) return;
    if (truth_points > 0) {
      PYDLX_LAUNCH(oks_backward_truth_kernel<A>, blocks_for(truth_points, kThreads), kThreads, 0, scope.stream(), rows,
                   sizes, gradient, output_data<A>(dtruth), output_data<A>(growth), truth_points);
    }
    PYDLX_LAUNCH(oks_backward_area_kernel<A>, blocks_for(area.numel(), kThreads), kThreads, 0, scope.stream(),
                 input_data<A>(growth), sizes.points, output_data<A>(darea), area.numel());
  });
  check_launch("oks");
  return {dpred, dtruth, darea};
}

Tensor oks_ragged(const Tensor& pred, const Tensor& truth, const Tensor& visible, const Tensor& area,
                  const Tensor& sigmas, const std::optional<Tensor> boxes, const Tensor& pred_offsets,
                  const Tensor& truth_offsets, const Tensor& pair_offsets, int64_t pairs) {
  const DeviceScope scope(pred);
  const OksInput input(3, pred, truth, visible, area, sigmas, boxes);
  const OksOffsets offsets(input, pred_offsets, truth_offsets, pair_offsets, pairs);
  Tensor similarities = uninitialised(pred, {pairs});
  if (pairs == 0) return similarities;
  dispatch_full_precision(pred.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    PYDLX_LAUNCH(oks_ragged_kernel<A>, blocks_for(pairs, kThreads), kThreads, 0, scope.stream(), input.rows<A>(),
                 input_data<int64_t>(offsets.pred), input_data<int64_t>(offsets.truth),
                 input_data<int64_t>(offsets.pair), offsets.groups, pred.size(0), truth.size(0),
                 output_data<A>(similarities), pairs);
  });
  check_launch("oks");
  return similarities;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("oks", TORCH_BOX(&pydlx::oks));
  m.impl("_oks_backward", TORCH_BOX(&pydlx::oks_backward));
  m.impl("oks_ragged", TORCH_BOX(&pydlx::oks_ragged));
}
