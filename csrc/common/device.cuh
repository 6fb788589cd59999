#pragma once

// The words that kernel files (.cuh) and their launchers (_cuda.cu) share, so that one source serves two compilers:
// nvcc builds it for the GPU; g++ builds it, on top of tests/cuda_on_cpu, into a library that runs the same kernels on
// the CPU, where they can be tested, stepped through and sanitised without a GPU.
//
// Kernels are otherwise plain CUDA, with two rules: shared memory is declared with the macros below (so that the
// emulator can poison and fence it), and kernels are launched with PYDLX_LAUNCH.

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstdint>

#include "common/newer_torch.h"

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

// PYDLX_DEVICE_KEY: the dispatch key the launchers register for: STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m).
//
// PYDLX_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...): a kernel launch. A template instance with
// commas goes in parentheses: PYDLX_LAUNCH((scale<float, 2>), grid, block, 0, scope.stream(), x, y, n).
//
// PYDLX_SHARED(T, name, sizes...): static shared memory, e.g. PYDLX_SHARED(float, tile, 32, 33) for float[32][33].
//
// PYDLX_DYNAMIC_SHARED(T, name): T* name, the start of the launch's dynamic shared memory, 16-byte aligned.
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

/// for (index = this thread's number in the grid; index < count; index += threads in the grid), in 64 bits, over a
/// one-dimensional grid. Right for every grid size, so the launcher may clamp it (blocks_for).
#define PYDLX_GRID_STRIDE(index, count)                                                              \
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; index < (count); \
       index += static_cast<int64_t>(gridDim.x) * blockDim.x)

namespace pydlx {

#ifdef __CUDACC__
/// Enough blocks to fill any GPU many times over.
constexpr int64_t kMaxBlocks = 65535;
/// Up to here elements can be counted in 32 bits.
constexpr int64_t kNarrowIndexLimit = 2147483647;
#else
/// Few, so that tests on small tensors also take the second turn of every grid-stride loop.
constexpr int64_t kMaxBlocks = 8;
/// Low, so that tests on small tensors also run the kernels that count in 64 bits.
constexpr int64_t kNarrowIndexLimit = 5000;
#endif

/// Blocks of a one-dimensional grid for a PYDLX_GRID_STRIDE loop over `count` > 0 items with `threads` per block.
inline unsigned blocks_for(int64_t count, int64_t threads) {
  return static_cast<unsigned>(std::min((count + threads - 1) / threads, kMaxBlocks));
}

/// Calls body(int32_t{}) or body(int64_t{}), whichever is needed to count to `largest`.
template <class Body>
void dispatch_index(int64_t largest, const Body& body) {
  if (largest <= kNarrowIndexLimit) return body(int32_t{});
  body(int64_t{});
}

#ifdef __CUDACC__

/// The stream that torch works on. The function that tells it is in libtorch_cuda, which must not be linked: the
/// library loads under a CPU-only torch too.
inline cudaStream_t current_stream(int32_t device) {
  using CurrentStream = AOTITorchError(int32_t, void**);
  static const auto ask = torch_function<CurrentStream>("libtorch_cuda.so", "aoti_torch_get_current_cuda_stream");
  STD_TORCH_CHECK(ask != nullptr,
                  "pydlx: this torch has no aoti_torch_get_current_cuda_stream, which CUDA kernels need");
  void* stream = nullptr;
  check_torch(ask(device, &stream), "aoti_torch_get_current_cuda_stream");
  return static_cast<cudaStream_t>(stream);
}

/// Makes the tensor's device current for as long as it lives and knows that device's current stream.
/// To be created before any allocation.
class DeviceScope {
 public:
  explicit DeviceScope(const torch::stable::Tensor& tensor)
      : guard_(tensor.get_device_index()), stream_(current_stream(tensor.get_device_index())) {}

  cudaStream_t stream() const { return stream_; }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

#else

/// The emulated device is the CPU: nothing to select, and launches are synchronous.
class DeviceScope {
 public:
  explicit DeviceScope(const torch::stable::Tensor&) {}

  cudaStream_t stream() const { return nullptr; }
};

#endif

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

/// Of what the lanes of a warp hold, known to all of them; to be called by whole warps. The order is always the same.
template <class A>
__device__ inline A sum_of_warp(A value) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) value += __shfl_xor_sync(kWholeWarp, value, apart);
  return value;
}

/// The same for the largest, in which NaN takes no part.
template <class A>
__device__ inline A largest_of_warp(A value) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    const A other = __shfl_xor_sync(kWholeWarp, value, apart);
    value = other > value ? other : value;
  }
  return value;
}

/// Raises if the launches since the last check were refused, as "<op>: <CUDA's own words>".
inline void check_launch(const char* op) {
  const cudaError_t status = cudaGetLastError();
  STD_TORCH_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}

}  // namespace pydlx
