// Vectors of cells as kernels compute with them: float16 and bfloat16 are widened to float32 on the way in and rounded
// once on the way out. Included once per instruction set; no include guard. accumulate.h and tensor_utils.h come first.

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
    return (Vec<float>)(__builtin_convertvector(*reinterpret_cast<const Words*>(from), Bits) << 16);
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

// kVecLanes cells to `to`, rounded to nearest even; what came from load_wide is written back as it was.
template <class T>
__attribute__((always_inline)) inline void store_narrow(T* to, const Vec<accumulate_t<T>>& value) {
  using A = accumulate_t<T>;
  if constexpr (std::is_same_v<T, A>) {
    store(to, value);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    using Bits = typename VecOf<float>::bits;
    const Bits bits = (Bits)value;
    const Bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const Bits quiet_nan = bits - bits + 0x7fc0;
    *reinterpret_cast<Words*>(to) = __builtin_convertvector(value == value ? rounded : quiet_nan, Words);
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

// Reads and writes whole vectors of cells.
template <class T>
struct WholeVector {
  __attribute__((always_inline)) Vec<accumulate_t<T>> load(const T* from) const { return load_wide(from); }
  __attribute__((always_inline)) void store(T* to, const Vec<accumulate_t<T>>& value) const { store_narrow(to, value); }
};

// Reads and writes the first `count` cells of a vector; the others are 0.
template <class T>
struct PartVector {
  int64_t count;

  Vec<accumulate_t<T>> load(const T* from) const {
    T cells[kVecLanes<accumulate_t<T>>] = {};
    for (int64_t i = 0; i < count; ++i) cells[i] = from[i];
    return load_wide(cells);
  }

  void store(T* to, const Vec<accumulate_t<T>>& value) const {
    T cells[kVecLanes<accumulate_t<T>>];
    store_narrow(cells, value);
    for (int64_t i = 0; i < count; ++i) to[i] = cells[i];
  }
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
