// Vectorised loads and stores of up to 16 bytes, with conversion to and from the accumulation type.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <type_traits>

#include "common/accumulate.h"
#include "common/device.cuh"

namespace pydlx {

constexpr int kVectorBytes = 16;

/// Elements of a 16-byte access: 2 float64, 4 float32, 8 float16 or bfloat16.
template <class T>
constexpr int kVectorSize = kVectorBytes / static_cast<int>(sizeof(T));

/// `size` consecutive elements, a power of two. More than 16 bytes take several accesses.
template <class T, int size>
struct alignas(sizeof(T) * size < kVectorBytes ? sizeof(T) * size : kVectorBytes) Vector {
  T values[size];
};

/// Whether all these addresses, and addresses at any multiple of `apart` elements from them, are aligned for vectors of
/// `size` elements.
template <int size, class T, class... Rest>
bool takes_vectors(int64_t apart, const T* address, const Rest*... others) {
  const bool whole = apart % size == 0 && reinterpret_cast<uintptr_t>(address) % alignof(Vector<T, size>) == 0;
  if constexpr (sizeof...(others) == 0) {
    return whole;
  } else {
    return whole && takes_vectors<size>(apart, others...);
  }
}

/// Calls body(std::integral_constant<int, n>{}) with n the first of the given vector sizes for which takes_vectors is
/// true, else 1.
template <int size, int... smaller, class Body, class... T>
void dispatch_vectors(int64_t apart, const Body& body, const T*... addresses) {
  if (size == 1 || takes_vectors<size>(apart, addresses...)) return body(std::integral_constant<int, size>{});
  if constexpr (sizeof...(smaller) > 0) {
    dispatch_vectors<smaller...>(apart, body, addresses...);
  } else if constexpr (size > 1) {
    body(std::integral_constant<int, 1>{});
  }
}

/// Loads `size` consecutive elements.
template <int size, class T>
__device__ __forceinline__ void load_vector(const T* from, accumulate_t<T> (&to)[size]) {
  const auto vector = *reinterpret_cast<const Vector<T, size>*>(from);
  for (int i = 0; i < size; ++i) to[i] = static_cast<accumulate_t<T>>(vector.values[i]);
}

/// Rounds two numbers at once, which takes one instruction for 16-bit types.
template <class T>
__device__ __forceinline__ void round_pair(accumulate_t<T> first, accumulate_t<T> second, T* to) {
#ifdef __CUDACC__
  if constexpr (std::is_same_v<T, torch::headeronly::BFloat16>) {
    *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(first, second);
    return;
  }
  if constexpr (std::is_same_v<T, torch::headeronly::Half>) {
    *reinterpret_cast<__half2*>(to) = __floats2half2_rn(first, second);
    return;
  }
#endif
  to[0] = static_cast<T>(first);
  to[1] = static_cast<T>(second);
}

/// Stores `size` consecutive elements.
template <int size, class T>
__device__ __forceinline__ void store_vector(T* to, const accumulate_t<T> (&from)[size]) {
  Vector<T, size> vector;
  if constexpr (size == 1) {
    vector.values[0] = static_cast<T>(from[0]);
  } else {
    for (int i = 0; i < size; i += 2) round_pair(from[i], from[i + 1], vector.values + i);
  }
  *reinterpret_cast<Vector<T, size>*>(to) = vector;
}

}  // namespace pydlx
