// Suppression on the CPU: threads, registration. The rules are in nms.h, the loops in nms_cpu_simd.h.
#include "common/ranked.h"
#include "nms/nms.h"

namespace pydlx {

template <class A>
std::vector<int64_t> rows_by_falling_score(const A* scores, int64_t n) {
  std::vector<int64_t> rows(n);
  std::iota(rows.begin(), rows.end(), 0);
  const auto before = [&](int64_t a, int64_t b) { return is_higher(scores[a], scores[b]); };
  if (!std::is_sorted(rows.begin(), rows.end(), before)) std::stable_sort(rows.begin(), rows.end(), before);
  return rows;
}

// Maps labels to small integers, which are exact in any floating-point type; labels may not be.
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

// The least number of similarities per thread.
constexpr int64_t kGrain = 16384;

// Input is NmsBoxInput or NmsPoseInput.
template <class Input>
NmsTensors suppress(const Input& input, const NmsOptions& options) {
  const NmsOutput output(input.scores);
  const int64_t n = input.scores.size(1);
  dispatch_full_precision(input.scores.scalar_type(), "nms", [&](auto zero) {
    using A = decltype(zero);
    const auto items = input.template all<A>();
    const NmsRule<A> rule(options);
    const NmsResult<A> to = output.result<A>();
    parallel_for(input.scores.size(0), kGrain / std::max<int64_t>(1, n * n), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(nms_entries<A, std::decay_t<decltype(items)>>)(rule, items, input_data<A>(input.scores), n, to,
                                                                     begin, end);
    });
  });
  return output.tensors();
}

NmsTensors box_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor> labels, int64_t method,
                   double sigma, double threshold, double score_threshold, double pixel_offset) {
  return suppress(NmsBoxInput(boxes, scores, labels, pixel_offset), {method, sigma, threshold, score_threshold});
}

NmsTensors pose_nms(const Tensor& points, const Tensor& scores, const Tensor& area, const Tensor& sigmas,
                    int64_t method, double sigma, double threshold, double score_threshold) {
  return suppress(NmsPoseInput(points, scores, area, sigmas), {method, sigma, threshold, score_threshold});
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("box_nms", TORCH_BOX(&pydlx::box_nms));
  m.impl("pose_nms", TORCH_BOX(&pydlx::pose_nms));
}
