// Loads and stores of vectors that start at any element, as in rows of odd width. Only aligned accesses are used: two
// of them make one unaligned vector.
#pragma once

#include <cstring>

#include "common/reduce.cuh"
#include "common/vectors.cuh"

namespace pydlx {

/// The bits of `size` consecutive elements, as 32-bit registers.
template <class T, int size>
struct Packed {
  static constexpr int kWords = static_cast<int>(sizeof(T)) * size / 4;
  static_assert(kWords * 4 == static_cast<int>(sizeof(T)) * size && (kWords & (kWords - 1)) == 0);

  uint32_t words[kWords];

  explicit __device__ Packed(const Vector<T, size>& vector) { std::memcpy(words, &vector, sizeof(words)); }

  __device__ Vector<T, size> vector() const {
    Vector<T, size> values;
    std::memcpy(&values, words, sizeof(words));
    return values;
  }
};

/// How many elements an address lies past the previous multiple of `size` elements.
template <int size, class T>
__device__ __forceinline__ int elements_past_alignment(const T* address) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(address) / sizeof(T) % size);
}

/// Concatenates two vectors and returns the `size` elements after the first `skipped` < size: a barrel shifter over the
/// words, then over 16-bit halves.
template <class T, int size>
__device__ __forceinline__ Packed<T, size> joined(const Packed<T, size>& first, Packed<T, size> second, int skipped) {
  constexpr int kWords = Packed<T, size>::kWords;
  uint32_t words[2 * kWords];
#pragma unroll
  for (int i = 0; i < kWords; ++i) words[i] = first.words[i], words[kWords + i] = second.words[i];
  const int whole = skipped * static_cast<int>(sizeof(T)) / 4;
#pragma unroll
  for (int step = kWords / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i + step < 2 * kWords; ++i) words[i] = whole & step ? words[i + step] : words[i];
  }
  const int bits = skipped * static_cast<int>(sizeof(T)) % 4 * 8;
#pragma unroll
  for (int i = 0; i < kWords; ++i) second.words[i] = bits ? __funnelshift_r(words[i], words[i + 1], bits) : words[i];
  return second;
}

/// Loads `size` elements starting at any element. Elements outside of the tensor [begin, end) are not read and are 0.
template <int size, class T>
__device__ __forceinline__ Vector<T, size> unaligned_vector(const T* from, const T* begin, const T* end) {
  const int past = elements_past_alignment<size>(from);
  const T* const low = from - past;
  if (low >= begin && low + (past ? 2 * size : size) <= end) {
    const auto* const vectors = reinterpret_cast<const Vector<T, size>*>(low);
    return past ? joined(Packed<T, size>(vectors[0]), Packed<T, size>(vectors[1]), past).vector() : vectors[0];
  }
  Vector<T, size> vector;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    vector.values[i] = from + i >= begin && from + i < end ? from[i] : static_cast<T>(accumulate_t<T>(0));
  }
  return vector;
}

/// Stores elements [first, last) of a vector of `size` to any address. `follows` says that the lane below stores, in
/// the same call, the `size` elements just before these (it may omit its first ones); this lane then writes the aligned
/// vector that both share. All lanes must call it; a lane with nothing to write passes first == last.
template <int size, class T>
__device__ __forceinline__ void store_unaligned(T* to, const accumulate_t<T> (&from)[size], int first, int last,
                                                bool follows) {
  Vector<T, size> rounded;
  if constexpr (size == 1) {
    rounded.values[0] = static_cast<T>(from[0]);
  } else {
#pragma unroll
    for (int i = 0; i < size; i += 2) round_pair(from[i], from[i + 1], rounded.values + i);
  }
  const Packed<T, size> own(rounded);
  Packed<T, size> below = own;
#pragma unroll
  for (uint32_t& word : below.words) word = __shfl_up_sync(kWholeWarp, word, 1);
  const bool followed = __ballot_sync(kWholeWarp, follows) >> (thread_of_block() % kWarp) >> 1 & 1;
  const int past = elements_past_alignment<size>(to);

  // The aligned vector that ends among this lane's elements; its first `past` elements are the lane below's.
  const auto shared = past ? joined(below, own, size - past).vector() : rounded;
  T* const low = to - past;
  const int shared_first = follows ? 0 : past + first, shared_last = past + last < size ? past + last : size;
  if (shared_first == 0 && shared_last == size) {
    *reinterpret_cast<Vector<T, size>*>(low) = shared;
  } else {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      if (i >= shared_first && i < shared_last) low[i] = shared.values[i];
    }
  }
  if (past && !followed) {
#pragma unroll
    for (int i = 1; i < size; ++i) {
      if (i >= size - past && i >= first && i < last) to[i] = rounded.values[i];
    }
  }
}

}  // namespace pydlx
