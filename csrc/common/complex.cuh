// Complex numbers for kernels, aligned so that one memory access reads or writes both parts.
#pragma once

#include "common/device.cuh"

namespace pydlx {

template <class T>
struct alignas(2 * sizeof(T)) Complex {
  T re, im;
};

template <class T>
__device__ __forceinline__ Complex<T> operator+(const Complex<T>& a, const Complex<T>& b) {
  return {a.re + b.re, a.im + b.im};
}

template <class T>
__device__ __forceinline__ Complex<T> operator-(const Complex<T>& a, const Complex<T>& b) {
  return {a.re - b.re, a.im - b.im};
}

template <class T>
__device__ __forceinline__ Complex<T> product(const Complex<T>& a, const Complex<T>& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/// a times the conjugate of b.
template <class T>
__device__ __forceinline__ Complex<T> product_conjugate(const Complex<T>& a, const Complex<T>& b) {
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}

__device__ inline void cosine_and_sine(float half_turns, float* cosine, float* sine) {
  sincospif(half_turns, sine, cosine);
}
__device__ inline void cosine_and_sine(double half_turns, double* cosine, double* sine) {
  sincospi(half_turns, sine, cosine);
}

/// exp(i pi x).
template <class T>
__device__ __forceinline__ Complex<T> turn(T half_turns) {
  Complex<T> unit;
  cosine_and_sine(half_turns, &unit.re, &unit.im);
  return unit;
}

}  // namespace pydlx
