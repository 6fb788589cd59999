// The softmaxes of trilinear attention on the CPU: work cutting and registration. The maths is in
// trilinear_attention.h, the loops in trilinear_attention_cpu_simd.h.
#include "trilinear_attention/trilinear_attention.h"

#include "common/workspace.h"

#define PYDLX_SIMD_FILE "trilinear_attention/trilinear_attention_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The least number of similarities per thread.
constexpr int64_t kGrain = 8192;

// The most elements past the end that a whole vector may read.
constexpr int64_t kRoomForVector = 16;

// Calls body(begin, end) in parallel for parts of the rows of the batch.
template <class Body>
void each_row(const AttentionTask& task, const Body& body) {
  parallel_for(task.row_count(), kGrain / task.columns, body);
}

// Calls body(begin, end) in parallel for parts of the column blocks (see ColumnBlock).
template <class T, class Body>
void each_column_block(const AttentionTask& task, const Body& body) {
  const int64_t blocks = PYDLX_SIMD_CALL(ColumnBlock<T>::per_entry)(task);
  parallel_for(task.batch * blocks, kGrain * blocks / (task.rows * task.columns), body);
}

std::tuple<Tensor, Tensor> dual_softmax(const Tensor& similarity, const std::optional<Tensor> context_mask,
                                        const std::optional<Tensor> question_mask) {
  const SoftmaxCall call(similarity, context_mask, question_mask);
  const AttentionTask& task = call.masks.task;
  if (similarity.numel() == 0) return {call.over_question, call.over_context};
  dispatch_floating(similarity.scalar_type(), "dual_softmax", [&](auto zero) {
    using T = decltype(zero);
    const T* from = input_data<T>(call.similarity);
    T *over_question = output_data<T>(call.over_question), *over_context = output_data<T>(call.over_context);
    each_row(task, [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(softmax_rows<T>)(task, from, over_question, begin, end);
    });
    each_column_block<T>(task, [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(softmax_columns<T>)(task, from, over_context, begin, end);
    });
  });
  return {call.over_question, call.over_context};
}

Tensor dual_softmax_backward(const Tensor& grad_question, const Tensor& grad_context, const Tensor& over_question,
                             const Tensor& over_context, const std::optional<Tensor> context_mask,
                             const std::optional<Tensor> question_mask) {
  const SoftmaxBackwardCall call(grad_question, grad_context, over_question, over_context, context_mask, question_mask);
  const AttentionTask& task = call.masks.task;
  if (call.grad.numel() == 0) return call.grad;
  dispatch_floating(call.grad.scalar_type(), "dual_softmax", [&](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const ScalarType wide = sizeof(A) == 8 ? ScalarType::Double : ScalarType::Float;
    const Tensor sums = uninitialised(call.grad, {task.batch * task.columns + kRoomForVector}, wide);
    A* dots = output_data<A>(sums);
    each_column_block<T>(task, [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(dot_columns<T>)(task, call.context<T>(), dots, begin, end);
    });
    each_row(task, [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(softmax_backward<T>)(task, call.question<T>(), call.context<T>(), dots, output_data<T>(call.grad),
                                           begin, end);
    });
  });
  return call.grad;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("dual_softmax", TORCH_BOX(&pydlx::dual_softmax));
  m.impl("_dual_softmax_backward", TORCH_BOX(&pydlx::dual_softmax_backward));
}
