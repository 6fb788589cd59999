// One vector register's worth of numbers, for the instruction set being compiled. Included by foreach_simd.h, once per
// instruction set, before the kernel file; no include guard.
//
// Vec<A> is the compiler's own vector type: + - * / work lane by lane, a comparison gives a lane mask, and
// `mask ? a : b` selects. Nothing here depends on the auto-vectoriser.

namespace pydlx {
namespace PYDLX_SIMD {

template <class A>
struct VecOf {
  typedef A type __attribute__((vector_size(PYDLX_SIMD_BYTES)));
  typedef A unaligned __attribute__((vector_size(PYDLX_SIMD_BYTES), aligned(alignof(A)), may_alias));
  using Bits = std::conditional_t<sizeof(A) == 4, uint32_t, uint64_t>;
  typedef Bits bits __attribute__((vector_size(PYDLX_SIMD_BYTES)));
};
template <class A>
using Vec = typename VecOf<A>::type;

template <class A>
constexpr int64_t kVecLanes = PYDLX_SIMD_BYTES / sizeof(A);

template <class A>
__attribute__((always_inline)) inline Vec<A> load(const A* from) {
  return *reinterpret_cast<const typename VecOf<A>::unaligned*>(from);
}

template <class A>
__attribute__((always_inline)) inline void store(A* to, const Vec<A>& value) {
  *reinterpret_cast<typename VecOf<A>::unaligned*>(to) = value;
}

template <class A>
__attribute__((always_inline)) inline Vec<A> splat(A value) {
  return value - Vec<A>{};
}

// Vectors needed for `count` numbers, in numbers.
template <class A>
constexpr int64_t round_to_vectors(int64_t count) {
  return (count + kVecLanes<A> - 1) / kVecLanes<A> * kVecLanes<A>;
}

// True in the lanes at, at + 1, ... that lie below `end`.
template <class A>
__attribute__((always_inline)) inline auto lanes_below(int64_t at, int64_t end) {
  typename VecOf<A>::bits lane;
  for (int64_t i = 0; i < kVecLanes<A>; ++i) lane[i] = static_cast<typename VecOf<A>::Bits>(at + i);
  return lane < static_cast<typename VecOf<A>::Bits>(end);
}

template <class A>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLowest = -87.0f;
  static constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.428606765330187e-6f;
  static constexpr int kMantissa = 23, kBias = 127, kDegree = 7;
};
template <>
struct ExpConstants<double> {
  static constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLowest = -708.0;
  static constexpr double kLn2High = 0.693147180369123816490, kLn2Low = 1.90821492927058770002e-10;
  static constexpr int kMantissa = 52, kBias = 1023, kDegree = 13;
};

template <class A>
constexpr A inverse_factorial(int n) {
  double product = 1;
  for (int k = 2; k <= n; ++k) product *= k;
  return static_cast<A>(1 / product);
}

// exp(x) for kLowest <= x <= 0 or NaN: 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2, exp(r) by its Taylor series,
// whose first dropped term is below half a unit in the last place. Adding kMagic rounds to an integer and leaves n in
// the low bits, from where it moves to the exponent. kLowest is where exp is about the smallest normal number.
template <class A>
__attribute__((always_inline)) inline Vec<A> exp_nonpositive(const Vec<A>& x) {
  using C = ExpConstants<A>;
  using Bits = typename VecOf<A>::Bits;
  const Vec<A> shifted = x * A(1.44269504088896340736) + C::kMagic;
  const Vec<A> n = shifted - C::kMagic;
  const Vec<A> r = (x - n * C::kLn2High) - n * C::kLn2Low;
  Vec<A> p = splat(inverse_factorial<A>(C::kDegree));
#pragma GCC unroll 16
  for (int k = C::kDegree - 1; k >= 0; --k) p = p * r + inverse_factorial<A>(k);
  return p * (Vec<A>)(((typename VecOf<A>::bits)shifted << C::kMantissa) + (Bits(C::kBias) << C::kMantissa));
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
