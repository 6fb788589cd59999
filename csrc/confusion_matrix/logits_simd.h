// The arg-max over the classes of a strip of pixels. Included once per instruction set; no include guard. widen_simd.h
// comes first.

namespace pydlx {
namespace PYDLX_SIMD {

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
  alignas(64) A best[kLogitStrip];
  alignas(64) Number winner[kLogitStrip];
  for_vectors<T>(count, false, [&](int64_t at, const auto& vector) {
    store(best + at, vector.load(logits + at));
    store(winner + at, Bits{});
  });
  const auto follow = [&](int64_t c, auto together) {
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
  };
  int64_t c = 1;
  for (; c + kTogether <= classes; c += kTogether) follow(c, std::integral_constant<int64_t, kTogether>{});
  if (c < classes) follow(c, classes - c);
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

// The codes of `count` pixels from number `first` of an image.
template <class Code>
inline void argmax(const ConfusionMap& map, int64_t classes, int64_t image, int64_t first, int64_t count, Code* codes) {
  dispatch_floating(map.dtype, "confusion_matrix", [&](auto zero) {
    using T = decltype(zero);
    const T* logits = static_cast<const T*>(map.data) + image * map.image_stride + first * map.pixel_stride;
    if (map.class_stride == 1) return argmax_pixels<Code>(logits, classes, count, codes);
    argmax_planes<Code>(logits, map.class_stride, classes, count, codes);
  });
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
