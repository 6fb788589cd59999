// Fast float32 functions that use a single GPU instruction, slightly less accurate than the C library's; the float64
// overloads are exact. "ulp" is a unit in the last place.
#pragma once

#include <cmath>

#include "common/device.cuh"

namespace pydlx {

constexpr double kLog2E = 1.4426950408889634074;

/// 2^x within 2 ulp; float32 results below the smallest normal number are 0.
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = exp2f(x);
  return y < 1.17549435e-38f ? 0.0f : y;
#endif
}
__device__ __forceinline__ double fast_exp2(double x) { return exp2(x); }

/// e^x for x <= 0, within |x| / 10 + 2 ulp.
template <class A>
__device__ __forceinline__ A fast_exp(A x) {
  return fast_exp2(x * static_cast<A>(kLog2E));
}

/// 1 / x within 1 ulp, for 2^-126 <= |x| <= 2^126.
__device__ __forceinline__ float fast_reciprocal(float x) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}
__device__ __forceinline__ double fast_reciprocal(double x) { return 1.0 / x; }

/// a / b within 1 ulp, exactly 1 if they are equal; b must be in the range of fast_reciprocal.
__device__ __forceinline__ float fast_quotient(float a, float b) {
  const float by_b = fast_reciprocal(b), quotient = a * by_b;
  return fmaf(fmaf(-quotient, b, a), by_b, quotient);
}
__device__ __forceinline__ double fast_quotient(double a, double b) { return a / b; }

/// max(x, least), but NaN if x is NaN.
template <class A>
__device__ __forceinline__ A at_least(A x, A least) {
  return x < least ? least : x;
}
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ float at_least<float>(float x, float least) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(least));
  return y;
}
#endif

}  // namespace pydlx
