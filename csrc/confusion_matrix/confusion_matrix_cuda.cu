// Confusion matrices on CUDA: launches and registration. The kernel is in confusion_matrix.cuh.
#include "common/launch.cuh"
#include "confusion_matrix/confusion_matrix.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

// Blocks in all, and pixels that a block should have to make its own table worth adding up.
constexpr int64_t kBlocks = 2048, kPixelsOfBlock = 8 * kThreads;

template <class T>
void count(const ConfusionTask& task, Counter* counts, Counter* invalid, cudaStream_t stream) {
  const int64_t rows = std::min<int64_t>(task.images, 65535);
  const int64_t wanted = (task.pixels + kPixelsOfBlock - 1) / kPixelsOfBlock;
  const int64_t columns = std::min({wanted, std::max<int64_t>(1, kBlocks / rows), kMaxBlocks});
  const dim3 grid(static_cast<unsigned>(columns), static_cast<unsigned>(rows));
  if (task.bins() <= kMostSharedBins) {
    PYDLX_LAUNCH((confusion_kernel<T, true>), grid, kThreads, task.bins() * sizeof(unsigned), stream, task, counts,
                 invalid);
  } else {
    PYDLX_LAUNCH((confusion_kernel<T, false>), grid, kThreads, 0, stream, task, counts, invalid);
  }
}

std::tuple<Tensor, Tensor> confusion_matrix(const Tensor& pred, const Tensor& target, int64_t classes,
                                            const std::optional<int64_t> ignore, bool per_image) {
  const DeviceScope scope(target);
  ConfusionCall call(pred, target, classes, ignore, per_image);
  torch::stable::zero_(call.counts);
  torch::stable::fill_(call.invalid, -1);
  if (call.task.images == 0 || call.task.pixels == 0) return {call.counts, call.invalid};
  Counter *counts = output_data<Counter>(call.counts), *invalid = output_data<Counter>(call.invalid);
  if (call.task.pred.is_logits) {
    dispatch_floating(call.task.pred.dtype, "confusion_matrix",
                      [&](auto zero) { count<decltype(zero)>(call.task, counts, invalid, scope.stream()); });
  } else {
    count<void>(call.task, counts, invalid, scope.stream());
  }
  check_launch("confusion_matrix");
  return {call.counts, call.invalid};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("confusion_matrix", TORCH_BOX(&pydlx::confusion_matrix));
}
