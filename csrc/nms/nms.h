// Non-maximum suppression: repeatedly, the remaining row with the highest score is taken, and the others are lowered by
// their similarity s with it:
//
//     hard      the row is dropped if s > threshold
//     linear    score *= 1 - s if s > threshold                 (Bodla et al., arXiv 1704.04503)
//     gaussian  score *= exp(-s^2 / sigma)                      (the same)
//
// For boxes (x1, y1, x2, y2), s is their intersection over union, with sides x2 - x1 + pixel_offset; boxes of different
// labels have s = 0. For poses, s is the OKS of oks.h over all points, with the mean of both areas. If s is NaN the
// score is unchanged, so a row with NaN lowers no other. A row is dropped when its score is below score_threshold or
// -inf.
//
// Shapes: boxes (B, n, 4) or points (B, n, K, 2) with area (B, n); scores (B, n); labels (B, n) int64. Results: order
// (B, n), the rows in the order in which they were taken, then -1; their scores at that time, then 0; and the number of
// rows taken, (B,). NaN ranks above all numbers. Of rows with equal scores, the one with the highest original score is
// taken, then the one with the lowest index.
//
// Work: up to n rounds and n^2 / 2 similarities. The bytes are few and stay in the cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"
#include "oks/spacing.h"

namespace pydlx {

enum class NmsMethod : int64_t { kGaussian, kLinear, kHard };

// The options as in the op's schema.
struct NmsOptions {
  int64_t method;
  double sigma, threshold, score_threshold;

  NmsOptions(int64_t method_, double sigma_, double threshold_, double score_threshold_)
      : method(method_), sigma(sigma_), threshold(threshold_), score_threshold(score_threshold_) {
    STD_TORCH_CHECK(method >= 0 && method <= int64_t(NmsMethod::kHard), "nms: method must be from 0 to 2, got ",
                    method);
  }
};

template <class A>
struct NmsRule {
  NmsMethod method;
  A sigma, steepness, threshold, score_threshold;  // steepness: -1 / sigma

  explicit NmsRule(const NmsOptions& options)
      : method(static_cast<NmsMethod>(options.method)),
        sigma(static_cast<A>(options.sigma)),
        steepness(static_cast<A>(-1 / options.sigma)),
        threshold(static_cast<A>(options.threshold)),
        score_threshold(static_cast<A>(options.score_threshold)) {}

  PYDLX_HOST_DEVICE bool drops(A score) const { return score < score_threshold || score == -A(INFINITY); }
};

// Output pointers: order, scores, number of rows taken.
template <class A>
struct NmsResult {
  int64_t* order;
  A* rescored;
  int64_t* taken;
};

using NmsTensors = std::tuple<Tensor, Tensor, Tensor>;

struct NmsOutput {
  Tensor order, rescored, taken;

  explicit NmsOutput(const Tensor& scores)
      : order(uninitialised(scores, scores.sizes(), ScalarType::Long)),
        rescored(uninitialised(scores, scores.sizes())),
        taken(uninitialised(scores, {scores.size(0)}, ScalarType::Long)) {}

  template <class A>
  NmsResult<A> result() const {
    return {output_data<int64_t>(order), output_data<A>(rescored), output_data<int64_t>(taken)};
  }

  NmsTensors tensors() const { return {order, rescored, taken}; }
};

// One batch entry's boxes, or its poses.
template <class A>
struct NmsBoxes {
  const A* boxes;
  const int64_t* labels;  // or null
  A pixel_offset;
};

template <class A>
struct NmsPoses {
  const A *points, *area, *sigmas;
  int64_t count;  // number of points
};

// The contiguous inputs of suppression among boxes.
struct NmsBoxInput {
  Tensor boxes, scores;
  std::optional<Tensor> labels;
  double pixel_offset;

  NmsBoxInput(const Tensor& boxes_, const Tensor& scores_, const std::optional<Tensor>& labels_, double pixel_offset_)
      : boxes(made_contiguous(boxes_)), scores(made_contiguous(scores_)), pixel_offset(pixel_offset_) {
    const Arguments arguments("box_nms", "scores", scores);
    arguments.check_shape("scores", scores, {kAnySize, kAnySize});
    arguments.check("boxes", boxes, scores.scalar_type(), {scores.size(0), scores.size(1), 4});
    if (!labels_) return;
    labels = made_contiguous(*labels_);
    arguments.check("labels", *labels, ScalarType::Long, scores.sizes());
  }

  template <class A>
  NmsBoxes<A> all() const {
    return {input_data<A>(boxes), labels ? input_data<int64_t>(*labels) : nullptr, static_cast<A>(pixel_offset)};
  }
};

// The contiguous inputs of suppression among poses.
struct NmsPoseInput {
  Tensor points, scores, area, sigmas;

  NmsPoseInput(const Tensor& points_, const Tensor& scores_, const Tensor& area_, const Tensor& sigmas_)
      : points(made_contiguous(points_)),
        scores(made_contiguous(scores_)),
        area(made_contiguous(area_)),
        sigmas(made_contiguous(sigmas_)) {
    const Arguments arguments("pose_nms", "scores", scores);
    arguments.check_shape("scores", scores, {kAnySize, kAnySize});
    arguments.check("sigmas", sigmas, scores.scalar_type(), {kAnySize});
    arguments.check("points", points, scores.scalar_type(), {scores.size(0), scores.size(1), sigmas.size(0), 2});
    arguments.check_alike("area", area);
  }

  template <class A>
  NmsPoses<A> all() const {
    return {input_data<A>(points), input_data<A>(area), input_data<A>(sigmas), sigmas.numel()};
  }
};

// Batch entry b, given n rows per entry.
template <class A>
PYDLX_HOST_DEVICE NmsBoxes<A> nms_entry(const NmsBoxes<A>& all, int64_t b, int64_t n) {
  return {all.boxes + b * n * 4, all.labels ? all.labels + b * n : nullptr, all.pixel_offset};
}
template <class A>
PYDLX_HOST_DEVICE NmsPoses<A> nms_entry(const NmsPoses<A>& all, int64_t b, int64_t n) {
  return {all.points + b * n * all.count * 2, all.area + b * n, all.sigmas, all.count};
}

}  // namespace pydlx
