#pragma once

// Macros for kernel files (.cuh) and their launchers (_cuda.cu), which two compilers build from the same source: nvcc
// for the GPU; and g++, with the emulator of tests/cuda_on_cpu, into a library that runs the same kernels on the CPU,
// where they can be tested, debugged and sanitised without a GPU.
//
// Kernels are otherwise plain CUDA, with two rules: shared memory is declared with the macros below (so that the
// emulator can poison and fence it), and kernels are launched with PYDLX_LAUNCH.

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "cuda_emulator.h"
#endif

namespace pydlx {

template <typename T, int64_t first, int64_t... rest>
struct ArrayOf {
  using type = typename ArrayOf<T, rest...>::type[first];
};
template <typename T, int64_t size>
struct ArrayOf<T, size> {
  using type = T[size];
};

/// array_t<float, 32, 33> is float[32][33].
template <typename T, int64_t... sizes>
using array_t = typename ArrayOf<T, sizes...>::type;

}  // namespace pydlx

// PYDLX_DEVICE_KEY: the launchers' dispatch key, as in STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m).
//
// PYDLX_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...): a kernel launch. A template instance with
// commas goes in parentheses: PYDLX_LAUNCH((scale<float, 2>), grid, block, 0, scope.stream(), x, y, n).
//
// PYDLX_SHARED(T, name, sizes...): static shared memory, e.g. PYDLX_SHARED(float, tile, 32, 33) for float[32][33].
//
// PYDLX_DYNAMIC_SHARED(T, name): declares T* name, the start of the launch's dynamic shared memory, 16-byte aligned.
#ifdef __CUDACC__

#define PYDLX_DEVICE_KEY CUDA
#define PYDLX_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define PYDLX_SHARED(T, name, ...) __shared__ pydlx::array_t<T, __VA_ARGS__> name
#define PYDLX_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char pydlx_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(pydlx_dynamic_shared)

#else

#define PYDLX_DEVICE_KEY CPU
#define PYDLX_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  pydlx::emulator::launch(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
#define PYDLX_SHARED(T, name, ...)         \
  static char pydlx_shared_key_##name = 0; \
  auto& name = pydlx::emulator::static_shared<pydlx::array_t<T, __VA_ARGS__>>(&pydlx_shared_key_##name)
#define PYDLX_DYNAMIC_SHARED(T, name) T* const name = pydlx::emulator::dynamic_shared<T>()

#endif

// PYDLX_BLOCKS(count): the second argument of __launch_bounds__, the least number of resident blocks per
// multiprocessor. The counts are tuned for compute capability 9.0. Other architectures may need a few registers more,
// so there the count is one lower, which avoids spills.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ != 900
#define PYDLX_BLOCKS(count) ((count) > 1 ? (count) - 1 : 1)
#else
#define PYDLX_BLOCKS(count) (count)
#endif

namespace pydlx {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

}  // namespace pydlx
