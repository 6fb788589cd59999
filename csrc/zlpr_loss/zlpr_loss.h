// The zlpr loss (arXiv 2208.02955). With scores s (R, n), one row per example, and labels y (R, n), bool or soft labels
// from 0 to 1, where sums run over the elements that count:
//
//     P = log(1 + sum y exp(-s))          dL/ds = - dP y exp(-s - P)
//     N = log(1 + sum (1 - y) exp(s))             + dN (1 - y) exp(s - N)
//
// P and N, the two columns of `parts` (R, 2), are saved for the backward pass. An element counts unless its mask is
// false or its score is -inf; other elements do not affect the loss and have gradient 0. An element with y = 1 is left
// out of N, one with y = 0 out of P. NaN in an element that counts makes P or N NaN, +inf in an element of N makes N
// infinite.
//
// Rows are summed in chunks, whose number depends only on n.
//
// Bytes: the forward must read the scores, labels and mask once; the backward reads them again and writes the gradient.
#pragma once

#include <optional>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/log_sum.h"
#include "common/tensor_utils.h"

namespace pydlx {

// Label is bool, or accumulate_t<T> for soft labels.
template <class T, class Label>
struct ZlprCells {
  int64_t rows, cells, chunk;
  const T* scores;
  const Label* labels;
  const bool* mask;  // null if there is no mask

  PYDLX_HOST_DEVICE int64_t chunks() const { return (cells + chunk - 1) / chunk; }
  PYDLX_HOST_DEVICE bool counts(int64_t place) const {
    return (!mask || mask[place]) && static_cast<accumulate_t<T>>(scores[place]) != -accumulate_t<T>(INFINITY);
  }
};

// Partial sums of a row, accumulated in type S.
template <class A, class S>
struct ZlprSums {
  LogSum<A, S> labels, others;

  PYDLX_HOST_DEVICE void add(const ZlprSums& more) {
    labels.add(more.labels);
    others.add(more.others);
  }
};

// The arguments of a call, checked and contiguous.
struct ZlprCall {
  Tensor scores, labels;
  std::optional<Tensor> mask;

  ZlprCall(const char* op, const char* name, const Tensor& first, const Tensor& scores_, const Tensor& labels_,
           const std::optional<Tensor>& mask_) {
    const Arguments arguments(op, name, first);
    arguments.check_device("scores", scores_);
    arguments.check_shape("scores", scores_, {kAnySize, kAnySize});
    const ScalarType dtype = labels_.scalar_type() == ScalarType::Bool ? ScalarType::Bool : wide_dtype(scores_);
    arguments.check("labels", labels_, dtype, scores_.sizes());
    if (mask_) arguments.check("mask", *mask_, ScalarType::Bool, scores_.sizes());
    scores = made_contiguous(scores_);
    labels = made_contiguous(labels_);
    if (mask_) mask = made_contiguous(*mask_);
  }

  // Calls body(ZlprCells<T, Label>) with the types of this call.
  template <class Body>
  void dispatch(const char* op, int64_t chunk, const Body& body) const {
    dispatch_floating(scores.scalar_type(), op, [&](auto zero) {
      using T = decltype(zero);
      const auto run = [&](auto label) {
        using Label = decltype(label);
        body(ZlprCells<T, Label>{scores.size(0), scores.size(1), chunk, input_data<T>(scores),
                                 input_data<Label>(labels), mask ? input_data<bool>(*mask) : nullptr});
      };
      if (labels.scalar_type() == ScalarType::Bool) return run(bool{});
      run(accumulate_t<T>{});
    });
  }
};

// The op on a Device, which has a Scope and
//   static void forward(scope, const ZlprCells<T, Label>&, const Tensor& parts)
//   static void backward(scope, const ZlprCells<T, Label>&, const A* grad, const A* parts, T* grad_scores)
template <class Device>
struct ZlprLossOp {
  static Tensor forward(const Tensor& scores, const Tensor& labels, const std::optional<Tensor> mask) {
    const typename Device::Scope scope(scores);
    const ZlprCall call("zlpr_loss", "scores", scores, scores, labels, mask);
    const Tensor parts = uninitialised(scores, {scores.size(0), 2}, wide_dtype(scores));
    if (scores.size(0) == 0) return parts;
    call.dispatch("zlpr_loss", Device::kChunk, [&](const auto& cells) { Device::forward(scope, cells, parts); });
    return parts;
  }

  static Tensor backward(const Tensor& grad, const Tensor& parts, const Tensor& scores, const Tensor& labels,
                         const std::optional<Tensor> mask) {
    const typename Device::Scope scope(grad);
    const ZlprCall call("_zlpr_loss_backward", "grad", grad, scores, labels, mask);
    const Arguments arguments("_zlpr_loss_backward", "grad", grad);
    arguments.check("grad", grad, wide_dtype(scores), {scores.size(0), 2});
    arguments.check_alike("parts", parts);
    const Tensor above = made_contiguous(grad), of_rows = made_contiguous(parts);
    const Tensor found = uninitialised(scores, scores.sizes());
    if (scores.numel() == 0) return found;
    call.dispatch("zlpr_loss", Device::kChunk, [&](const auto& cells) {
      using T = std::remove_cv_t<std::remove_pointer_t<decltype(cells.scores)>>;
      using A = accumulate_t<T>;
      Device::backward(scope, cells, input_data<A>(above), input_data<A>(of_rows), output_data<T>(found));
    });
    return found;
  }
};

}  // namespace pydlx
