// The zlpr loss (arXiv 2208.02955). With scores s (R, n), a row for each example, and labels y (R, n), bools or soft
// ones from 0 to 1, over the cells that count:
//
//     P = log(1 + sum y exp(-s))          dL/ds = - dP y exp(-s - P)
//     N = log(1 + sum (1 - y) exp(s))             + dN (1 - y) exp(s - N)
//
// P and N, the two columns of `parts` (R, 2), are kept for the backward pass. A cell counts unless its mask is false or
// its score -inf; others are never read and have gradient 0. A cell with y = 1 is left out of N, one with y = 0 out of
// P. NaN in a cell that counts makes P or N NaN, +inf in a cell of N makes it infinite.
//
// Rows are summed in chunks, whose number depends on n alone.
//
// Bytes: the forward must read the scores, labels and mask once; the backward reads them again and writes the gradient.
#pragma once

#include <optional>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/log_sum.h"
#include "common/tensor_utils.h"

namespace pydlx {

// Label is bool, or accumulate_t<T> for soft ones.
template <class T, class Label>
struct ZlprCells {
  int64_t rows, cells, chunk;
  const T* scores;
  const Label* labels;
  const bool* mask;  // or null, where all cells count

  PYDLX_HOST_DEVICE int64_t chunks() const { return (cells + chunk - 1) / chunk; }
  PYDLX_HOST_DEVICE bool counts(int64_t place) const {
    return (!mask || mask[place]) && static_cast<accumulate_t<T>>(scores[place]) != -accumulate_t<T>(INFINITY);
  }
};

// What has been summed of a row, in S.
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

  // body(ZlprCells<T, Label>) of these types.
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
