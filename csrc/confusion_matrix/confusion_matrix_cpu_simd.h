// The confusion matrix's loops. Included once per instruction set by confusion_matrix_cpu.cpp, which brings in every
// header this needs.
//
// Of a strip of pixels, the codes of both maps (see LabelRule) are put into arrays in the first-level cache, from which
// pairs are counted. `Code` holds classes + 1, `Pair` the square of the classes.

#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// ---- codes

// The labels in 16 bits; false if one of them needs more.
inline bool narrow(const int64_t* labels, int64_t count, int16_t* narrowed) {
  uint64_t beyond = 0;
  for (int64_t i = 0; i < count; ++i) {
    beyond |= (static_cast<uint64_t>(labels[i]) + 0x8000) >> 16;
    narrowed[i] = static_cast<int16_t>(labels[i]);
  }
  return beyond == 0;
}

template <class Code, class Label>
inline void encode_labels(const LabelRule& rule, const Label* labels, int64_t count, Code* codes) {
  if constexpr (sizeof(Label) == 8) {  // which vectors can do little with
    alignas(64) int16_t narrowed[kStrip];
    if (narrow(labels, count, narrowed)) return encode_labels<Code>(rule, narrowed, count, codes);
  }
  // Without their sign, negative labels are too large to be classes.
  using Bits = std::make_unsigned_t<Label>;
  using Wide = std::conditional_t<(sizeof(Bits) > sizeof(Code)), Bits, Code>;
  const bool ignores = rule.ignores && static_cast<int64_t>(static_cast<Label>(rule.ignore)) == rule.ignore;
  // With nothing to ignore, class 0 is "replaced" by 0.
  const Wide classes = static_cast<Wide>(rule.classes), ignore = static_cast<Bits>(ignores ? rule.ignore : 0);
  const Code ignored = static_cast<Code>(ignores ? rule.classes : 0), invalid = static_cast<Code>(rule.classes + 1);
  for (int64_t i = 0; i < count; ++i) {
    const Wide label = static_cast<Bits>(labels[i]);
    const Code code = label < classes ? static_cast<Code>(label) : invalid;
    codes[i] = label == ignore ? ignored : code;
  }
}

// Whether logit `a` of a later class is to follow `best` as the maximum: it is greater, or the first NaN.
template <class V>
__attribute__((always_inline)) inline auto takes_over(const V& a, const V& best) {
  return ~(a <= best) & (best == best);
}

// Logits of one class lie side by side: a running maximum of all pixels, a few classes at a time.
constexpr int64_t kTogether = 6;

template <class Code, class T>
inline void argmax_planes(const T* logits, int64_t stride, int64_t classes, int64_t count, Code* codes) {
  using A = accumulate_t<T>;
  using Bits = typename VecOf<A>::bits;
  using Number = typename VecOf<A>::Bits;
  alignas(64) A best[kStrip];
  alignas(64) Number winner[kStrip];
  for_vectors<T>(count, false, [&](int64_t at, const auto& vector) {
    store(best + at, vector.load(logits + at));
    store(winner + at, Bits{});
  });
  for (int64_t c = 1; c < classes; c += kTogether) {
    const int64_t together = std::min(kTogether, classes - c);
    for_vectors<T>(count, false, [&](int64_t at, const auto& vector) {
      Vec<A> maximum = load(best + at);
      Bits holder = load(winner + at), number = splat(static_cast<Number>(c));
      for (int64_t k = 0; k < together; ++k, number += 1) {
        const Vec<A> a = vector.load(logits + (c + k) * stride + at);
        const auto takes = takes_over(a, maximum);
        maximum = takes ? a : maximum;
        holder = takes ? number : holder;
      }
      store(best + at, maximum);
      store(winner + at, holder);
    });
  }
  for (int64_t i = 0; i < count; ++i) codes[i] = static_cast<Code>(winner[i]);
}

// Logits of one pixel lie side by side.
template <class Code, class T>
inline Code argmax_pixel(const T* logits, int64_t classes) {
  using A = accumulate_t<T>;
  int64_t winner = 0;
  A best = static_cast<A>(logits[0]);
  for (int64_t c = 1; c < classes; ++c) {
    const A a = static_cast<A>(logits[c]);
    if (a <= best || best != best) continue;
    best = a;
    winner = c;
  }
  return static_cast<Code>(winner);
}

// The same for as many pixels as a vector has lanes. Squares of as many pixels and classes are transposed; the last one
// overlaps the one before, which changes nothing, for no class takes over from itself or from a later one like it.
template <class Code, class T>
inline void argmax_pixels(const T* logits, int64_t classes, int64_t count, Code* codes) {
  using A = accumulate_t<T>;
  using Bits = typename VecOf<A>::bits;
  using Number = typename VecOf<A>::Bits;
  constexpr int64_t L = kVecLanes<A>;
  int64_t first = 0;
  for (; classes >= L && first + L <= count; first += L) {
    const T* from = logits + first * classes;
    Vec<A> best{}, square[L];
    Bits winner{};
    for (int64_t block = 0; block < classes; block += L) {
      const int64_t c = std::min(block, classes - L);
      for (int64_t i = 0; i < L; ++i) square[i] = load_wide(from + i * classes + c);
      transpose<A>(square);
      if (c == 0) best = square[0];
      for (int64_t i = 0; i < L; ++i) {
        const auto takes = takes_over(square[i], best);
        best = takes ? square[i] : best;
        winner = takes ? splat(static_cast<Number>(c + i)) : winner;
      }
    }
    for (int64_t i = 0; i < L; ++i) codes[first + i] = static_cast<Code>(winner[i]);
  }
  for (; first < count; ++first) codes[first] = argmax_pixel<Code>(logits + first * classes, classes);
}

// The codes of `count` pixels from number `first` of an image, which is number `at` of them all.
template <class Code>
inline void encode(const ConfusionMap& map, const LabelRule& rule, int64_t image, int64_t first, int64_t at,
                   int64_t count, Code* codes) {
  if (map.is_logits) {
    return dispatch_floating(map.dtype, "confusion_matrix", [&](auto zero) {
      using T = decltype(zero);
      const T* logits = static_cast<const T*>(map.data) + image * map.image_stride + first * map.pixel_stride;
      if (map.class_stride == 1) return argmax_pixels<Code>(logits, rule.classes, count, codes);
      argmax_planes<Code>(logits, map.class_stride, rule.classes, count, codes);
    });
  }
  dispatch_labels(map.dtype, [&](auto zero) {
    using T = decltype(zero);
    encode_labels<Code>(rule, static_cast<const T*>(map.data) + at, count, codes);
  });
}

// ---- pairs

// Which maps hold invalid labels, in the order of FirstInvalid.
constexpr int kInTarget = 1, kInPred = 2;

// The number of a pair, classes * target + prediction; a pixel that does not count gets the number behind the last
// pair.
template <class Pair, class Code>
__attribute__((always_inline)) inline Pair pair_of(Code classes, Code target, Code pred) {
  const bool counts = (target < classes) & (pred < classes);
  return static_cast<Pair>(counts ? Pair(target) * classes + pred : Pair(classes) * classes);
}

// kInTarget or kInPred where a label is invalid; works on vectors as on numbers.
template <class V>
__attribute__((always_inline)) inline V invalid_in(const V& classes, const V& target, const V& pred) {
  const V nothing = classes ^ classes;
  const V in_pred = (target < classes) & (pred > classes) ? nothing + kInPred : nothing;
  return target > classes ? nothing + kInTarget : in_pred;
}

// Notes the strip's first invalid labels where no earlier ones are known; `at` is the strip's first pixel.
template <class Code>
inline void locate(int invalid, Code classes, const Code* target, const Code* pred, int64_t at, FirstInvalid& found) {
  int64_t i = 0;
  if ((invalid & kInTarget) && found.target == kNone) {
    while (target[i] <= classes) ++i;
    found.target = at + i;
  }
  if ((invalid & kInPred) && found.pred == kNone) {
    for (i = 0; target[i] >= classes || pred[i] <= classes;) ++i;
    found.pred = at + i;
  }
}

template <class Counters, class Pair, size_t... I>
__attribute__((always_inline)) inline void add_each(Counters& counters, const Pair* pairs, std::index_sequence<I...>) {
  (counters.template add<I>(pairs[I], 1), ...);
}

// Counts whole vectors of pixels, and returns which maps hold invalid labels. Label maps being mostly constant, most
// vectors hold one pair only; the pairs of the others are put down first, since numbers are read from memory faster
// than from the lanes of a register.
template <class Pair, class Code, class Counters>
inline int count_pairs(Counters& counters, Code classes, const Code* target, const Code* pred, int64_t count) {
  constexpr int64_t L = kVecLanes<Code>;
  alignas(64) Pair mixed[kStrip];
  int64_t end = 0;
  Vec<Code> invalid{};
  for (int64_t i = 0; i < count; i += L) {
    const Vec<Code> t = load(target + i), p = load(pred + i);
    invalid |= invalid_in<Vec<Code>>(splat(classes), t, p);
    if (any((t ^ splat(target[i])) | (p ^ splat(pred[i])))) {
      for (int64_t l = 0; l < L; ++l) mixed[end + l] = pair_of<Pair>(classes, target[i + l], pred[i + l]);
      end += L;
    } else {
      counters.template add<0>(pair_of<Pair>(classes, target[i], pred[i]), L);
    }
  }
  for (int64_t i = 0; i < end; i += L) add_each(counters, mixed + i, std::make_index_sequence<L>());
  int maps = 0;
  for (int64_t l = 0; l < L; ++l) maps |= invalid[l];
  return maps;
}

// Strips [begin, end) of all images, of `pixels` each.
template <class Code, class Pair, class Counters>
inline void count_strips(const ConfusionTask& task, ConfusionTotals& totals, int64_t pixels, int64_t begin,
                         int64_t end) {
  constexpr int64_t L = kVecLanes<Code>;
  const int64_t per_image = (task.pixels + pixels - 1) / pixels;
  const Code classes = static_cast<Code>(task.classes());
  alignas(64) Code target[kStrip], pred[kStrip];
  Counters counters(task, totals);
  FirstInvalid found;
  for (int64_t strip = begin; strip < end; ++strip) {
    const int64_t image = strip / per_image, first = strip % per_image * pixels;
    const int64_t count = std::min(pixels, task.pixels - first), at = image * task.pixels + first;
    if (strip == begin || (task.per_image && first == 0)) counters.open(task.per_image ? image : 0);
    encode(task.target, task.target_rule, image, first, at, count, target);
    encode(task.pred, task.pred_rule, image, first, at, count, pred);
    const int64_t whole = (count + L - 1) / L * L;
    for (int64_t i = count; i < whole; ++i) target[i] = pred[i] = classes;  // ignored
    if (const int invalid = count_pairs<Pair>(counters, classes, target, pred, whole)) {
      locate(invalid, classes, target, pred, at, found);
    }
    if (strip + 1 == end || (task.per_image && first + count == task.pixels)) counters.close();
  }
  totals.include(found);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
