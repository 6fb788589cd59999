// Vector loads that widen float16, bfloat16 and bytes to float32, and stores that round to float16 and bfloat16 once.
// Included once per instruction set; no include guard. accumulate.h and tensor_utils.h must be included first.

namespace pydlx {
namespace PYDLX_SIMD {

// 16-bit elements, as many as Vec<float> has lanes, at any address.
typedef uint16_t Words __attribute__((vector_size(PYDLX_SIMD_BYTES / 2), aligned(2), may_alias));
typedef int16_t SignedWords __attribute__((vector_size(PYDLX_SIMD_BYTES / 2), aligned(2), may_alias));

// Loads kVecLanes elements.
template <class T>
__attribute__((always_inline)) inline Vec<accumulate_t<T>> load_wide(const T* from) {
  using A = accumulate_t<T>;
  if constexpr (std::is_same_v<T, A>) {
    return load(from);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    using Bits = typename VecOf<float>::bits;
    // The compiler's generic conversion takes five instructions instead of one.
#if PYDLX_SIMD_BYTES == 64
    const auto wide = __builtin_ia32_pmovzxwd512_mask(*reinterpret_cast<const SignedWords*>(from),
                                                      typename VecOf<int32_t>::type{}, 0xffff);
#elif PYDLX_SIMD_BYTES == 32
    const auto wide = __builtin_ia32_pmovzxwd256(*reinterpret_cast<const SignedWords*>(from));
#else
    const auto wide = __builtin_convertvector(*reinterpret_cast<const Words*>(from), Bits);
#endif
    return (Vec<float>)((Bits)wide << 16);
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    typedef uint8_t Bytes __attribute__((vector_size(PYDLX_SIMD_BYTES / 4), aligned(1), may_alias));
    return __builtin_convertvector(*reinterpret_cast<const Bytes*>(from), Vec<float>);
  } else {
#if PYDLX_SIMD_BYTES == 64
    return __builtin_ia32_vcvtph2ps512_mask(*reinterpret_cast<const SignedWords*>(from), Vec<float>{}, 0xffff, 4);
#elif PYDLX_SIMD_BYTES == 32
    return __builtin_ia32_vcvtph2ps256(*reinterpret_cast<const SignedWords*>(from));
#else
    Vec<float> wide;
    for (int64_t i = 0; i < kVecLanes<float>; ++i) wide[i] = static_cast<float>(from[i]);
    return wide;
#endif
  }
}

// The upper 16 bits of every lane.
template <size_t... I>
__attribute__((always_inline)) inline Words upper_words(const VecOf<float>::bits& bits, std::index_sequence<I...>) {
  typedef uint16_t Halves __attribute__((vector_size(PYDLX_SIMD_BYTES)));
  constexpr int kUpper = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
  return __builtin_shufflevector((Halves)bits, (Halves)bits, (2 * int(I) + kUpper)...);
}

// Stores kVecLanes elements, rounded to nearest even. With kExact the values must be representable in T, and are not
// rounded.
template <class T, bool kExact = false>
__attribute__((always_inline)) inline void store_narrow(T* to, const Vec<accumulate_t<T>>& value) {
  using A = accumulate_t<T>;
  if constexpr (std::is_same_v<T, A>) {
    store(to, value);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    using Bits = typename VecOf<float>::bits;
    Bits bits = (Bits)value;
    if constexpr (!kExact) {
      const Bits quiet_nan = bits - bits + 0x7fc00000;
      bits = value == value ? bits + 0x7fff + (bits >> 16 & 1) : quiet_nan;
    }
    *reinterpret_cast<Words*>(to) = upper_words(bits, std::make_index_sequence<kVecLanes<float>>());
  } else {
#if PYDLX_SIMD_BYTES == 64
    *reinterpret_cast<SignedWords*>(to) = __builtin_ia32_vcvtps2ph512_mask(value, 0, SignedWords{}, 0xffff);
#elif PYDLX_SIMD_BYTES == 32
    *reinterpret_cast<SignedWords*>(to) = __builtin_ia32_vcvtps2ph256(value, 0);
#else
    for (int64_t i = 0; i < kVecLanes<float>; ++i) to[i] = static_cast<Half>(value[i]);
#endif
  }
}

// Loads and stores whole vectors. store_exact takes only values that `load` returned, or zeros.
template <class T>
struct WholeVector {
  using Value = Vec<accumulate_t<T>>;
  __attribute__((always_inline)) Value load(const T* from) const { return load_wide(from); }
  __attribute__((always_inline)) void store(T* to, const Value& value) const { store_narrow(to, value); }
  __attribute__((always_inline)) void store_exact(T* to, const Value& value) const { store_narrow<T, true>(to, value); }
};

// Loads and stores the first `count` elements of a vector; the others are loaded as 0 and not stored.
template <class T>
struct PartVector {
  using Value = Vec<accumulate_t<T>>;
  int64_t count;

  Value load(const T* from) const {
    T cells[kVecLanes<accumulate_t<T>>] = {};
    for (int64_t i = 0; i < count; ++i) cells[i] = from[i];
    return load_wide(cells);
  }

  void store(T* to, const Value& value) const {
    T cells[kVecLanes<accumulate_t<T>>];
    store_narrow(cells, value);
    for (int64_t i = 0; i < count; ++i) to[i] = cells[i];
  }

  void store_exact(T* to, const Value& value) const { store(to, value); }
};

// Calls body(at, vector) for vectors that cover `count` elements: a PartVector for the remainder and WholeVectors for
// the others. With `descending` these go from last to first, for loops that also go through rows from last to first:
// processors prefetch memory that is read in one direction throughout.
template <class T, class Body>
__attribute__((always_inline)) inline void for_vectors(int64_t count, bool descending, const Body& body) {
  constexpr int64_t L = kVecLanes<accumulate_t<T>>;
  const int64_t whole = count / L * L;
  if (whole < count) body(whole, PartVector<T>{count - whole});
  const int64_t first = descending ? whole - L : 0, step = descending ? -L : L;
  for (int64_t i = 0, at = first; i < whole; i += L, at += step) body(at, WholeVector<T>{});
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
