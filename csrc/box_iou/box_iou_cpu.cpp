// Intersection over union of boxes, for many groups in one call.
//
// Boxes are (x, y, width, height). For a detection d and a truth g of the same group
//   i = max(0, min(dx + dw, gx + gw) - max(dx, gx)) * (the same in y),   iou = i / (area d + area g - i),
// and if g is a crowd region, iou = i / area d; 0 if the boxes do not overlap. Group n has the rows
// [offsets[n], offsets[n + 1]) of either side; the result is the groups' row-major (D_n, G_n) matrices, concatenated.
//
//   boxes (D, 4) and truths (G, 4) float64, crowd (G,) bool, offsets (n + 1,) int64 -> (P,) float64.
// Bytes: 32 read per box, 8 written per pair.
//
// The results are compared with thresholds, so every operation of the formula must be rounded on its own. Therefore
// this file is compiled for the baseline instruction set only, which has no fused multiply-add.
#include <algorithm>

#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {
namespace {

// Pairs that are worth another thread, which this one then waits for.
constexpr int64_t kPairGrain = int64_t{1} << 20;

double iou(const double* d, const double* g, bool crowd) {
  const double width = std::min(d[0] + d[2], g[0] + g[2]) - std::max(d[0], g[0]);
  const double height = std::min(d[1] + d[3], g[1] + g[3]) - std::max(d[1], g[1]);
  if (!(width > 0 && height > 0)) return 0;
  const double shared = width * height, area = d[2] * d[3];
  return shared / (crowd ? area : area + g[2] * g[3] - shared);
}

void check_box_iou(const Tensor& boxes, const Tensor& truths, const Tensor& crowd, const Tensor& detection_offsets,
                   const Tensor& truth_offsets) {
  const Arguments arguments("ragged_box_iou", "boxes", boxes);
  arguments.check("boxes", boxes, ScalarType::Double, {kAnySize, 4});
  arguments.check("truths", truths, ScalarType::Double, {kAnySize, 4});
  arguments.check("crowd", crowd, ScalarType::Bool, {truths.size(0)});
  arguments.check_offsets("detection_offsets", detection_offsets, boxes.size(0));
  arguments.check_offsets("truth_offsets", truth_offsets, truths.size(0));
  arguments.check_shape("truth_offsets", truth_offsets, detection_offsets.sizes());
}

Tensor ragged_box_iou(const Tensor& boxes, const Tensor& truths, const Tensor& crowd, const Tensor& detection_offsets,
                      const Tensor& truth_offsets) {
  check_box_iou(boxes, truths, crowd, detection_offsets, truth_offsets);
  const Tensor found = made_contiguous(boxes), true_boxes = made_contiguous(truths), crowds = made_contiguous(crowd);
  const Tensor found_offsets = made_contiguous(detection_offsets), true_offsets = made_contiguous(truth_offsets);
  const auto *from = input_data<double>(found), *of = input_data<double>(true_boxes);
  const auto* is_crowd = input_data<bool>(crowds);
  const auto *d = input_data<int64_t>(found_offsets), *g = input_data<int64_t>(true_offsets);
  const int64_t groups = detection_offsets.numel() - 1;
  std::vector<int64_t> pairs(groups + 1, 0);
  for (int64_t n = 0; n < groups; ++n) pairs[n + 1] = pairs[n] + (d[n + 1] - d[n]) * (g[n + 1] - g[n]);
  Tensor result = uninitialised(boxes, {pairs[groups]});
  auto* to = output_data<double>(result);
  parallel_for(groups, kPairGrain / (1 + pairs[groups] / std::max<int64_t>(1, groups)),
               [&](int64_t begin, int64_t end) {
                 double* next = to + pairs[begin];
                 for (int64_t n = begin; n < end; ++n) {
                   for (int64_t i = d[n]; i < d[n + 1]; ++i) {
                     for (int64_t j = g[n]; j < g[n + 1]; ++j) *next++ = iou(from + 4 * i, of + 4 * j, is_crowd[j]);
                   }
                 }
               });
  return result;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("ragged_box_iou", TORCH_BOX(&pydlx::ragged_box_iou)); }
