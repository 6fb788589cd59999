// OKS on the CPU: preparation of truths, work cutting, registration. The maths is in oks.h, the loops in
// oks_cpu_simd.h.
#include "oks/oks.h"

namespace pydlx {

// The most detections that are compared together; a multiple of all vectors.
constexpr int64_t kOksBlock = 64;

// Pairs that are computed together.
constexpr int64_t kOksPairs = 64;

template <class A>
struct OksPoint {
  int64_t k;
  A low[2], high[2];
  A falloff;
};

// The points of one truth that count, prepared for comparison with many detections.
template <class A>
struct OksTarget {
  std::vector<OksPoint<A>> points;
  int64_t count = 0;
  bool is_box = false;

  explicit OksTarget(int64_t capacity) : points(capacity) {}

  void prepare(const OksTruth<A>& truth, const std::vector<A>& scale) {
    count = 0;
    is_box = truth.box != nullptr;
    for (int64_t k = 0; k < static_cast<int64_t>(points.size()); ++k) {
      if (!truth.counts(k)) continue;
      points[count++] = {
          k, {truth.low(k, 0), truth.low(k, 1)}, {truth.high(k, 0), truth.high(k, 1)}, truth.steepness * scale[k]};
    }
  }
};

// Output pointers of the gradients, which must start as zeros. An area's gradient is a sum over all detections, which
// may cancel.
template <class A>
struct OksGradients {
  A *pred, *truth;
  double* areas;
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "oks/oks_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The least number of exponentials per thread.
constexpr int64_t kGrain = 8192;

void add_blocks(const OksBlock& group, std::vector<OksBlock>& blocks) {
  if (group.truths == 0) return;
  for (int64_t first = 0; first < group.preds; first += kOksBlock) {
    blocks.push_back({group.pred + first, std::min(kOksBlock, group.preds - first), group.truth, group.truths,
                      group.place + first * group.truths});
  }
}

template <class A>
std::vector<A> scales(const OksRows<A>& rows) {
  std::vector<A> scale(rows.points);
  for (int64_t k = 0; k < rows.points; ++k) scale[k] = rows.scale(k);
  return scale;
}

void run_blocks(const OksInput& input, const std::vector<OksBlock>& blocks, const Tensor& oks) {
  const int64_t count = static_cast<int64_t>(blocks.size());
  const int64_t cost = oks.numel() * input.sigmas.numel() / std::max<int64_t>(1, count);
  dispatch_full_precision(oks.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    const OksRows<A> rows = input.rows<A>();
    const std::vector<A> scale = scales(rows);
    A* to = output_data<A>(oks);
    parallel_for(count, kGrain / std::max<int64_t>(1, cost), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(oks_blocks<A>)(rows, scale, blocks.data() + begin, end - begin, to);
    });
  });
}

// With fewer detections per group than this, most lanes of a block would be empty.
constexpr int64_t kFewDetections = 4;

void run_pairs(const OksInput& input, const OksSizes& sizes, const Tensor& oks) {
  dispatch_full_precision(oks.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    const OksRows<A> rows = input.rows<A>();
    const std::vector<A> scale = scales(rows);
    A* to = output_data<A>(oks);
    parallel_for(sizes.pairs(), kGrain / std::max<int64_t>(1, sizes.points), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(oks_pairs<A>)(rows, scale, sizes, to, begin, end);
    });
  });
}

Tensor oks(const Tensor& pred, const Tensor& truth, const Tensor& visible, const Tensor& area, const Tensor& sigmas,
           const std::optional<Tensor> boxes) {
  const OksInput input(4, pred, truth, visible, area, sigmas, boxes);
  const OksSizes sizes(input);
  Tensor similarities = uninitialised(pred, {sizes.groups, sizes.preds, sizes.truths});
  if (sizes.preds < kFewDetections) {
    run_pairs(input, sizes, similarities);
    return similarities;
  }
  std::vector<OksBlock> blocks;
  for (int64_t b = 0; b < sizes.groups; ++b) {
    add_blocks({b * sizes.preds, sizes.preds, b * sizes.truths, sizes.truths, b * sizes.preds * sizes.truths}, blocks);
  }
  run_blocks(input, blocks, similarities);
  return similarities;
}

std::tuple<Tensor, Tensor, Tensor> oks_backward(const Tensor& grad_output, const Tensor& pred, const Tensor& truth,
                                                const Tensor& visible, const Tensor& area, const Tensor& sigmas,
                                                const std::optional<Tensor> boxes, bool wants_pred, bool wants_truth) {
  const OksInput input(4, pred, truth, visible, area, sigmas, boxes);
  const OksSizes sizes(input);
  const Tensor grad = oks_gradient(input, sizes, grad_output);
  Tensor dpred = torch::stable::new_zeros(pred, oks_shape(pred)),
         dtruth = torch::stable::new_zeros(pred, oks_shape(truth)), darea = uninitialised(pred, oks_shape(area));
  dispatch_full_precision(pred.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    const OksRows<A> rows = input.rows<A>();
    const std::vector<A> scale = scales(rows);
    std::vector<double> areas(sizes.groups * sizes.truths);
    const OksGradients<A> to{output_data<A>(dpred), output_data<A>(dtruth), areas.data()};
    const int64_t pairs = sizes.preds * sizes.truths;
    const int64_t cost = std::max<int64_t>(1, pairs * sizes.points);
    const A least_half = PYDLX_SIMD_CALL(oks_least_half<A>)(rows, scale, sizes, input_data<A>(grad));
    // Pairs of one group add to the same rows of the gradients, so one thread processes a whole group.
    parallel_for(sizes.groups, kGrain / cost, [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(oks_backward_groups<A>)(rows, scale, sizes, input_data<A>(grad), least_half, to, begin, end);
    });
    std::copy(areas.begin(), areas.end(), output_data<A>(darea));
  });
  // One pass gives both sides.
  const auto if_wanted = [&](bool wanted, const Tensor& x) { return wanted ? x : uninitialised(pred, {0}); };
  return {if_wanted(wants_pred, dpred), if_wanted(wants_truth, dtruth), if_wanted(wants_truth, darea)};
}

Tensor oks_ragged(const Tensor& pred, const Tensor& truth, const Tensor& visible, const Tensor& area,
                  const Tensor& sigmas, const std::optional<Tensor> boxes, const Tensor& pred_offsets,
                  const Tensor& truth_offsets, const Tensor& pair_offsets, int64_t pairs) {
  const OksInput input(3, pred, truth, visible, area, sigmas, boxes);
  const OksOffsets offsets(input, pred_offsets, truth_offsets, pair_offsets, pairs);
  offsets.check_values(input, pairs);
  Tensor oks = uninitialised(pred, {pairs});
  std::vector<OksBlock> blocks;
  for (int64_t i = 0; i < offsets.groups; ++i) {
    add_blocks(oks_group(input_data<int64_t>(offsets.pred), input_data<int64_t>(offsets.truth),
                         input_data<int64_t>(offsets.pair), i),
               blocks);
  }
  run_blocks(input, blocks, oks);
  return oks;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("oks", TORCH_BOX(&pydlx::oks));
  m.impl("_oks_backward", TORCH_BOX(&pydlx::oks_backward));
  m.impl("oks_ragged", TORCH_BOX(&pydlx::oks_ragged));
}
