// What launchers (_cuda.cu) need beside PYDLX_LAUNCH: the device and its stream, sizes of grids, refused launches.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/device.cuh"
#include "common/newer_torch.h"

namespace pydlx {

#ifdef __CUDACC__

/// Enough blocks to fill any GPU many times over.
constexpr int64_t kMaxBlocks = 65535;

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
  explicit DeviceScope(const torch::stable::Tensor& tensor) : stream_(current_stream(tensor.get_device_index())) {
    int current = -1;
    // A guard is made on the heap, and hardly ever has anything to do.
    if (cudaGetDevice(&current) != cudaSuccess || current != tensor.get_device_index()) {
      guard_.emplace(tensor.get_device_index());
    }
  }

  cudaStream_t stream() const { return stream_; }

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  cudaStream_t stream_;
};

#else

/// Few, so that tests on small tensors also take the second turn of every grid-stride loop.
constexpr int64_t kMaxBlocks = 8;

/// The emulated device is the CPU: nothing to select, and launches are synchronous.
class DeviceScope {
 public:
  explicit DeviceScope(const torch::stable::Tensor&) {}

  cudaStream_t stream() const { return nullptr; }
};

#endif

/// Blocks of a one-dimensional grid for a PYDLX_GRID_STRIDE loop over `count` > 0 items with `threads` per block.
inline unsigned blocks_for(int64_t count, int64_t threads) {
  return static_cast<unsigned>(std::min((count + threads - 1) / threads, kMaxBlocks));
}

/// Multiprocessors of the current device.
inline int64_t multiprocessors() {
  int device = 0, count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

/// Lets a kernel be launched with this much dynamic shared memory, at most the 64 KiB that every GPU has: above 48 KiB
/// it has to be asked for.
template <class... Parameters>
void allow_shared(void (*kernel)(Parameters...), int bytes, const char* op) {
  const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  STD_TORCH_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}

/// Raises if the launches since the last check were refused, as "<op>: <CUDA's own words>".
inline void check_launch(const char* op) {
  const cudaError_t status = cudaGetLastError();
  STD_TORCH_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}

}  // namespace pydlx
