// OKS on the CPU: what is prepared once per truth, work cutting, registration. The maths is in oks.h, the loops in
// oks_cpu_simd.h.
#include "oks/oks.h"

namespace pydlx {

// Detections that are compared together, at most; a whole number of vectors.
constexpr int64_t kOksBlock = 64;

template <class A>
struct OksPoint {
  int64_t k;
  A low[2], high[2];
  A falloff;
};

// What of one truth takes part: its visible points, or the box that stands in for all.
template <class A>
struct OksTarget {
  const OksRows<A>& rows;
  std::vector<A> scale;  // 1 / (8 sigma^2)
  std::vector<OksPoint<A>> points;
  int64_t count = 0;
  bool is_box = false;

  explicit OksTarget(const OksRows<A>& r) : rows(r), scale(r.points), points(r.points) {
    for (int64_t k = 0; k < r.points; ++k) scale[k] = 1 / (8 * r.sigmas[k] * r.sigmas[k]);
  }

  void prepare(int64_t row) {
    const A steepness = rows.steepness(row);
    const A* q = rows.truth + row * rows.points * 2;
    const bool* visible = rows.visible + row * rows.points;
    count = 0;
    for (int64_t k = 0; k < rows.points; ++k) {
      const A x = q[2 * k], y = q[2 * k + 1];
      points[count] = {k, {x, y}, {x, y}, scale[k] * steepness};
      count += visible[k];
    }
    is_box = count == 0 && rows.boxes;
    if (is_box) prepare_box(rows.boxes + row * 4, steepness);
  }

 private:
  void prepare_box(const A* box, A steepness) {
    const A x = box[0], y = box[1], width = box[2], height = box[3];
    for (; count < rows.points; ++count) {
      points[count] = {count, {x - width, y - height}, {x + 2 * width, y + 2 * height}, scale[count] * steepness};
    }
  }
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "oks/oks_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Exponentials that are worth a thread.
constexpr int64_t kGrain = 8192;

void add_blocks(const OksBlock& group, std::vector<OksBlock>& blocks) {
  if (group.truths == 0) return;
  for (int64_t first = 0; first < group.preds; first += kOksBlock) {
    blocks.push_back({group.pred + first, std::min(kOksBlock, group.preds - first), group.truth, group.truths,
                      group.place + first * group.truths});
  }
}

void run_blocks(const OksInput& input, const std::vector<OksBlock>& blocks, const Tensor& oks) {
  const int64_t count = static_cast<int64_t>(blocks.size());
  const int64_t cost = oks.numel() * input.sigmas.numel() / std::max<int64_t>(1, count);
  dispatch_full_precision(oks.scalar_type(), "oks", [&](auto zero) {
    using A = decltype(zero);
    const OksRows<A> rows = input.rows<A>();
    A* to = output_data<A>(oks);
    parallel_for(count, kGrain / std::max<int64_t>(1, cost), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(oks_blocks<A>)(rows, blocks.data() + begin, end - begin, to);
    });
  });
}

Tensor oks_ragged(const Tensor& pred, const Tensor& truth, const Tensor& visible, const Tensor& area,
                  const Tensor& sigmas, const std::optional<Tensor> boxes, const Tensor& pred_offsets,
                  const Tensor& truth_offsets, const Tensor& pair_offsets, int64_t pairs) {
  const OksInput input(pred, truth, visible, area, sigmas, boxes);
  const OksOffsets offsets(input, pred_offsets, truth_offsets, pair_offsets, pairs);
  Tensor oks = torch::stable::new_empty(pred, {pairs});
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

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("oks_ragged", TORCH_BOX(&pydlx::oks_ragged)); }
