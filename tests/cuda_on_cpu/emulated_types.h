#pragma once

// CUDA's vector types, dim3, and the few runtime-API names that launchers use.

#include <cstddef>
#include <cstring>

#define PYDLX_EMULATED_VECTORS(type, scalar)                                                   \
  struct alignas(2 * sizeof(scalar)) type##2 { scalar x, y; };                                 \
  struct type##3 { scalar x, y, z; };                                                          \
  struct alignas(sizeof(scalar) < 8 ? 4 * sizeof(scalar) : 16) type##4 { scalar x, y, z, w; }; \
  inline type##2 make_##type##2(scalar x, scalar y) { return {x, y}; }                         \
  inline type##3 make_##type##3(scalar x, scalar y, scalar z) { return {x, y, z}; }            \
  inline type##4 make_##type##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

PYDLX_EMULATED_VECTORS(char, signed char)
PYDLX_EMULATED_VECTORS(uchar, unsigned char)
PYDLX_EMULATED_VECTORS(short, short)
PYDLX_EMULATED_VECTORS(ushort, unsigned short)
PYDLX_EMULATED_VECTORS(int, int)
PYDLX_EMULATED_VECTORS(uint, unsigned)
PYDLX_EMULATED_VECTORS(longlong, long long)
PYDLX_EMULATED_VECTORS(ulonglong, unsigned long long)
PYDLX_EMULATED_VECTORS(float, float)
PYDLX_EMULATED_VECTORS(double, double)

#undef PYDLX_EMULATED_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

using cudaStream_t = struct CUstream_st*;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaMemcpyKind { cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

/// Invalid launches throw immediately, with the kernel's name, so there is never a pending error.
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : "invalid argument";
}

inline cudaError_t cudaMemsetAsync(void* destination, int value, size_t bytes, cudaStream_t) {
  std::memset(destination, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(destination, source, bytes);
  return cudaSuccess;
}
