// The confusion matrix's loops. Included once per instruction set by confusion_matrix_cpu.cpp, which brings in every
// header this needs.
//
// `Code` holds classes + 1, `Pair` the square of the classes.

#include "common/widen_simd.h"
#include "confusion_matrix/labels_simd.h"
#include "confusion_matrix/logits_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Counts vectors of pixels. A pair is numbered classes * target + prediction; a pixel that does not count gets the
// number behind the last pair. Label maps being mostly constant, most vectors hold one pair only. The numbers of the
// others are read back from memory, faster than from the lanes of a register, but only after those of the next vector
// are there too, so that nobody waits for them.
template <class Pair, class Code, class Counters>
class PairCounts {
 public:
  PairCounts(Counters& counters, Code classes) : counters_(counters), classes_(classes) {
    for (auto& pairs : waiting_) std::fill_n(pairs, L, number(classes, 0));
  }

  // Targets and predictions are classes, or `classes` and 0.
  __attribute__((always_inline)) void add(const Vec<Code>& target, const Vec<Code>& pred) {
    alignas(64) Code t[L], p[L];
    store(t, target);
    store(p, pred);
    if (any((target ^ splat(t[0])) | (pred ^ splat(p[0])))) {
      for (int64_t l = 0; l < L; ++l) waiting_[turn_][l] = number(t[l], p[l]);
      turn_ ^= 1;
      add_each(waiting_[turn_], std::make_index_sequence<L>());
    } else {
      counters_.template add<0>(number(t[0], p[0]), L);
    }
  }

  void finish() { add_each(waiting_[turn_ ^ 1], std::make_index_sequence<L>()); }

 private:
  static constexpr int64_t L = kVecLanes<Code>;

  Pair number(Code target, Code pred) const { return static_cast<Pair>(Pair(classes_) * target + pred); }

  // Several pairs for each word read.
  template <size_t... I>
  __attribute__((always_inline)) void add_each(const Pair* pairs, std::index_sequence<I...>) {
    constexpr size_t kPerWord = sizeof(uint64_t) / sizeof(Pair);
    uint64_t words[L / kPerWord];
    std::memcpy(words, pairs, sizeof(words));
    (counters_.template add<I>(static_cast<Pair>(words[I / kPerWord] >> I % kPerWord * 8 * sizeof(Pair)), 1), ...);
  }

  Counters& counters_;
  Code classes_;
  alignas(64) Pair waiting_[2][L];
  int turn_ = 0;
};

// The labels of a strip of `count` pixels; `at` is the number of its first pixel.
template <class Target, class Pred>
struct Strip {
  const Target* target;
  const Pred* pred;
  int64_t at, count;
};

// Notes the strip's first invalid labels where no earlier ones are known.
template <class Code, class Target, class Pred>
__attribute__((noinline)) void locate(const Encoder<Code, Target>& target, const Encoder<Code, Pred>& pred,
                                      Code classes, const Strip<Target, Pred>& strip, FirstInvalid& found) {
  for (int64_t i = 0; i < strip.count && (found.target == kNone || found.pred == kNone); ++i) {
    const Code t = target.code(strip.target[i]), p = pred.code(strip.pred[i]);
    const uint64_t place = strip.at + i;
    if (t > classes) found.target = std::min(found.target, place);
    if (t < classes && p > classes) found.pred = std::min(found.pred, place);
  }
}

// Asks for the cache lines of the labels that the loop below reads a few vectors later. It reads a vector's lines in an
// order that suits its registers, which the processor does not foresee.
template <class Code, class Label>
__attribute__((always_inline)) inline void fetch_ahead(const Label* labels) {
  constexpr int64_t kLine = 64, kBytes = kVecLanes<Code> * sizeof(Label);
  const char* from = reinterpret_cast<const char*>(labels) + kFetchedAhead;
#pragma GCC unroll 16
  for (int64_t at = 0; at < kBytes; at += kLine) __builtin_prefetch(from + at);
}

// Counts a strip's pixels. The largest codes tell whether any label was invalid; predictions are checked only where the
// target is a class.
template <class Pair, class Code, class Counters, class Target, class Pred>
inline void count_strip(Counters& counters, const LabelRule& target_rule, const LabelRule& pred_rule,
                        const Strip<Target, Pred>& strip, FirstInvalid& found) {
  const Encoder<Code, Target> target(target_rule);
  const Encoder<Code, Pred> pred(pred_rule);
  const Code classes = static_cast<Code>(target_rule.classes);
  const Vec<Code> limit = splat(classes), zero{};
  Vec<Code> worst_target{}, worst_pred{};
  PairCounts<Pair, Code, Counters> pairs(counters, classes);
  for (int64_t i = 0; i < strip.count; i += kVecLanes<Code>) {
    fetch_ahead<Code>(strip.target + i);
    fetch_ahead<Code>(strip.pred + i);
    const Vec<Code> t = target(strip.target + i, strip.count - i), p = pred(strip.pred + i, strip.count - i);
    const Vec<Code> judged = t < limit ? p : zero;
    worst_target = t > worst_target ? t : worst_target;
    worst_pred = judged > worst_pred ? judged : worst_pred;
    const auto counts = (t < limit) & (p < limit);
    pairs.add(counts ? t : limit, counts ? p : zero);
  }
  pairs.finish();
  const bool news =
      (found.target == kNone && any(worst_target > limit)) || (found.pred == kNone && any(worst_pred > limit));
  if (news) locate(target, pred, classes, strip, found);
}

// The rule for a map's labels as they are read: see Encoder. What the type cannot hold need not be looked for.
inline LabelRule rule_as_read(const ConfusionMap& map, LabelRule rule) {
  dispatch_labels(map.dtype, [&](auto zero) {
    using Label = decltype(zero);
    rule.ignores &= static_cast<int64_t>(static_cast<Label>(rule.ignore)) == rule.ignore;
    rule.ignore = !rule.ignores ? 0 : sizeof(Label) == 2 ? static_cast<uint16_t>(rule.ignore) : rule.ignore;
  });
  return rule;
}

// Calls body with a pointer to the map's label number `at`, of 8 or 16 bits without their sign.
template <class Body>
inline void with_labels(const ConfusionMap& map, int64_t at, const Body& body) {
  switch (map.bytes) {
    case 1:
      return body(static_cast<const uint8_t*>(map.data) + at);
    case 2:
      return body(static_cast<const uint16_t*>(map.data) + at);
    case 4:
      return body(static_cast<const int32_t*>(map.data) + at);
    default:
      return body(static_cast<const int64_t*>(map.data) + at);
  }
}

// Strips [begin, end) of all images, of `pixels` each.
template <class Code, class Pair, class Counters>
inline void count_strips(const ConfusionTask& task, ConfusionTotals& totals, int64_t pixels, int64_t begin,
                         int64_t end) {
  const int64_t per_image = (task.pixels + pixels - 1) / pixels;
  const LabelRule target_rule = rule_as_read(task.target, task.target_rule);
  alignas(64) Code winners[kLogitStrip];
  Counters counters(task, totals);
  FirstInvalid found;
  for (int64_t strip = begin; strip < end; ++strip) {
    const int64_t image = strip / per_image, first = strip % per_image * pixels;
    const int64_t count = std::min(pixels, task.pixels - first), at = image * task.pixels + first;
    if (strip == begin || (task.per_image && first == 0)) counters.open(task.per_image ? image : 0);
    with_labels(task.target, at, [&](auto* target) {
      const auto count_with = [&](auto* pred) {
        using Target = std::decay_t<decltype(*target)>;
        using Pred = std::decay_t<decltype(*pred)>;
        count_strip<Pair, Code>(counters, target_rule, task.pred_rule, Strip<Target, Pred>{target, pred, at, count},
                                found);
      };
      if (!task.pred.is_logits) return with_labels(task.pred, at, count_with);
      argmax(task.pred, task.classes(), image, first, count, winners);
      count_with(winners);
    });
    if (strip + 1 == end || (task.per_image && first + count == task.pixels)) counters.close();
  }
  totals.include(found);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
