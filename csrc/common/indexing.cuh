// Indexing in kernels: grid-stride loops, the choice of 32- or 64-bit indices, and fast division.
#pragma once

#include <cstdint>

#include "common/device.cuh"

/// A grid-stride loop over [0, count) with a 64-bit index, for one-dimensional grids. It works with any grid size, so
/// the launcher may clamp it (blocks_for).
#define PYDLX_GRID_STRIDE(index, count)                                                              \
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; index < (count); \
       index += static_cast<int64_t>(gridDim.x) * blockDim.x)

namespace pydlx {

#ifdef __CUDACC__
/// The largest value that a 32-bit index is used for.
constexpr int64_t kNarrowIndexLimit = 2147483647;
#else
/// Low on the emulator, so that tests on small tensors also run the kernels with 64-bit indices.
constexpr int64_t kNarrowIndexLimit = 5000;
#endif

/// Calls body(int32_t{}) if indices up to `largest` fit into 32 bits, else body(int64_t{}).
template <class Body>
void dispatch_index(int64_t largest, const Body& body) {
  if (largest <= kNarrowIndexLimit) return body(int32_t{});
  body(int64_t{});
}

/// Divides many n >= 0 by the same divisor >= 1. GPUs have no integer division: they emulate it in about 20
/// instructions for 32 bits and 70 for 64 bits.
template <class Index>
struct Divisor {
  Index divisor;

  explicit Divisor(int64_t by) : divisor(static_cast<Index>(by)) {}

  __host__ __device__ Index quotient(Index n) const { return n / divisor; }
  __host__ __device__ Index remainder(Index n) const { return n % divisor; }
};

/// The 32-bit version needs one multiplication (Granlund and Montgomery 1994, figure 4.1): with s = ceil(log2 d) and
/// f = floor(2^32 (2^s - d) / d) + 1, n / d = (floor(n f / 2^32) + n) / 2^s. The sum is below 2^32 because n < 2^31.
template <>
struct Divisor<int32_t> {
  uint32_t divisor, factor, shift = 0;

  explicit Divisor(int64_t by) : divisor(static_cast<uint32_t>(by)) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    factor = static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor) / divisor + 1);
  }

  __device__ int32_t quotient(int32_t n) const {
    const auto dividend = static_cast<uint32_t>(n);
    return static_cast<int32_t>((__umulhi(dividend, factor) + dividend) >> shift);
  }
  __device__ int32_t remainder(int32_t n) const { return n - quotient(n) * static_cast<int32_t>(divisor); }
};

}  // namespace pydlx
