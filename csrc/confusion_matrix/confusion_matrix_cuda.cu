// Confusion matrices on CUDA: how the work is cut, launches and registration. The kernels are in confusion_matrix.cuh.
#include "common/launch.cuh"
#include "confusion_matrix/confusion_matrix.cuh"

namespace pydlx {
namespace {

// What a block may have of shared memory on every GPU. Logits ask for little where they can, for more threads to wait
// for memory at once; labels for many copies, because counters are what they wait for.
constexpr int64_t kMostTable = 48 * 1024, kLogitTable = 12 * 1024;

// Blocks that fill a large GPU twice, and pixels that make a table worth adding up. Wide tables are added
// up more rarely.
constexpr int64_t kBlocks = 528, kPackedBlocks = 264, kLogitBlocks = 2048;
constexpr int64_t kLeastPart = 8192, kLeastLogitPart = 2048, kMostPart = int64_t{1} << 30;

struct TableChoice {
  TableKind kind;
  int copies_log2;
  int64_t bytes;
};

// The largest number of copies, as its logarithm, of which `words` fit into `room`; -1 if not even one does.
int copies_within(int64_t room, int64_t words) {
  int log2 = 5;
  while (log2 >= 0 && (words << log2) * static_cast<int64_t>(sizeof(unsigned)) > room) --log2;
  return log2;
}

TableChoice choose_table(int64_t bins, int64_t room) {
  const auto choice = [](TableKind kind, int64_t words, int log2) {
    return TableChoice{kind, log2, (words << log2) * static_cast<int64_t>(sizeof(unsigned))};
  };
  constexpr int kLeastSpread = 3;
  const int spread = copies_within(room, bins);
  if (spread >= kLeastSpread) return choice(TableKind::kSpread, bins, spread);
  const int64_t packed_words = (bins + 1) / 2;
  const int packed = copies_within(room, packed_words);
  if (packed >= 0) return choice(TableKind::kPacked, packed_words, packed);
  if (copies_within(kMostTable, packed_words) >= 0) return choice(TableKind::kPacked, packed_words, 0);
  return {TableKind::kNone, 0, 0};
}

// Calls launch(std::integral_constant<TableKind, kind>{}).
template <class Launch>
void dispatch_table(TableKind kind, const Launch& launch) {
  switch (kind) {
    case TableKind::kSpread:
      return launch(std::integral_constant<TableKind, TableKind::kSpread>{});
    case TableKind::kPacked:
      return launch(std::integral_constant<TableKind, TableKind::kPacked>{});
    default:
      return launch(std::integral_constant<TableKind, TableKind::kNone>{});
  }
}

// Parts of a whole number of groups, about as many as `blocks` where each has `least` pixels.
ConfusionParts cut_into_parts(const ConfusionTask& task, TableKind kind, int64_t blocks, int64_t least) {
  blocks = std::min(blocks, kMaxBlocks);
  const int64_t wanted = (task.images * task.pixels + blocks - 1) / blocks;
  const int64_t most = kind == TableKind::kPacked ? kMostPacked : kMostPart;
  const int64_t part = std::min({std::max(wanted, least), most, task.pixels});
  const int64_t whole = (part + kMostGroup - 1) / kMostGroup * kMostGroup;
  return {(task.pixels + whole - 1) / whole, static_cast<int>(whole), 0};
}

// Labels from the beginning of a map to one that a vector of `group` labels can be read from.
int labels_to_vector(const ConfusionMap& map, int group) {
  const auto number = reinterpret_cast<uintptr_t>(map.data) / static_cast<uintptr_t>(map.bytes);
  return static_cast<int>((group - number % group) % group);
}

// Calls launch(std::integral_constant<int, group>{}) with how many labels of either map are read at once.
template <class Launch>
void dispatch_group(const ConfusionTask& task, const Launch& launch) {
  const int group = kVectorBytes / static_cast<int>(std::max(task.target.bytes, task.pred.bytes));
  if (labels_to_vector(task.target, group) != labels_to_vector(task.pred, group)) {
    return launch(std::integral_constant<int, 1>{});
  }
  switch (group) {
    case 2:
      return launch(std::integral_constant<int, 2>{});
    case 4:
      return launch(std::integral_constant<int, 4>{});
    case 8:
      return launch(std::integral_constant<int, 8>{});
    default:
      return launch(std::integral_constant<int, kMostGroup>{});
  }
}

void count_labels(const ConfusionTask& task, Counter* counts, Counter* invalid, cudaStream_t stream) {
  const TableChoice table = choose_table(task.bins(), kMostTable);
  const int64_t blocks = table.kind == TableKind::kPacked ? kPackedBlocks : kBlocks;
  ConfusionParts cut = cut_into_parts(task, table.kind, blocks, kLeastPart);
  dispatch_group(task, [&](auto group) {
    constexpr int kGroup = decltype(group)::value;
    cut.skew = labels_to_vector(task.target, kGroup);
    dispatch_table(table.kind, [&](auto kind) {
      PYDLX_LAUNCH((confusion_labels_kernel<kGroup, decltype(kind)::value>), blocks_for(cut.total(task), 1),
                   kLabelThreads, table.bytes, stream, task, cut, table.copies_log2, counts, invalid);
    });
  });
}

void count_logits(const ConfusionTask& task, Counter* counts, Counter* invalid, cudaStream_t stream) {
  const TableChoice table = choose_table(task.bins(), kLogitTable);
  const ConfusionParts cut = cut_into_parts(task, table.kind, kLogitBlocks, kLeastLogitPart);
  dispatch_floating(task.pred.dtype, "confusion_matrix", [&](auto zero) {
    dispatch_table(table.kind, [&](auto kind) {
      PYDLX_LAUNCH((confusion_logits_kernel<decltype(zero), decltype(kind)::value>), blocks_for(cut.total(task), 1),
                   kLogitThreads, table.bytes, stream, task, cut, table.copies_log2, counts, invalid);
    });
  });
}

std::tuple<Tensor, Tensor> confusion_matrix(const Tensor& pred, const Tensor& target, int64_t classes,
                                            const std::optional<int64_t> ignore, bool per_image) {
  const DeviceScope scope(target);
  ConfusionCall call(pred, target, classes, ignore, per_image);
  Counter *counts = output_data<Counter>(call.counts), *invalid = output_data<Counter>(call.invalid);
  const int64_t size = call.counts.numel();
  PYDLX_LAUNCH(confusion_clear_kernel, blocks_for(size + 2, kLabelThreads), kLabelThreads, 0, scope.stream(), counts,
               size, invalid);
  if (call.task.images > 0 && call.task.pixels > 0) {
    const auto count = call.task.pred.is_logits ? count_logits : count_labels;
    count(call.task, counts, invalid, scope.stream());
  }
  check_launch("confusion_matrix");
  return {call.counts, call.invalid};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("confusion_matrix", TORCH_BOX(&pydlx::confusion_matrix));
}
