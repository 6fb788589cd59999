// Confusion matrices on the CPU: counters, threads, registration. The maths is in confusion_matrix.h, the loops in
// confusion_matrix_cpu_simd.h.
#include <cstring>
#include <functional>
#include <mutex>

#include "confusion_matrix/confusion_matrix.h"

namespace pydlx {

// The most pixels that are looked at together. Of logits the running maxima stay in the first-level cache; of labels
// nothing is kept, and a strip is long enough for its beginning and its end not to matter.
constexpr int64_t kLogitStrip = 1024, kLabelStrip = 16384;

// How many bytes ahead of its reads a loop asks for labels.
constexpr int64_t kFetchedAhead = 4096;

// Up to here codes fit into 8 bits, pairs into 16, and every thread has counters of its own.
constexpr int64_t kMostNarrowClasses = 254;

// The places of the first invalid labels; -1, which as an unsigned number is the largest, where there is none.
constexpr uint64_t kNone = ~uint64_t{0};

struct FirstInvalid {
  uint64_t target = kNone, pred = kNone;

  void include(const FirstInvalid& other) {
    target = std::min(target, other.target);
    pred = std::min(pred, other.pred);
  }
};

// The results, to which threads add one at a time. Starting them by torch's operators would take longer than to count a
// small image.
struct ConfusionTotals {
  int64_t* counts;
  uint64_t* invalid;
  std::mutex mutex;

  explicit ConfusionTotals(const ConfusionCall& call)
      : counts(output_data<int64_t>(call.counts)), invalid(output_data<uint64_t>(call.invalid)) {
    std::fill_n(counts, call.counts.numel(), 0);
    std::fill_n(invalid, 2, kNone);
  }

  void include(const FirstInvalid& found) {
    const std::lock_guard<std::mutex> lock(mutex);
    FirstInvalid all{invalid[0], invalid[1]};
    all.include(found);
    invalid[0] = all.target;
    invalid[1] = all.pred;
  }
};

// A thread's own counters, and one more for pixels that do not count. Neighbours are mostly of one pair, and to
// increment the counter that was incremented just before is a round trip to the cache; so small tables are kept four
// times and used in turn.
class OwnCounters {
 public:
  OwnCounters(const ConfusionTask& task, ConfusionTotals& all)
      : bins_(task.bins()), copies_(bins_ <= 1024 ? kTurns : 1), table_(copies_ * (bins_ + 1)), all_(all) {
    for (int64_t i = 0; i < kTurns; ++i) turn_[i] = table_.data() + i % copies_ * (bins_ + 1);
  }

  // What is added from here on belongs to this matrix.
  void open(int64_t matrix) { matrix_ = all_.counts + matrix * bins_; }

  template <int64_t kTurn>
  void add(int64_t pair, int64_t times) {
    turn_[kTurn % kTurns][pair] += times;
  }

  void close() {
    const std::lock_guard<std::mutex> lock(all_.mutex);
    for (int64_t copy = 0; copy < copies_; ++copy) {
      const int64_t* counts = table_.data() + copy * (bins_ + 1);
      std::transform(counts, counts + bins_, matrix_, matrix_, std::plus<>());
    }
    std::fill(table_.begin(), table_.end(), 0);
  }

 private:
  static constexpr int64_t kTurns = 4;

  int64_t bins_, copies_;
  std::vector<int64_t> table_;
  int64_t* turn_[kTurns];
  ConfusionTotals& all_;
  int64_t* matrix_ = nullptr;
};

// The counters of a matrix so large that threads share it: the result itself, incremented atomically.
class SharedCounters {
 public:
  SharedCounters(const ConfusionTask& task, ConfusionTotals& all) : bins_(task.bins()), all_(all) {}

  void open(int64_t matrix) { matrix_ = all_.counts + matrix * bins_; }

  template <int64_t>
  void add(int64_t pair, int64_t times) {
    if (pair < bins_) __atomic_fetch_add(matrix_ + pair, times, __ATOMIC_RELAXED);
  }

  void close() {}

 private:
  int64_t bins_;
  ConfusionTotals& all_;
  int64_t* matrix_ = nullptr;
};

inline int64_t strip_pixels(const ConfusionTask& task) { return task.pred.is_logits ? kLogitStrip : kLabelStrip; }

}  // namespace pydlx

#define PYDLX_SIMD_FILE "confusion_matrix/confusion_matrix_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Labels or logits that are worth a thread.
constexpr int64_t kGrain = 65536;

std::tuple<Tensor, Tensor> confusion_matrix(const Tensor& pred, const Tensor& target, int64_t classes,
                                            const std::optional<int64_t> ignore, bool per_image) {
  const ConfusionCall call(pred, target, classes, ignore, per_image);
  const ConfusionTask& task = call.task;
  const int64_t strip = strip_pixels(task), strips = task.images * ((task.pixels + strip - 1) / strip);
  const int64_t cost = std::min(task.pixels, strip) * (task.pred.is_logits ? classes : 1);
  ConfusionTotals totals(call);
  parallel_for(strips, kGrain / std::max<int64_t>(1, cost), [&](int64_t begin, int64_t end) {
    if (classes <= kMostNarrowClasses) {
      PYDLX_SIMD_CALL(count_strips<uint8_t, uint16_t, OwnCounters>)(task, totals, strip, begin, end);
    } else {
      PYDLX_SIMD_CALL(count_strips<uint16_t, uint32_t, SharedCounters>)(task, totals, strip, begin, end);
    }
  });
  return {call.counts, call.invalid};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("confusion_matrix", TORCH_BOX(&pydlx::confusion_matrix)); }
