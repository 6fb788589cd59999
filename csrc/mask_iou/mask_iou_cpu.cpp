// Intersection over union of masks, for many groups in one call.
//
// A mask is a list of spans [begin, end) of its pixels, counted column after column as COCO counts them; spans rise,
// and do not overlap. For a detection d and a truth g of the same group, with i the pixels in both,
//   iou = i / (area d + area g - i),   and where g is a crowd region   iou = i / area d;
// 0 where they share no pixel. Group n holds the masks [offsets[n], offsets[n + 1]) of either side; the result holds
// group after group the row-major (D_n, G_n) matrix.
//
//   spans (S, 2) and true_spans (S', 2) int32, span_offsets (D + 1,) and true_span_offsets (G + 1,) int64: the spans of
//   each mask; heights (D,) and true_heights (G,) int64, crowd (G,) bool, offsets (n + 1,) int64 -> (P,) float64.
// Bytes: 8 per span of a detection and of each truth whose box it meets, 8 per pair written.
//
// Masks whose boxes are apart share nothing; most pairs end there.
#include <algorithm>

#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {
namespace {

// Spans compared that are worth another thread.
constexpr int64_t kSpanGrain = int64_t{1} << 20;

struct Span {
  int32_t begin, end;
};

struct Mask {
  const Span* spans;
  int64_t count;
  int64_t area = 0;
  int32_t left = 0, right = -1, top = 0, bottom = -1;  // of its box, all included; nothing is in the box of no pixel

  bool apart_from(const Mask& other) const {
    return right < other.left || other.right < left || bottom < other.top || other.bottom < top;
  }
};

Mask measured(const Span* spans, int64_t count, int32_t height) {
  Mask mask{spans, count};
  if (count == 0) return mask;
  mask.left = spans[0].begin / height;
  mask.right = (spans[count - 1].end - 1) / height;
  mask.top = height - 1;
  mask.bottom = 0;
  for (int64_t k = 0; k < count; ++k) {
    const int32_t last = spans[k].end - 1, column = spans[k].begin / height;
    mask.area += spans[k].end - spans[k].begin;
    if (last / height != column) {  // over the foot of a column, so from its head to its foot
      mask.top = 0;
      mask.bottom = height - 1;
    } else {
      mask.top = std::min(mask.top, spans[k].begin - column * height);
      mask.bottom = std::max(mask.bottom, last - column * height);
    }
  }
  return mask;
}

int64_t shared_pixels(const Mask& a, const Mask& b) {
  int64_t shared = 0;
  const Span *one = a.spans, *other = b.spans, *one_end = one + a.count, *other_end = other + b.count;
  while (one < one_end && other < other_end) {
    const int32_t begin = std::max(one->begin, other->begin), end = std::min(one->end, other->end);
    shared += std::max(0, end - begin);
    const bool one_ends_first = one->end <= other->end;
    one += one_ends_first;
    other += !one_ends_first;
  }
  return shared;
}

double iou(const Mask& detection, const Mask& truth, bool crowd) {
  if (detection.apart_from(truth)) return 0;
  const int64_t shared = shared_pixels(detection, truth);
  if (shared == 0) return 0;
  const int64_t whole = crowd ? detection.area : detection.area + truth.area - shared;
  return static_cast<double>(shared) / static_cast<double>(whole);
}

// The masks of one side, whose tensors must outlive it.
std::vector<Mask> masks_of(const Tensor& spans, const Tensor& span_offsets, const Tensor& heights) {
  const auto* span = reinterpret_cast<const Span*>(input_data<int32_t>(spans));
  const auto *offset = input_data<int64_t>(span_offsets), *height = input_data<int64_t>(heights);
  std::vector<Mask> masks(heights.numel());
  parallel_for(heights.numel(), kSpanGrain / (1 + spans.size(0) / std::max<int64_t>(1, heights.numel())),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   masks[i] = measured(span + offset[i], offset[i + 1] - offset[i], static_cast<int32_t>(height[i]));
                 }
               });
  return masks;
}

// Requires what the loops rely on: offsets that stay within the spans, and heights that one can divide by.
void check_side(const Arguments& arguments, const char* spans_name, const Tensor& spans, const char* offsets_name,
                const Tensor& span_offsets, const char* heights_name, const Tensor& heights) {
  arguments.check(spans_name, spans, ScalarType::Int, {kAnySize, 2});
  arguments.check(heights_name, heights, ScalarType::Long, {kAnySize});
  arguments.check_offsets(offsets_name, span_offsets, spans.size(0));
  arguments.check_shape(offsets_name, span_offsets, {heights.size(0) + 1});
  const Tensor dense_heights = made_contiguous(heights);
  const auto* height = input_data<int64_t>(dense_heights);
  for (int64_t i = 0; i < heights.numel(); ++i) arguments.check_range(heights_name, height[i], 1, INT32_MAX);
}

Tensor ragged_mask_iou(const Tensor& spans_, const Tensor& span_offsets_, const Tensor& heights_,
                       const Tensor& true_spans_, const Tensor& true_span_offsets_, const Tensor& true_heights_,
                       const Tensor& crowd_, const Tensor& detection_offsets_, const Tensor& truth_offsets_) {
  const Arguments arguments("ragged_mask_iou", "spans", spans_);
  check_side(arguments, "spans", spans_, "span_offsets", span_offsets_, "heights", heights_);
  check_side(arguments, "true_spans", true_spans_, "true_span_offsets", true_span_offsets_, "true_heights",
             true_heights_);
  arguments.check("crowd", crowd_, ScalarType::Bool, {true_heights_.size(0)});
  arguments.check_offsets("detection_offsets", detection_offsets_, heights_.size(0));
  arguments.check_offsets("truth_offsets", truth_offsets_, true_heights_.size(0));
  arguments.check_shape("truth_offsets", truth_offsets_, detection_offsets_.sizes());

  const Tensor spans = made_contiguous(spans_), span_offsets = made_contiguous(span_offsets_),
               heights = made_contiguous(heights_), true_spans = made_contiguous(true_spans_),
               true_span_offsets = made_contiguous(true_span_offsets_), true_heights = made_contiguous(true_heights_),
               crowds = made_contiguous(crowd_);
  const Tensor detection_offsets = made_contiguous(detection_offsets_), truth_offsets = made_contiguous(truth_offsets_);
  const std::vector<Mask> found = masks_of(spans, span_offsets, heights),
                          truths = masks_of(true_spans, true_span_offsets, true_heights);
  const auto* crowd = input_data<bool>(crowds);
  const auto *d = input_data<int64_t>(detection_offsets), *g = input_data<int64_t>(truth_offsets);
  const int64_t groups = detection_offsets.numel() - 1;
  std::vector<int64_t> pairs(groups + 1, 0);
  for (int64_t n = 0; n < groups; ++n) pairs[n + 1] = pairs[n] + (d[n + 1] - d[n]) * (g[n + 1] - g[n]);
  Tensor result = uninitialised(spans, {pairs[groups]}, ScalarType::Double);
  auto* to = output_data<double>(result);
  const int64_t per_mask = 1 + (spans.size(0) + true_spans.size(0)) / std::max<int64_t>(1, found.size());
  const int64_t per_group = 1 + pairs[groups] * per_mask / std::max<int64_t>(1, groups);
  parallel_for(groups, kSpanGrain / per_group, [&](int64_t begin, int64_t end) {
    double* next = to + pairs[begin];
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t i = d[n]; i < d[n + 1]; ++i) {
        for (int64_t j = g[n]; j < g[n + 1]; ++j) *next++ = iou(found[i], truths[j], crowd[j]);
      }
    }
  });
  return result;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("ragged_mask_iou", TORCH_BOX(&pydlx::ragged_mask_iou)); }
