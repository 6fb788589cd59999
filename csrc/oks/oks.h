// Object keypoint similarity of a detection's points p_k with a truth's points q_k of visibility v_k and area A:
//
//     x_k = -|p_k - q_k|^2 / (2 (A + 2^-52) (2 sigma_k)^2)          OKS = mean over { k : v_k > 0 } of exp(x_k)
//
// If no point of the truth is visible, COCO compares the detection with the truth's box (x, y, w, h): the mean is over
// all k, and p_k - q_k is the distance of p_k from the region [x - w, x + 2w] x [y - h, y + 2h]. Without a box the
// similarity with such a truth is 0. A negative area gives NaN. With n the number of points in the mean:
//
//     dOKS/dp_k = -dOKS/dq_k = 2 exp(x_k) f_k (p_k - q_k) / n,   f_k = x_k / |p_k - q_k|^2
//     dOKS/dA   = -sum_k exp(x_k) x_k / (n (A + 2^-52))
//
// and dOKS/dq_k = 0 if the box is used. On the CPU a gradient is accurate whenever it is a normal number, even if
// exp(x_k) underflows.
//
// Shapes: pred (B, D, K, 2), truth (B, G, K, 2), visible (B, G, K) bool, area (B, G), sigmas (K,), boxes (B, G, 4);
// OKS (B, D, G). Ragged: groups of different D and G, with their rows concatenated; OKS is the concatenation of their
// (D, G) matrices.
//
// Bytes of the forward: pred and truth are read and OKS is written once. It computes D G K exponentials per group,
// which cost more than the bytes unless D and G are small.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"
#include "oks/spacing.h"

namespace pydlx {

template <class A>
PYDLX_HOST_DEVICE A oks_steepness(A area) {
  return area < 0 ? A(NAN) : -1 / (area + A(kOksSpacing));
}

// A truth: its visible points or, if there are none, its box.
template <class A>
struct OksTruth {
  const A* points;
  const bool* visible;
  const A* box;  // null unless it replaces the points
  A steepness;   // -1 / (A + 2^-52), NaN for a negative area
  int64_t count;

  PYDLX_HOST_DEVICE bool counts(int64_t k) const { return box || visible[k]; }

  PYDLX_HOST_DEVICE A low(int64_t k, int axis) const { return box ? box[axis] - box[axis + 2] : points[2 * k + axis]; }
  PYDLX_HOST_DEVICE A high(int64_t k, int axis) const {
    return box ? box[axis] + 2 * box[axis + 2] : points[2 * k + axis];
  }

  // The distance, along one axis, of a detection's point k from this truth's.
  PYDLX_HOST_DEVICE A offset(const A* pred, int64_t k, int axis) const {
    const A p = pred[2 * k + axis];
    if (!box) return p - points[2 * k + axis];
    const A below = p - low(k, axis), above = p - high(k, axis);
    return (below > 0 ? 0 : below) + (above < 0 ? 0 : above);
  }
};

// Pointers to the contiguous inputs. Rows of pred and of truth are numbered through all groups.
template <class A>
struct OksRows {
  const A *pred, *truth;
  const bool* visible;
  const A *area, *sigmas, *boxes;
  int64_t points;

  PYDLX_HOST_DEVICE const A* detection(int64_t row) const { return pred + row * points * 2; }

  PYDLX_HOST_DEVICE OksTruth<A> truth_at(int64_t row) const {
    OksTruth<A> found{truth + row * points * 2, visible + row * points, nullptr, 0, 0};
    for (int64_t k = 0; k < points; ++k) found.count += found.visible[k];
    if (boxes && found.count == 0) {
      found.box = boxes + row * 4;
      found.count = points;
    }
    found.steepness = oks_steepness(area[row]);
    return found;
  }

  PYDLX_HOST_DEVICE A scale(int64_t k) const { return 1 / (8 * sigmas[k] * sigmas[k]); }
};

inline std::vector<int64_t> oks_shape(const Tensor& x) { return {x.sizes().begin(), x.sizes().end()}; }

// Owns contiguous versions of the inputs, for the pointers in OksRows.
struct OksInput {
  Tensor pred, truth, visible, area, sigmas;
  std::optional<Tensor> boxes;

  // `dims` is the number of dimensions of pred and truth: 4 for groups of one size, 3 for ragged groups.
  OksInput(int64_t dims, const Tensor& pred_, const Tensor& truth_, const Tensor& visible_, const Tensor& area_,
           const Tensor& sigmas_, const std::optional<Tensor>& boxes_)
      : pred(made_contiguous(pred_)),
        truth(made_contiguous(truth_)),
        visible(made_contiguous(visible_)),
        area(made_contiguous(area_)),
        sigmas(made_contiguous(sigmas_)) {
    if (boxes_) boxes = made_contiguous(*boxes_);
    const Arguments arguments("oks", "pred", pred);
    arguments.check_dims("pred", pred, dims, dims);
    arguments.check_dims("truth", truth, dims, dims);
    const int64_t groups = pred.size(0), points = pred.size(dims - 2), truths = truth.size(dims - 3);
    // Drops the group dimension for ragged groups.
    const auto rows = [&](std::initializer_list<int64_t> shape) {
      return dims == 4 ? IntHeaderOnlyArrayRef(shape) : IntHeaderOnlyArrayRef(shape.begin() + 1, shape.end());
    };
    const ScalarType dtype = pred.scalar_type();
    arguments.check_shape("pred", pred, rows({groups, pred.size(dims - 3), points, 2}));
    arguments.check("truth", truth, dtype, rows({groups, truths, points, 2}));
    arguments.check("visible", visible, ScalarType::Bool, rows({groups, truths, points}));
    arguments.check("area", area, dtype, rows({groups, truths}));
    arguments.check("sigmas", sigmas, dtype, {points});
    if (boxes) arguments.check("boxes", *boxes, dtype, rows({groups, truths, 4}));
  }

  template <class A>
  OksRows<A> rows() const {
    return {input_data<A>(pred), input_data<A>(truth),  input_data<bool>(visible),
            input_data<A>(area), input_data<A>(sigmas), boxes ? input_data<A>(*boxes) : nullptr,
            sigmas.numel()};
  }
};

// Some detections, all truths they are compared with, and the offset of their first similarity.
struct OksBlock {
  int64_t pred, preds, truth, truths;  // first row and number of rows
  int64_t place;
};

// A batch of groups of one size.
struct OksSizes {
  int64_t groups, preds, truths, points;

  explicit OksSizes(const OksInput& input)
      : groups(input.pred.size(0)),
        preds(input.pred.size(1)),
        truths(input.truth.size(1)),
        points(input.pred.size(2)) {}

  PYDLX_HOST_DEVICE int64_t pairs() const { return groups * preds * truths; }
  // The rows of a pair, given its index among all similarities.
  PYDLX_HOST_DEVICE int64_t pred_of(int64_t pair) const { return pair / truths; }
  PYDLX_HOST_DEVICE int64_t truth_of(int64_t pair) const { return pair / (preds * truths) * truths + pair % truths; }
};

// The gradients of pred, truth and area; empty tensors for those not wanted.
struct OksNewGradients {
  Tensor pred, truth, area;

  OksNewGradients(const OksInput& input, bool wants_pred, bool wants_truth)
      : pred(uninitialised(input.pred, shape_if(wants_pred, input.pred))),
        truth(uninitialised(input.pred, shape_if(wants_truth, input.truth))),
        area(uninitialised(input.pred, shape_if(wants_truth, input.area))) {}

  std::tuple<Tensor, Tensor, Tensor> tensors() const { return {pred, truth, area}; }

 private:
  static std::vector<int64_t> shape_if(bool wanted, const Tensor& x) {
    return wanted ? oks_shape(x) : std::vector<int64_t>{0};
  }
};

inline Tensor oks_gradient(const OksInput& input, const OksSizes& sizes, const Tensor& grad) {
  Arguments("_oks_backward", "pred", input.pred)
      .check("grad", grad, input.pred.scalar_type(), {sizes.groups, sizes.preds, sizes.truths});
  return made_contiguous(grad);
}

// Whether `at` is a pair of the group, and the group's rows exist. Kernels must check this, because offsets in a GPU's
// memory are not checked before.
PYDLX_HOST_DEVICE inline bool oks_has_pair(const OksBlock& group, int64_t at, int64_t pred_rows, int64_t truth_rows) {
  return at >= 0 && group.truths > 0 && at / group.truths < group.preds && group.pred >= 0 && group.truth >= 0 &&
         group.preds <= pred_rows - group.pred && group.truths <= truth_rows - group.truth;
}

// Offsets of a ragged batch: group i has the rows [offsets[i], offsets[i + 1]) of pred and truth, and the similarities
// [pair[i], pair[i + 1]).
struct OksOffsets {
  Tensor pred, truth, pair;
  int64_t groups;

  OksOffsets(const OksInput& input, const Tensor& pred_, const Tensor& truth_, const Tensor& pair_, int64_t pairs)
      : pred(made_contiguous(pred_)), truth(made_contiguous(truth_)), pair(made_contiguous(pair_)) {
    const Arguments arguments("oks_ragged", "pred", input.pred);
    arguments.check("pred_offsets", pred, ScalarType::Long, {kAnySize});
    groups = pred.size(0) - 1;
    arguments.check_range("pairs", pairs, 0, groups > 0 ? std::numeric_limits<int64_t>::max() : 0);
    arguments.check("truth_offsets", truth, ScalarType::Long, pred.sizes());
    arguments.check("pair_offsets", pair, ScalarType::Long, pred.sizes());
  }

  // Checks the values of offsets on the CPU.
  void check_values(const OksInput& input, int64_t pairs) const {
    const Arguments arguments("oks_ragged", "pred", input.pred);
    arguments.check_offsets("pred_offsets", pred, input.pred.size(0));
    arguments.check_offsets("truth_offsets", truth, input.truth.size(0));
    arguments.check_offsets("pair_offsets", pair, pairs);
    const auto *d = input_data<int64_t>(pred), *g = input_data<int64_t>(truth), *p = input_data<int64_t>(pair);
    for (int64_t i = 0; i < groups; ++i) {
      STD_TORCH_CHECK(p[i + 1] - p[i] == (d[i + 1] - d[i]) * (g[i + 1] - g[i]),
                      "oks_ragged: pair_offsets must rise by the number of pairs of each group");
    }
  }
};

PYDLX_HOST_DEVICE inline OksBlock oks_group(const int64_t* pred, const int64_t* truth, const int64_t* pair, int64_t i) {
  return {pred[i], pred[i + 1] - pred[i], truth[i], truth[i + 1] - truth[i], pair[i]};
}

}  // namespace pydlx
