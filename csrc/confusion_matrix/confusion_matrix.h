// Confusion matrices of label maps: how many pixels of class t were taken for class p.
//
//     counts[t, p] = number of pixels with target t and prediction p
//
// Shapes: target (N, ...) holds labels. pred holds labels of the same shape, or logits (N, C, ...), whose arg-max over
// C is taken on the way: the first of equal logits wins, and the first NaN over any number. counts (C, C), or (N, C, C)
// with a matrix for each image.
//
// A pixel whose target is `ignore` is left out before anything else is looked at. Other labels outside of [0, C), in
// either map, are invalid: their pixels are not counted, and the place of the first in each map, as an index into the
// flattened target, is returned in invalid (2,) = (target, pred); -1 where there is none.
//
// Bytes that must move: both maps once. The counters stay in caches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

// What pydlx/ops/confusion_matrix.py checks as well: pairs of labels are numbered in 32 bits, labels of 16 bits are
// compared without their sign.
constexpr int64_t kMostClasses = 32767;

// Calls body(T{}) with the C++ type of labels of this dtype.
template <class Body>
void dispatch_labels(ScalarType dtype, const Body& body) {
  switch (dtype) {
    case ScalarType::Bool:
    case ScalarType::Byte:
      return body(uint8_t{});
    case ScalarType::UInt16:
      return body(uint16_t{});
    case ScalarType::Short:
      return body(int16_t{});
    case ScalarType::Int:
      return body(int32_t{});
    case ScalarType::Long:
      return body(int64_t{});
    default:
      STD_TORCH_CHECK(false, "confusion_matrix: expected labels of type bool, uint8, uint16, int16, int32 or int64");
  }
}

// One of the two maps. Class c of a pixel's logits lies at image * image_stride + c * class_stride + pixel *
// pixel_stride; labels lie one behind the other.
struct ConfusionMap {
  const void* data;
  ScalarType dtype;
  int64_t bytes;  // of a label or logit
  bool is_logits;
  int64_t image_stride, class_stride, pixel_stride;
};

// The number that stands for a label: a class is its own, `classes` is an ignored target, `classes + 1` is invalid.
struct LabelRule {
  int64_t classes, ignore;
  bool ignores;

  PYDLX_HOST_DEVICE int64_t code(int64_t label) const {
    if (ignores && label == ignore) return classes;
    return label >= 0 && label < classes ? label : classes + 1;
  }
};

// `images` of `pixels` each. Where one matrix is asked for and both maps lie in one piece, all images count as one.
struct ConfusionTask {
  ConfusionMap pred, target;
  LabelRule pred_rule, target_rule;
  int64_t images, pixels;
  bool per_image;

  PYDLX_HOST_DEVICE int64_t classes() const { return target_rule.classes; }
  PYDLX_HOST_DEVICE int64_t bins() const { return classes() * classes(); }
};

// A call's task, the tensors that its pointers look into, and its results, which hold nothing yet.
struct ConfusionCall {
  Tensor pred, target, counts, invalid;
  ConfusionTask task;

  ConfusionCall(const Tensor& given_pred, const Tensor& given_target, int64_t classes, std::optional<int64_t> ignore,
                bool per_image)
      : pred(given_pred), target(made_contiguous(given_target)) {
    const bool logits = pred.dim() == target.dim() + 1;
    check(logits, classes, per_image);
    pred = logits ? dense(pred) : made_contiguous(pred);
    const int64_t batch = target.dim() ? target.size(0) : 1, pixels = batch ? target.numel() / batch : 0;
    const bool inner = is_channels_last(pred) || pixels == 1, joined = !per_image && (inner || !logits);
    task.pred = {pred.const_data_ptr(), pred.scalar_type(), int64_t(pred.element_size()), logits,
                 classes * pixels,      inner ? 1 : pixels, inner ? classes : 1};
    task.target = {target.const_data_ptr(), target.scalar_type(), int64_t(target.element_size()), false, 0, 0, 0};
    task.pred_rule = {classes, 0, false};
    task.target_rule = {classes, ignore.value_or(0), ignore.has_value()};
    task.images = joined ? 1 : batch;
    task.pixels = joined ? target.numel() : pixels;
    task.per_image = per_image;

    std::vector<int64_t> shape{classes, classes};
    if (per_image) shape.insert(shape.begin(), batch);
    counts = uninitialised(target, shape, ScalarType::Long);
    invalid = uninitialised(target, {2}, ScalarType::Long);
  }

 private:
  void check(bool logits, int64_t classes, bool per_image) const {
    const Arguments arguments("confusion_matrix", "target", target);
    arguments.check_range("num_classes", classes, 1, kMostClasses);
    arguments.check_device("pred", pred);
    dispatch_labels(target.scalar_type(), [](auto) {});
    if (logits) {
      dispatch_floating(pred.scalar_type(), "confusion_matrix", [](auto) {});
    } else {
      dispatch_labels(pred.scalar_type(), [](auto) {});
    }
    STD_TORCH_CHECK(!per_image || target.dim() > 0,
                    "confusion_matrix: target must have a batch dimension with per_image, got none");
    bool fits = logits ? target.dim() > 0 && pred.size(1) == classes : pred.dim() == target.dim();
    for (int64_t i = 0; fits && i < target.dim(); ++i) fits = target.size(i) == pred.size(logits && i > 0 ? i + 1 : i);
    STD_TORCH_CHECK(fits, "confusion_matrix: pred must have target's shape, or (N, C, ...) for a target of (N, ...)");
  }
};

}  // namespace pydlx
