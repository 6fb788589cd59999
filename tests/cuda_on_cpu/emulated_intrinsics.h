#pragma once

// CUDA's device functions: barriers, warp collectives, atomics, bits, and mathematical functions that the C library
// lacks. The overloads have CUDA's exact types, so that code which compiles here also compiles under nvcc.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulator_runtime.h"

#define PYDLX_EMULATOR_SITE pydlx::emulator::Site site = pydlx::emulator::Site::here()

// Block barriers.

inline void __syncthreads(PYDLX_EMULATOR_SITE) { pydlx::emulator::block_barrier("__syncthreads", false, site); }
inline int __syncthreads_count(int predicate, PYDLX_EMULATOR_SITE) {
  return pydlx::emulator::block_barrier("__syncthreads_count", predicate != 0, site);
}
inline int __syncthreads_and(int predicate, PYDLX_EMULATOR_SITE) {
  const int count = pydlx::emulator::block_barrier("__syncthreads_and", predicate != 0, site);
  return count == pydlx::emulator::block_threads();
}
inline int __syncthreads_or(int predicate, PYDLX_EMULATOR_SITE) {
  return pydlx::emulator::block_barrier("__syncthreads_or", predicate != 0, site) != 0;
}

// Only one thread runs at a time, so memory is always consistent.
inline void __threadfence() {}
inline void __threadfence_block() {}

[[noreturn]] inline void __trap() { throw pydlx::emulator::Error("__trap() called"); }

// Warp collectives.

inline void __syncwarp(unsigned mask = 0xffffffffu, PYDLX_EMULATOR_SITE) {
  pydlx::emulator::warp_vote("__syncwarp", mask, false, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, PYDLX_EMULATOR_SITE) {
  return pydlx::emulator::warp_vote("__ballot_sync", mask, predicate != 0, site).yes;
}
inline int __any_sync(unsigned mask, int predicate, PYDLX_EMULATOR_SITE) {
  return pydlx::emulator::warp_vote("__any_sync", mask, predicate != 0, site).yes != 0;
}
inline int __all_sync(unsigned mask, int predicate, PYDLX_EMULATOR_SITE) {
  const auto votes = pydlx::emulator::warp_vote("__all_sync", mask, predicate != 0, site);
  return votes.yes == votes.voters;
}

/// The lanes that have not returned. On a GPU it may be any subset of them, so kernels should not use it.
inline unsigned __activemask() { return pydlx::emulator::lanes_not_returned(); }

namespace pydlx::emulator {

template <typename T>
T shuffle(const char* operation, unsigned mask, T value, int source, Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 4 or 8 byte numbers");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_exchange(operation, mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace pydlx::emulator

// A warp is divided into segments of `width` lanes; a source lane outside of the segment gives the lane's own value.

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, PYDLX_EMULATOR_SITE) {
  const int first = pydlx::emulator::lane() & ~(width - 1);
  return pydlx::emulator::shuffle("__shfl_sync", mask, value, first + (source & (width - 1)), site);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, PYDLX_EMULATOR_SITE) {
  const int lane = pydlx::emulator::lane();
  const int source = lane - static_cast<int>(delta);
  const bool inside = source >= (lane & ~(width - 1));
  return pydlx::emulator::shuffle("__shfl_up_sync", mask, value, inside ? source : lane, site);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, PYDLX_EMULATOR_SITE) {
  const int lane = pydlx::emulator::lane();
  const int source = lane + static_cast<int>(delta);
  const bool inside = source <= (lane | (width - 1));
  return pydlx::emulator::shuffle("__shfl_down_sync", mask, value, inside ? source : lane, site);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, PYDLX_EMULATOR_SITE) {
  const int lane = pydlx::emulator::lane();
  const int source = lane ^ lane_mask;
  const bool inside = source <= (lane | (width - 1));
  return pydlx::emulator::shuffle("__shfl_xor_sync", mask, value, inside ? source : lane, site);
}

// Atomics. A thread is switched only where it waits, so a plain read-modify-write is atomic.

#define PYDLX_EMULATED_ATOMIC(name, T, result) \
  inline T name(T* address, T value) {         \
    const T old = *address;                    \
    *address = static_cast<T>(result);         \
    return old;                                \
  }
#define PYDLX_EMULATED_ATOMICS_OF_INTEGERS(T)                    \
  PYDLX_EMULATED_ATOMIC(atomicMax, T, old < value ? value : old) \
  PYDLX_EMULATED_ATOMIC(atomicMin, T, value < old ? value : old) \
  PYDLX_EMULATED_ATOMIC(atomicAnd, T, (old & value))             \
  PYDLX_EMULATED_ATOMIC(atomicOr, T, old | value)                \
  PYDLX_EMULATED_ATOMIC(atomicXor, T, old ^ value)

PYDLX_EMULATED_ATOMICS_OF_INTEGERS(int)
PYDLX_EMULATED_ATOMICS_OF_INTEGERS(unsigned)
PYDLX_EMULATED_ATOMICS_OF_INTEGERS(long long)
PYDLX_EMULATED_ATOMICS_OF_INTEGERS(unsigned long long)

// Sums of signed integers wrap around, as on the GPU.
PYDLX_EMULATED_ATOMIC(atomicAdd, int, static_cast<unsigned>(old) + static_cast<unsigned>(value))
PYDLX_EMULATED_ATOMIC(atomicAdd, unsigned, old + value)
PYDLX_EMULATED_ATOMIC(atomicAdd, unsigned long long, old + value)
PYDLX_EMULATED_ATOMIC(atomicAdd, float, old + value)
PYDLX_EMULATED_ATOMIC(atomicAdd, double, old + value)
PYDLX_EMULATED_ATOMIC(atomicSub, int, static_cast<unsigned>(old) - static_cast<unsigned>(value))
PYDLX_EMULATED_ATOMIC(atomicSub, unsigned, old - value)
PYDLX_EMULATED_ATOMIC(atomicExch, int, value)
PYDLX_EMULATED_ATOMIC(atomicExch, unsigned, value)
PYDLX_EMULATED_ATOMIC(atomicExch, unsigned long long, value)
PYDLX_EMULATED_ATOMIC(atomicExch, float, value)

#define PYDLX_EMULATED_COMPARE_AND_SWAP(T)              \
  inline T atomicCAS(T* address, T expected, T value) { \
    const T old = *address;                             \
    if (old == expected) *address = value;              \
    return old;                                         \
  }
PYDLX_EMULATED_COMPARE_AND_SWAP(int)
PYDLX_EMULATED_COMPARE_AND_SWAP(unsigned)
PYDLX_EMULATED_COMPARE_AND_SWAP(unsigned long long)

#undef PYDLX_EMULATED_ATOMIC
#undef PYDLX_EMULATED_ATOMICS_OF_INTEGERS
#undef PYDLX_EMULATED_COMPARE_AND_SWAP

// Loads and stores with a cache hint.

template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, T value) {
  *address = value;
}

// Bits.

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
/// 32 bits of the 64-bit number (high, low), starting at bit `shift` modulo 32.
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (shift & 31u));
}
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= ((x >> bit) & 1u) << (31 - bit);
  return reversed;
}

namespace pydlx::emulator {

template <typename To, typename From>
To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof(To));
  return result;
}

}  // namespace pydlx::emulator

inline int __float_as_int(float x) { return pydlx::emulator::same_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return pydlx::emulator::same_bits<unsigned>(x); }
inline float __int_as_float(int x) { return pydlx::emulator::same_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return pydlx::emulator::same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return pydlx::emulator::same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return pydlx::emulator::same_bits<double>(x); }

// Mathematics. The fast variants are the exact functions here; on a GPU they are less accurate.

#define PYDLX_EMULATED_MIN_MAX(T)                  \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
PYDLX_EMULATED_MIN_MAX(int)
PYDLX_EMULATED_MIN_MAX(unsigned)
PYDLX_EMULATED_MIN_MAX(long)
PYDLX_EMULATED_MIN_MAX(unsigned long)
PYDLX_EMULATED_MIN_MAX(long long)
PYDLX_EMULATED_MIN_MAX(unsigned long long)
#undef PYDLX_EMULATED_MIN_MAX
// Of a NaN and a number these return the number.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

// Newer C libraries have some of CUDA's names.
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 42)
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
#endif

namespace pydlx::emulator {

/// x - 2 * round(x / 2), exactly: reduces the angle x * pi to [-pi, pi] before the multiplication by pi rounds.
inline double half_turns(double x) { return remainder(x, 2.0); }
constexpr double kPi = 3.14159265358979323846;

}  // namespace pydlx::emulator

inline void sincospi(double x, double* sine, double* cosine) {
  const double angle = pydlx::emulator::kPi * pydlx::emulator::half_turns(x);
  *sine = sin(angle);
  *cosine = cos(angle);
}
inline void sincospif(float x, float* sine, float* cosine) {
  double s, c;
  sincospi(static_cast<double>(x), &s, &c);
  *sine = static_cast<float>(s);
  *cosine = static_cast<float>(c);
}
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 41)
inline double sinpi(double x) { return sin(pydlx::emulator::kPi * pydlx::emulator::half_turns(x)); }
inline double cospi(double x) { return cos(pydlx::emulator::kPi * pydlx::emulator::half_turns(x)); }
inline float sinpif(float x) { return static_cast<float>(sinpi(static_cast<double>(x))); }
inline float cospif(float x) { return static_cast<float>(cospi(static_cast<double>(x))); }
#endif

#undef PYDLX_EMULATOR_SITE
