// The softmaxes of trilinear attention on CUDA: launches and registration. The kernels are in trilinear_attention.cuh.
#include "common/launch.cuh"
#include "trilinear_attention/trilinear_attention.cuh"

namespace pydlx {
namespace {

dim3 attention_block() { return dim3(kWarp, kAttentionParts); }

dim3 row_grid(const AttentionTask& task) { return dim3(blocks_for(task.row_count(), kAttentionParts)); }

dim3 column_grid(const AttentionTask& task) {
  const int64_t blocks = (task.columns + kWarp - 1) / kWarp;
  return dim3(static_cast<unsigned>(std::min(task.batch * blocks, kMaxBlocks)));
}

std::tuple<Tensor, Tensor> dual_softmax(const Tensor& similarity, const std::optional<Tensor> context_mask,
                                        const std::optional<Tensor> question_mask) {
  const DeviceScope scope(similarity);
  const SoftmaxCall call(similarity, context_mask, question_mask);
  const AttentionTask& task = call.masks.task;
  if (similarity.numel() == 0) return {call.over_question, call.over_context};
  dispatch_floating(similarity.scalar_type(), "dual_softmax", [&](auto zero) {
    using T = decltype(zero);
    const T* from = input_data<T>(call.similarity);
    PYDLX_LAUNCH(softmax_rows_kernel<T>, row_grid(task), attention_block(), 0, scope.stream(), task, from,
                 output_data<T>(call.over_question));
    PYDLX_LAUNCH(softmax_columns_kernel<T>, column_grid(task), attention_block(), 0, scope.stream(), task, from,
                 output_data<T>(call.over_context));
  });
  check_launch("dual_softmax");
  return {call.over_question, call.over_context};
}

Tensor dual_softmax_backward(const Tensor& grad_question, const Tensor& grad_context, const Tensor& over_question,
                             const Tensor& over_context, const std::optional<Tensor> context_mask,
                             const std::optional<Tensor> question_mask) {
  const DeviceScope scope(grad_question);
  const SoftmaxBackwardCall call(grad_question, grad_context, over_question, over_context, context_mask, question_mask);
  const AttentionTask& task = call.masks.task;
  if (call.grad.numel() == 0) return call.grad;
  dispatch_floating(call.grad.scalar_type(), "dual_softmax", [&](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const ScalarType wide = sizeof(A) == 8 ? ScalarType::Double : ScalarType::Float;
    const Tensor dots = uninitialised(call.grad, {task.batch, task.columns}, wide);
    PYDLX_LAUNCH(dot_columns_kernel<T>, column_grid(task), attention_block(), 0, scope.stream(), task,
                 call.context<T>(), output_data<A>(dots));
    PYDLX_LAUNCH(softmax_backward_kernel<T>, row_grid(task), attention_block(), 0, scope.stream(), task,
                 call.question<T>(), call.context<T>(), input_data<A>(dots), output_data<T>(call.grad));
  });
  check_launch("dual_softmax");
  return call.grad;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("dual_softmax", TORCH_BOX(&pydlx::dual_softmax));
  m.impl("_dual_softmax_backward", TORCH_BOX(&pydlx::dual_softmax_backward));
}
