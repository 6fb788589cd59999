// Both softmaxes of the similarities of two texts (BiDAF, arXiv 1611.01603; QANet). With the similarities S (B, n, m)
// of n tokens of the context (rows) and m tokens of the question (columns), for every batch entry:
//
//     Q_ij = exp(S_ij) / sum_j exp(S_ij)   over the question       dS_ij =   Q_ij (dQ_ij - sum_j dQ_ij Q_ij)
//     C_ij = exp(S_ij) / sum_i exp(S_ij)   over the context                + C_ij (dC_ij - sum_i dC_ij C_ij)
//
// Sums run over the tokens that are valid by the masks (B, n) and (B, m). Q, C and dS are 0 in masked rows and columns,
// where the values of S and of the gradients are ignored. NaN or +inf at a valid element gives NaN in its row of Q and
// its column of C.
//
// The similarities themselves are matrix products, computed by PyTorch.
//
// Bytes: the forward must read S and write Q and C; it reads S twice, by rows and by columns, the second time mostly
// from cache. The backward reads Q, dQ, C and dC (C and dC twice) and writes dS.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

struct AttentionTask {
  int64_t batch, rows, columns;
  const bool *row_mask, *column_mask;  // or null, where all are valid

  PYDLX_HOST_DEVICE int64_t row_count() const { return batch * rows; }
  // Rows are numbered through the whole batch.
  PYDLX_HOST_DEVICE bool has_row(int64_t row) const { return !row_mask || row_mask[row]; }
  PYDLX_HOST_DEVICE bool has_column(int64_t entry, int64_t column) const {
    return !column_mask || column_mask[entry * columns + column];
  }
};

// The shape of a call, checked, and its masks.
struct AttentionMasks {
  std::optional<Tensor> context, question;
  AttentionTask task;

  AttentionMasks(const char* op, const char* name, const Tensor& first, const std::optional<Tensor>& context_mask,
                 const std::optional<Tensor>& question_mask) {
    const Arguments arguments(op, name, first);
    arguments.check_shape(name, first, {kAnySize, kAnySize, kAnySize});
    const int64_t batch = first.size(0), rows = first.size(1), columns = first.size(2);
    if (context_mask) arguments.check("context_mask", *context_mask, ScalarType::Bool, {batch, rows});
    if (question_mask) arguments.check("question_mask", *question_mask, ScalarType::Bool, {batch, columns});
    if (context_mask) context = made_contiguous(*context_mask);
    if (question_mask) question = made_contiguous(*question_mask);
    task = {batch, rows, columns, context ? input_data<bool>(*context) : nullptr,
            question ? input_data<bool>(*question) : nullptr};
  }
};

struct SoftmaxCall {
  AttentionMasks masks;
  Tensor similarity, over_question, over_context;

  SoftmaxCall(const Tensor& similarity_, const std::optional<Tensor>& context_mask,
              const std::optional<Tensor>& question_mask)
      : masks("dual_softmax", "similarity", similarity_, context_mask, question_mask),
        similarity(made_contiguous(similarity_)),
        over_question(uninitialised(similarity, similarity.sizes())),
        over_context(uninitialised(similarity, similarity.sizes())) {}
};

// A softmax's output and the gradient of it.
template <class T>
struct SoftmaxGradient {
  const T *grad, *weights;

  PYDLX_HOST_DEVICE accumulate_t<T> product(int64_t place) const {
    return static_cast<accumulate_t<T>>(grad[place]) * static_cast<accumulate_t<T>>(weights[place]);
  }
};

struct SoftmaxBackwardCall {
  AttentionMasks masks;
  Tensor grad_question, grad_context, over_question, over_context, grad;

  SoftmaxBackwardCall(const Tensor& grad_question_, const Tensor& grad_context_, const Tensor& over_question_,
                      const Tensor& over_context_, const std::optional<Tensor>& context_mask,
                      const std::optional<Tensor>& question_mask)
      : masks("_dual_softmax_backward", "grad_question", grad_question_, context_mask, question_mask) {
    const Arguments arguments("_dual_softmax_backward", "grad_question", grad_question_);
    arguments.check_alike("grad_context", grad_context_);
    arguments.check_alike("over_question", over_question_);
    arguments.check_alike("over_context", over_context_);
    grad_question = made_contiguous(grad_question_);
    grad_context = made_contiguous(grad_context_);
    over_question = made_contiguous(over_question_);
    over_context = made_contiguous(over_context_);
    grad = uninitialised(grad_question, grad_question.sizes());
  }

  template <class T>
  SoftmaxGradient<T> question() const {
    return {input_data<T>(grad_question), input_data<T>(over_question)};
  }

  template <class T>
  SoftmaxGradient<T> context() const {
    return {input_data<T>(grad_context), input_data<T>(over_context)};
  }
};

}  // namespace pydlx
