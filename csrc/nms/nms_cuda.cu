// Suppression on CUDA: launches and registration. The kernels are in nms.cuh, nms_hard.cuh and nms_soft.cuh.
#include "common/launch.cuh"
#include "nms/nms_hard.cuh"
#include "nms/nms_soft.cuh"

namespace pydlx {
namespace {

// Up to this many rows, soft suppression uses blocks of kFewThreads.
constexpr int kFewRows = 512, kFewThreads = 256;
template <class A>
constexpr int kManyThreads = sizeof(A) > 4 ? 512 : 1024;

// Up to this many words, the sweep of hard suppression uses blocks of kFewSweepThreads.
constexpr int kFewWords = 8, kFewSweepThreads = 128;

// The most rows (indices have 32 bits), and the most tiles of 64 rows in a grid.
constexpr int64_t kMostRows = INT32_MAX - kNmsSweepThreads, kMaxTiles = 65535;

// A batch of n rows in order of descending score, the input of both kinds of suppression.
template <class A, class Items>
struct NmsWork {
  Items items;
  int64_t batch;
  int n;
  A* falling;
  const int* rows;
  NmsResult<A> to;
  cudaStream_t stream;

  unsigned blocks() const { return static_cast<unsigned>(std::min(batch, kMaxBlocks)); }
};

template <class A, class Items>
void suppress_hard(const NmsWork<A, Items>& work, const NmsRule<A>& rule, const Tensor& like) {
  NmsBand band{work.n, (work.n + kNmsWord - 1) / kNmsWord, 0, 0};
  // As many whole words of rows as fit into the limit.
  const int64_t bytes_of_word = work.batch * band.words * int64_t{kNmsWord} * static_cast<int64_t>(sizeof(NmsWord));
  const int64_t most = std::clamp<int64_t>(kNmsMaskBytes / bytes_of_word, 1, std::min<int64_t>(band.words, kMaxTiles));
  const Tensor mask = uninitialised(like, {work.batch * most * kNmsWord * band.words}, ScalarType::Long);
  const Tensor dropped = uninitialised(like, {work.batch * band.words}, ScalarType::Long);
  auto* const bits = static_cast<NmsWord*>(mask.mutable_data_ptr());
  const int threads = band.words <= kFewWords ? kFewSweepThreads : kNmsSweepThreads;
  for (; band.first < work.n; band.first += band.count) {
    band.count = static_cast<int>(std::min<int64_t>(most * kNmsWord, work.n - band.first));
    const dim3 grid((band.words + kNmsWordsOfBlock - 1) / kNmsWordsOfBlock, (band.count + kNmsWord - 1) / kNmsWord,
                    work.blocks());
    PYDLX_LAUNCH((nms_mask_kernel<A, Items>), grid, dim3(kNmsWord, kNmsWordsOfBlock), 0, work.stream, work.items,
                 work.batch, band, NmsLimit<A>(rule.threshold), bits);
    PYDLX_LAUNCH(nms_sweep_kernel<A>, work.blocks(), threads, 0, work.stream, rule, work.batch, band, bits,
                 work.falling, work.rows, static_cast<NmsWord*>(dropped.mutable_data_ptr()), work.to);
  }
}

template <class A, class Items>
void suppress_soft(const NmsWork<A, Items>& work, const NmsRule<A>& rule) {
  const auto run = [&](auto kernel, int threads) {
    PYDLX_LAUNCH(kernel, work.blocks(), threads, 0, work.stream, rule, work.items, work.batch, work.n, work.falling,
                 work.rows, work.to);
  };
  if (work.n <= kFewRows) return run(nms_soft_kernel<kFewThreads, A, Items>, kFewThreads);
  run(nms_soft_kernel<kManyThreads<A>, A, Items>, kManyThreads<A>);
}

// Workspaces for sorted rows: for boxes their copies, for poses the scale of each point.
struct NmsRoom {
  Tensor first, second;

  NmsRoom(const NmsBoxInput& input, int64_t batch, int64_t n) : first(uninitialised(input.scores, {batch, n, 4})) {
    if (input.labels) second = uninitialised(input.scores, {batch, n}, ScalarType::Long);
  }
  NmsRoom(const NmsPoseInput& input, int64_t, int64_t) : first(uninitialised(input.sigmas, input.sigmas.sizes())) {}

  template <class A>
  BoxesByScore<A> items(const NmsBoxes<A>& all, const int*) const {
    return {all, static_cast<Vector<A, 4>*>(first.mutable_data_ptr()),
            all.labels ? output_data<int64_t>(second) : nullptr};
  }
  template <class A>
  PosesByScore<A> items(const NmsPoses<A>& all, const int* rows) const {
    return {all, rows, output_data<A>(first)};
  }
};

// Input is NmsBoxInput or NmsPoseInput.
template <class Input>
NmsTensors suppress(const Input& input, const NmsOptions& options, const DeviceScope& scope) {
  const NmsOutput output(input.scores);
  const int64_t batch = input.scores.size(0), n = input.scores.size(1);
  STD_TORCH_CHECK(n <= kMostRows, "nms: at most ", kMostRows, " rows, got ", n);
  if (batch == 0) return output.tensors();
  if (n == 0) return {output.order, output.rescored, torch::stable::fill_(output.taken, 0)};
  const NmsRoom room(input, batch, n);
  const Tensor falling = uninitialised(input.scores, {batch, n}),
               rows = uninitialised(input.scores, {batch, n}, ScalarType::Int);
  dispatch_full_precision(input.scores.scalar_type(), "nms", [&](auto zero) {
    using A = decltype(zero);
    const NmsRule<A> rule(options);
    const auto items = room.items(input.template all<A>(), input_data<int>(rows));
    using Items = std::decay_t<decltype(items)>;
    const NmsWork<A, Items> work{
        items,         batch, static_cast<int>(n), output_data<A>(falling), input_data<int>(rows), output.result<A>(),
        scope.stream()};
    const dim3 grid((work.n + kWarp - 1) / kWarp, work.blocks());
    PYDLX_LAUNCH((nms_sort_kernel<A, Items>), grid, dim3(kWarp, kSortParts), 0, work.stream,
                 input_data<A>(input.scores), batch, work.n, items, output_data<int>(rows), work.falling);
    if (rule.method == NmsMethod::kHard) {
      suppress_hard(work, rule, input.scores);
    } else {
      suppress_soft(work, rule);
    }
  });
  check_launch("nms");
  return output.tensors();
}

NmsTensors box_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor> labels, int64_t method,
                   double sigma, double threshold, double score_threshold, double pixel_offset) {
  const DeviceScope scope(scores);
  return suppress(NmsBoxInput(boxes, scores, labels, pixel_offset), {method, sigma, threshold, score_threshold}, scope);
}

NmsTensors pose_nms(const Tensor& points, const Tensor& scores, const Tensor& area, const Tensor& sigmas,
                    int64_t method, double sigma, double threshold, double score_threshold) {
  const DeviceScope scope(scores);
  return suppress(NmsPoseInput(points, scores, area, sigmas), {method, sigma, threshold, score_threshold}, scope);
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("box_nms", TORCH_BOX(&pydlx::box_nms));
  m.impl("pose_nms", TORCH_BOX(&pydlx::pose_nms));
}
