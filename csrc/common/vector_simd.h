// SIMD vectors of one register, for the instruction set being compiled. Included by foreach_simd.h, once per
// instruction set, before the kernel file; no include guard.
//
// Vec<A> is the compiler's vector type: + - * / work lane by lane, a comparison gives a lane mask, and `mask ? a : b`
// selects. Nothing here depends on the auto-vectoriser.

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

// Returns the same value but hides it from the optimiser: g++ compiles the maximum of a vector and a constant to two
// instructions, but that of two unknown vectors to one.
template <class A>
__attribute__((always_inline)) inline Vec<A> opaque(Vec<A> value) {
#if PYDLX_X86_LEVELS
  asm("" : "+x"(value));
#endif
  return value;
}

// Even- and odd-numbered elements of the 2 * kVecLanes numbers in `low` and `high`.
template <class A>
__attribute__((always_inline)) inline std::pair<Vec<A>, Vec<A>> part_pairs(const Vec<A>& low, const Vec<A>& high) {
  typename VecOf<A>::bits even;
  for (int64_t i = 0; i < kVecLanes<A>; ++i) even[i] = static_cast<typename VecOf<A>::Bits>(2 * i);
  return {__builtin_shuffle(low, high, even), __builtin_shuffle(low, high, even + 1)};
}

// The inverse: the pairs (even[0], odd[0]), (even[1], odd[1]), ...
template <class A>
__attribute__((always_inline)) inline std::pair<Vec<A>, Vec<A>> join_pairs(const Vec<A>& even, const Vec<A>& odd) {
  typename VecOf<A>::bits low;
  for (int64_t i = 0; i < kVecLanes<A>; ++i) {
    low[i] = static_cast<typename VecOf<A>::Bits>(i / 2 + i % 2 * kVecLanes<A>);
  }
  return {__builtin_shuffle(even, odd, low), __builtin_shuffle(even, odd, low + kVecLanes<A> / 2)};
}

// Even- and odd-numbered elements of the 2 * kVecLanes numbers at `from`.
template <class A>
__attribute__((always_inline)) inline std::pair<Vec<A>, Vec<A>> load_pairs(const A* from) {
  return part_pairs<A>(load(from), load(from + kVecLanes<A>));
}

// Writes the pairs (even[0], odd[0]), (even[1], odd[1]), ...: 2 * kVecLanes numbers.
template <class A>
__attribute__((always_inline)) inline void store_pairs(A* to, const Vec<A>& even, const Vec<A>& odd) {
  const auto [low, high] = join_pairs<A>(even, odd);
  store(to, low);
  store(to + kVecLanes<A>, high);
}

// The next four functions separate and join pairs like those above, but within each 128-bit block of a register, which
// takes a single instruction, and with the two halves of a vector at different addresses. The lanes are then in "block
// order": lane i is element block_order<A>(i) of the vector in natural order.
template <class A>
constexpr int64_t kBlockLanes = 16 / sizeof(A);

template <class A>
constexpr int64_t block_order(int64_t lane) {
  const int64_t block = lane / kBlockLanes<A>, at = lane % kBlockLanes<A>, half = kBlockLanes<A> / 2;
  return block * half + at % half + at / half * (kVecLanes<A> / 2);
}

// Even- and odd-numbered elements of the kVecLanes numbers at `low`, then of those at `high`; in block order.
template <class A>
__attribute__((always_inline)) inline std::pair<Vec<A>, Vec<A>> load_block_pairs(const A* low, const A* high) {
  typename VecOf<A>::bits even;
  for (int64_t i = 0; i < kVecLanes<A>; ++i) even[i] = static_cast<typename VecOf<A>::Bits>(2 * block_order<A>(i));
  const Vec<A> first = load(low), second = load(high);
  return {__builtin_shuffle(first, second, even), __builtin_shuffle(first, second, even + 1)};
}

// The inverse.
template <class A>
__attribute__((always_inline)) inline void store_block_pairs(A* low, A* high, const Vec<A>& even, const Vec<A>& odd) {
  typename VecOf<A>::bits pairs;
  for (int64_t i = 0; i < kVecLanes<A>; ++i) {
    const int64_t block = i / kBlockLanes<A>, at = i % kBlockLanes<A>;
    pairs[i] = static_cast<typename VecOf<A>::Bits>(block * kBlockLanes<A> + at / 2 + at % 2 * kVecLanes<A>);
  }
  store(low, Vec<A>(__builtin_shuffle(even, odd, pairs)));
  store(high, Vec<A>(__builtin_shuffle(even, odd, pairs + kBlockLanes<A> / 2)));
}

template <class A, size_t... I>
__attribute__((always_inline)) inline Vec<A> join_block_halves(const A* low, const A* high, std::index_sequence<I...>) {
  typedef A Half __attribute__((vector_size(PYDLX_SIMD_BYTES / 2), aligned(alignof(A)), may_alias));
  return __builtin_shufflevector(*reinterpret_cast<const Half*>(low), *reinterpret_cast<const Half*>(high),
                                 int(block_order<A>(I))...);
}

// kVecLanes / 2 numbers at `low`, then as many at `high`; in block order. The halves are joined in registers, because
// one load of data that two stores have just written would stall (no store forwarding).
template <class A>
__attribute__((always_inline)) inline Vec<A> load_block_halves(const A* low, const A* high) {
  return join_block_halves<A>(low, high, std::make_index_sequence<kVecLanes<A>>());
}

// The inverse.
template <class A>
__attribute__((always_inline)) inline void store_block_halves(A* low, A* high, const Vec<A>& blocks) {
  typename VecOf<A>::bits lane;
  for (int64_t i = 0; i < kVecLanes<A>; ++i) lane[block_order<A>(i)] = static_cast<typename VecOf<A>::Bits>(i);
  const Vec<A> natural = __builtin_shuffle(blocks, lane);
  __builtin_memcpy(low, &natural, PYDLX_SIMD_BYTES / 2);
  __builtin_memcpy(high, reinterpret_cast<const char*>(&natural) + PYDLX_SIMD_BYTES / 2, PYDLX_SIMD_BYTES / 2);
}

// Transposes kVecLanes vectors as a square matrix, by log2(kVecLanes) perfect shuffles.
template <class T, size_t... I>
inline void interleave(const Vec<T>& a, const Vec<T>& b, Vec<T>* out, std::index_sequence<I...>) {
  constexpr int n = int(sizeof...(I));
  out[0] = __builtin_shufflevector(a, b, (int(I) / 2 + int(I) % 2 * n)...);
  out[1] = __builtin_shufflevector(a, b, (int(I) / 2 + n / 2 + int(I) % 2 * n)...);
}

template <class T>
inline void transpose(Vec<T>* v) {
  constexpr int n = int(kVecLanes<T>);
  Vec<T> t[n];
#pragma GCC unroll 4
  for (int size = n; size > 1; size /= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < n / 2; ++i) interleave<T>(v[i], v[i + n / 2], t + 2 * i, std::make_index_sequence<n>());
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) v[i] = t[i];
  }
}

template <class A>
__attribute__((always_inline)) inline A sum_of_lanes(const Vec<A>& v) {
  A sum = v[0];
#pragma GCC unroll 16
  for (int64_t lane = 1; lane < kVecLanes<A>; ++lane) sum += v[lane];
  return sum;
}

// The largest lane. NaN in lane 0 is returned, NaN in other lanes is ignored.
template <class A>
__attribute__((always_inline)) inline A largest_of_lanes(const Vec<A>& v) {
  A found = v[0];
#pragma GCC unroll 16
  for (int64_t lane = 1; lane < kVecLanes<A>; ++lane) found = v[lane] > found ? v[lane] : found;
  return found;
}

// True if any lane of the mask is set.
template <class Mask>
__attribute__((always_inline)) inline bool any(const Mask& mask) {
#if PYDLX_X86_LEVELS && PYDLX_SIMD_BYTES == 64
  typedef long long Words __attribute__((vector_size(64)));
  return __builtin_ia32_ptestmq512((Words)mask, (Words)mask, 0xff) != 0;
#elif PYDLX_X86_LEVELS && PYDLX_SIMD_BYTES == 32
  typedef long long Words __attribute__((vector_size(32)));
  return !__builtin_ia32_ptestz256((Words)mask, (Words)mask);
#else
  typedef uint64_t Words __attribute__((vector_size(PYDLX_SIMD_BYTES)));
  const Words words = (Words)mask;
  uint64_t found = 0;
  for (size_t i = 0; i < sizeof(words) / sizeof(found); ++i) found |= words[i];
  return found != 0;
#endif
}

template <class A>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLowest = -87.336f;
  static constexpr int kMantissa = 23, kDegree = 5;
  // Minimax for the relative error of 2^r on [-1/2, 1/2], which is 7.5e-8 (Remez exchange); highest power first.
  static constexpr float kPowers[] = {1.3276472e-3f, 9.6755413e-3f, 5.5507133e-2f,
                                      2.4022120e-1f, 6.9314697e-1f, 1.00000007f};
};
template <>
struct ExpConstants<double> {
  static constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLowest = -708.396;
  static constexpr int kMantissa = 52, kDegree = 11;
  // Minimax likewise, of degree 11, with error 3.1e-18.
  static constexpr double kPowers[] = {4.4352809446103363e-10, 7.074105626245659e-09,  1.0178198033328528e-07,
                                       1.321543308959463e-06,  1.5252733489960805e-05, 1.5403530462514614e-04,
                                       1.333355814678995e-03,  9.618129107588335e-03,  5.5504108664819925e-02,
                                       2.4022650695910155e-01, 6.931471805599453e-01,  1.0};
};

// exp(x) for kLowest <= x <= 0, as 2^n 2^r with n = round(x / ln 2). Adding kMagic rounds to an integer and leaves n in
// the low bits, from where it is added to the exponent; kLowest keeps the result a normal number. The absolute error is
// 1.3e-7 for float. The result for NaN is undefined.
template <class A, class C = ExpConstants<A>>
__attribute__((always_inline)) inline Vec<A> exp_nonpositive(const Vec<A>& x) {
  using BitVector = typename VecOf<A>::bits;
  constexpr A kLog2E = A(1.44269504088896340736);
  const Vec<A> shifted = x * kLog2E + C::kMagic;
  const Vec<A> r = x * kLog2E - (shifted - C::kMagic);
  Vec<A> p = splat(C::kPowers[0]);
#pragma GCC unroll 16
  for (int k = 1; k <= C::kDegree; ++k) p = p * r + C::kPowers[k];
  return (Vec<A>)((BitVector)p + ((BitVector)shifted << C::kMantissa));
}

// For when exp(0) must be exactly 1, which the float32 polynomial above misses by an ulp. This one is minimax under
// that condition, with an error of 1.6e-8.
template <class A>
struct ExactExpConstants : ExpConstants<A> {};
template <>
struct ExactExpConstants<float> : ExpConstants<float> {
  static constexpr int kDegree = 6;
  static constexpr float kPowers[] = {
      1.53551548e-4f, 1.33989356e-3f, 9.61842947e-3f, 5.55033237e-2f, 2.40226477e-1f, 6.93147182e-1f, 1.0f};
};

// exp(x) for x <= 0: exactly 1 at 0, exactly 0 if the result would not be a normal number, NaN for NaN.
template <class A>
__attribute__((always_inline)) inline Vec<A> exp_to_one(const Vec<A>& x) {
  using Bits = typename VecOf<A>::bits;
  const Vec<A> lowest = opaque<A>(splat(ExpConstants<A>::kLowest));
  const Vec<A> e = exp_nonpositive<A, ExactExpConstants<A>>(lowest > x ? lowest : x);
  return (Vec<A>)(((Bits)e & ~(Bits)(lowest > x)) | (Bits)(x != x));
}

// a - peak, clamped from below to kLowest for exp_nonpositive, so that a weight of 0 is never multiplied with -inf.
// With kCareful, inf - inf is 0; otherwise it gives NaN.
template <class A, bool kCareful>
__attribute__((always_inline)) inline Vec<A> distance_below(const Vec<A>& a, const Vec<A>& peak) {
  Vec<A> distance = a - peak;
  if constexpr (kCareful) distance = a == peak ? splat(A(0)) : distance;
  const Vec<A> lowest = opaque<A>(splat(ExpConstants<A>::kLowest));
  return lowest > distance ? lowest : distance;
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
