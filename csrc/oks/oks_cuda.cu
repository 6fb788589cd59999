// OKS on CUDA: launches and registration. The kernels are in oks.cuh and oks_tiles.cuh.
#include "common/launch.cuh"
#include "oks/oks_tiles.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 128, kTileThreads = kOksWarps * kWarp;

// With fewer detections per group than this, most lanes of a tile would be empty.
constexpr int64_t kFewDetections = 4;

// Limits of the tile kernels, which have 32-bit indices.
constexpr int64_t kMostPoints = 1 << 20, kMostRows = 1 << 30;

bool takes_tiles(const OksSizes& sizes) {
  return sizes.preds >= kFewDetections && sizes.points <= kMostPoints &&
         std::max(sizes.preds, sizes.truths) <= kMostRows;
}

// From this many blocks on, a lane processes two detections.
#ifdef __CUDACC__
constexpr int64_t kManyBlocks = 264;
#else
constexpr int64_t kManyBlocks = 4;
#endif

unsigned parts_of(int64_t count) { return static_cast<unsigned>(std::min(count, kMaxBlocks)); }

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class A>
void compare_tiles(const OksRows<A>& rows, const OksSizes& sizes, A* to, cudaStream_t stream) {
  const int64_t parts = sizes.groups * ceil_div(sizes.truths, kOksWarps * OksTiling<A>::kTruths);
  const auto run = [&](auto kernel, int detections) {
    const dim3 grid(static_cast<unsigned>(ceil_div(sizes.preds, detections)), parts_of(parts));
    PYDLX_LAUNCH(kernel, grid, kTileThreads, 0, stream, rows, sizes, to);
  };
  if (rows.boxes) return run(oks_tile_kernel<A, 1, true>, kWarp);
  if constexpr (sizeof(A) == 4) {
    if (parts * ceil_div(sizes.preds, 2 * kWarp) >= kManyBlocks) return run(oks_tile_kernel<A, 2, false>, 2 * kWarp);
  }
  run(oks_tile_kernel<A, 1, false>, kWarp);
}

Tensor oks(const Tensor& pred, const Tensor& truth, const Tensor& visible, const Tensor& area, const Tensor& sigmas,
           const std::optional<Tensor> boxes) {
  const DeviceScope scope(pred);
  const OksInput input(4, pred, truth, visible, area, sigmas, boxes);
  const OksSizes sizes(input);
  Tensor similarities = uninitialised(pred, {sizes.groups, sizes.preds, sizes.truths});
  if (similarities.numel() == 0) return similarities;
  dispatch_full_precision(pred.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    A* const to = output_data<A>(similarities);
    if (takes_tiles(sizes)) return compare_tiles(input.rows<A>(), sizes, to, scope.stream());
    PYDLX_LAUNCH(oks_kernel<A>, blocks_for(sizes.pairs(), kThreads), kThreads, 0, scope.stream(), input.rows<A>(),
                 sizes, to);
  });
  check_launch("oks");
  return similarities;
}

template <class A>
void differentiate_pred(const OksRows<A>& rows, const OksSizes& sizes, const A* grad, A* dpred, cudaStream_t stream) {
  const int64_t points = sizes.groups * sizes.preds * sizes.points;
  if (points == 0) return;
  if (!takes_tiles(sizes)) {
    PYDLX_LAUNCH(oks_few_backward_pred_kernel<A>, blocks_for(points, kThreads), kThreads, 0, stream, rows, sizes, grad,
                 dpred, points);
    return;
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(sizes.points, kOksChunk)),
                  parts_of(sizes.groups * ceil_div(sizes.preds, kWarp)));
  const auto kernel = rows.boxes ? oks_backward_pred_kernel<A, true> : oks_backward_pred_kernel<A, false>;
  PYDLX_LAUNCH(kernel, grid, kTileThreads, 0, stream, rows, sizes, grad, dpred);
}

template <class A>
void differentiate_truth(const OksRows<A>& rows, const OksSizes& sizes, const A* grad, const OksNewGradients& to,
                         cudaStream_t stream) {
  const int64_t truths = sizes.groups * sizes.truths;
  if (truths == 0) return;
  const bool few = !takes_tiles(sizes);
  const int64_t chunks = few ? sizes.points : ceil_div(sizes.points, kOksChunk);
  // With a single chunk its terms are already the sum.
  const Tensor growth = chunks == 1 ? to.area : uninitialised(to.area, {truths, chunks});
  if (few && sizes.points > 0) {
    PYDLX_LAUNCH(oks_few_backward_truth_kernel<A>, blocks_for(truths * sizes.points, kThreads), kThreads, 0, stream,
                 rows, sizes, grad, output_data<A>(to.truth), output_data<A>(growth), truths * sizes.points);
  } else if (sizes.points > 0) {
    const int64_t tiles = ceil_div(sizes.truths, kOksTruthWarps * OksTiling<A>::kTruths);
    const dim3 grid(static_cast<unsigned>(chunks), parts_of(sizes.groups * tiles));
    const auto kernel = rows.boxes ? oks_backward_truth_kernel<A, true> : oks_backward_truth_kernel<A, false>;
    PYDLX_LAUNCH(kernel, grid, kOksTruthWarps * kWarp, 0, stream, rows, sizes, grad, output_data<A>(to.truth),
                 output_data<A>(growth));
  }
  if (chunks == 1) return;
  PYDLX_LAUNCH(oks_backward_area_kernel<A>, blocks_for(truths, kThreads), kThreads, 0, stream, input_data<A>(growth),
               chunks, output_data<A>(to.area), truths);
}

std::tuple<Tensor, Tensor, Tensor> oks_backward(const Tensor& grad_output, const Tensor& pred, const Tensor& truth,
                                                const Tensor& visible, const Tensor& area, const Tensor& sigmas,
                                                const std::optional<Tensor> boxes, bool wants_pred, bool wants_truth) {
  const DeviceScope scope(pred);
  const OksInput input(4, pred, truth, visible, area, sigmas, boxes);
  const OksSizes sizes(input);
  const Tensor grad = oks_gradient(input, sizes, grad_output);
  const OksNewGradients to(input, wants_pred, wants_truth);
  dispatch_full_precision(pred.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    const OksRows<A> rows = input.rows<A>();
    if (wants_pred) differentiate_pred(rows, sizes, input_data<A>(grad), output_data<A>(to.pred), scope.stream());
    if (wants_truth) differentiate_truth(rows, sizes, input_data<A>(grad), to, scope.stream());
  });
  check_launch("oks");
  return to.tensors();
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
