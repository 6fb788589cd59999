// Vectors of elements as kernels compute with them: float16, bfloat16 and bytes are widened to float32 as they are
// read; float16 and bfloat16 are rounded once as they are written. Included once per instruction set; no include guard.
// accumulate.h and tensor_utils.h come first.

namespace pydlx {
namespace PYDLX_SIMD {

// A vector's worth of 16-bit cells, at any address.
typedef uint16_t Words __attribute__((vector_size(PYDLX_SIMD_BYTES / 2), aligned(2), may_alias));
typedef int16_t SignedWords __attribute__((vector_size(PYDLX_SIMD_BYTES / 2), aligned(2), may_alias));

// kVecLanes cells from `from`.
template <class T>
__attribute__((always_inline)) inline Vec<accumulate_t<T>> load_wide(const T* from) {
  using A = accumulate_t<T>;
  if constexpr (std::is_same_v<T, A>) {
    return load(from);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    using Bits = typename VecOf<float>::bits;
    // The compiler's own conversion takes five instructions where one will do.
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

// kVecLanes cells to `to`, rounded to nearest even. With kExact they are cells of type T as load_wide gave them.
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

// Reads and writes whole vectors of cells; store_exact writes what load gave, or zeros.
template <class T>
struct WholeVector {
  using Value = Vec<accumulate_t<T>>;
  __attribute__((always_inline)) Value load(const T* from) const { return load_wide(from); }
  __attribute__((always_inline)) void store(T* to, const Value& value) const { store_narrow(to, value); }
  __attribute__((always_inline)) void store_exact(T* to, const Value& value) const { store_narrow<T, true>(to, value); }
};

// Reads and writes the first `count` cells of a vector; the others are 0.
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

// Calls body(at, vector) with a WholeVector for each that fits into `count` cells and a PartVector for the rest. With
// `descending` the whole ones come last to first: a walk through memory that goes down all the way is foreseen by the
// processor, one that goes up within rows and down from row to row is not.
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
