// Object keypoint similarity of a detection's points p_k with a truth's points q_k of visibility v_k and area A:
//
//     x_k = -|p_k - q_k|^2 / (2 (A + 2^-52) (2 sigma_k)^2)          OKS = mean over { k : v_k > 0 } of exp(x_k)
//
// Where no point of the truth is visible, COCO asks whether the detection is near the truth's box (x, y, w, h): the
// mean is over all k, and p_k - q_k is how far p_k lies outside of [x - w, x + 2w] x [y - h, y + 2h]. Without a box
// such a truth gives 0. A negative area gives NaN. With n the number of points in the mean:
//
//     dOKS/dp_k = -dOKS/dq_k = 2 exp(x_k) f_k (p_k - q_k) / n,   f_k = x_k / |p_k - q_k|^2
//     dOKS/dA   = -sum_k exp(x_k) x_k / (n (A + 2^-52))
//
// and dOKS/dq_k = 0 where the box stands in for the points.
//
// Shapes: pred (B, D, K, 2), truth (B, G, K, 2), visible (B, G, K) bool, area (B, G), sigmas (K,), boxes (B, G, 4);
// OKS (B, D, G). Ragged: groups of different D and G, all rows one behind the other; OKS holds one (D, G) matrix behind
// the other.
//
// Bytes a forward must move: pred, truth and OKS once. It takes D G K exponentials, which cost more than the bytes as
// soon as D and G are more than a few.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "common/accumulate.h"
#include "common/tensor_utils.h"

namespace pydlx {

// Where the inputs' rows lie, all contiguous. Rows of pred and of truth are numbered through all groups.
template <class A>
struct OksRows {
  const A *pred, *truth;
  const bool* visible;
  const A *area, *sigmas, *boxes;
  int64_t points;

  // -1 / (A + 2^-52), NaN for a negative area.
  PYDLX_HOST_DEVICE A steepness(int64_t row) const {
    const A size = area[row];
    return size >= 0 ? -1 / (size + A(2.220446049250313e-16)) : size < 0 ? (size - size) / (size - size) : size;
  }

  PYDLX_HOST_DEVICE int64_t visible_count(int64_t row) const {
    int64_t count = 0;
    for (int64_t k = 0; k < points; ++k) count += visible[row * points + k];
    return count;
  }
};

inline Tensor oks_contiguous(const Tensor& x) { return x.is_contiguous() ? x : torch::stable::contiguous(x); }

// The inputs made contiguous, kept alive for the pointers into them.
struct OksInput {
  Tensor pred, truth, visible, area, sigmas;
  std::optional<Tensor> boxes;

  // Arguments have been checked in Python, with messages for people; this guards against direct calls.
  OksInput(const Tensor& pred_, const Tensor& truth_, const Tensor& visible_, const Tensor& area_,
           const Tensor& sigmas_, const std::optional<Tensor>& boxes_)
      : pred(oks_contiguous(pred_)),
        truth(oks_contiguous(truth_)),
        visible(oks_contiguous(visible_)),
        area(oks_contiguous(area_)),
        sigmas(oks_contiguous(sigmas_)) {
    if (boxes_) boxes = oks_contiguous(*boxes_);
    const int64_t points = sigmas.numel(), truths = area.numel();
    const auto dtype = pred.scalar_type();
    STD_TORCH_CHECK(truth.scalar_type() == dtype && area.scalar_type() == dtype && sigmas.scalar_type() == dtype &&
                        (!boxes || boxes->scalar_type() == dtype) && visible.scalar_type() == ScalarType::Bool,
                    "oks: expected one dtype, and visible as bool");
    STD_TORCH_CHECK(pred.size(-1) == 2 && pred.size(-2) == points && truth.numel() == truths * points * 2 &&
                        visible.numel() == truths * points && (!boxes || boxes->numel() == truths * 4),
                    "oks: expected K points in pred, truth, visible and sigmas, and a box for each truth");
  }

  template <class A>
  OksRows<A> rows() const {
    return {input_data<A>(pred), input_data<A>(truth),  input_data<bool>(visible),
            input_data<A>(area), input_data<A>(sigmas), boxes ? input_data<A>(*boxes) : nullptr,
            sigmas.numel()};
  }
};

// Some detections, all truths they are compared with, and where the first similarity goes.
struct OksBlock {
  int64_t pred, preds, truth, truths;  // first row and number of rows
  int64_t place;
};

// Group i of a ragged batch holds the rows [offsets[i], offsets[i + 1]), and as many similarities.
struct OksOffsets {
  Tensor pred, truth, pair;
  int64_t groups;

  OksOffsets(const OksInput& input, const Tensor& pred_, const Tensor& truth_, const Tensor& pair_, int64_t pairs)
      : pred(oks_contiguous(pred_)), truth(oks_contiguous(truth_)), pair(oks_contiguous(pair_)) {
    groups = pred.numel() - 1;
    STD_TORCH_CHECK(groups >= 0 && truth.numel() == groups + 1 && pair.numel() == groups + 1,
                    "oks_ragged: expected as many offsets of pred, of truth and of pairs");
    STD_TORCH_CHECK(pred.scalar_type() == ScalarType::Long && truth.scalar_type() == ScalarType::Long &&
                        pair.scalar_type() == ScalarType::Long,
                    "oks_ragged: expected int64 offsets");
    STD_TORCH_CHECK(pairs >= 0 && input.pred.dim() == 3 && input.truth.dim() == 3,
                    "oks_ragged: expected pred (D, K, 2) and truth (G, K, 2)");
  }
};

PYDLX_HOST_DEVICE inline OksBlock oks_group(const int64_t* pred, const int64_t* truth, const int64_t* pair, int64_t i) {
  return {pred[i], pred[i + 1] - pred[i], truth[i], truth[i + 1] - truth[i], pair[i]};
}

}  // namespace pydlx
