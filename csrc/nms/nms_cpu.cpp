// Suppression on the CPU: threads, registration. The rules are in nms.h, the loops in nms_cpu_simd.h.
#include "nms/nms.h"

namespace pydlx {

// Small numbers that are equal where labels are: exact in any floating-point type, as labels may not be.
inline std::vector<int64_t> label_ranks(const int64_t* labels, int64_t n) {
  std::vector<int64_t> ranks(n, 0);
  if (!labels) return ranks;
  std::vector<int64_t> rows(n);
  std::iota(rows.begin(), rows.end(), 0);
  std::sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return labels[a] < labels[b]; });
  for (int64_t i = 1; i < n; ++i) {
    ranks[rows[i]] = ranks[rows[i - 1]] + (labels[rows[i]] != labels[rows[i - 1]]);
  }
  return ranks;
}

}  // namespace pydlx

#define PYDLX_SIMD_FILE "nms/nms_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Similarities that are worth a thread.
constexpr int64_t kGrain = 16384;

// Input is NmsBoxInput or NmsPoseInput.
template <class Input>
std::tuple<Tensor, Tensor> suppress(const Input& input, const NmsOptions& options) {
  auto [order, rescored] = nms_outputs(input.scores);
  const int64_t n = input.scores.size(1);
  int64_t* to = output_data<int64_t>(order);
  dispatch_full_precision(input.scores.scalar_type(), "nms", [&, &rescored = rescored](auto zero) {
    using A = decltype(zero);
    const auto items = input.template all<A>();
    const NmsRule<A> rule(options);
    parallel_for(input.scores.size(0), kGrain / std::max<int64_t>(1, n * n), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(nms_entries<A, std::decay_t<decltype(items)>>)(rule, items, input_data<A>(input.scores), n, to,
                                                                     output_data<A>(rescored), begin, end);
    });
  });
  return {order, rescored};
}

std::tuple<Tensor, Tensor> box_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor> labels,
                                   int64_t method, double sigma, double threshold, double score_threshold,
                                   double pixel_offset) {
  return suppress(NmsBoxInput(boxes, scores, labels, pixel_offset), {method, sigma, threshold, score_threshold});
}

std::tuple<Tensor, Tensor> pose_nms(const Tensor& points, const Tensor& scores, const Tensor& area,
                                    const Tensor& sigmas, int64_t method, double sigma, double threshold,
                                    double score_threshold) {
  return suppress(NmsPoseInput(points, scores, area, sigmas), {method, sigma, threshold, score_threshold});
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("box_nms", TORCH_BOX(&pydlx::box_nms));
  m.impl("pose_nms", TORCH_BOX(&pydlx::pose_nms));
}
