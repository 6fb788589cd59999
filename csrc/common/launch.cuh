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

/// Of the current device, such as how many multiprocessors it has.
inline int64_t device_attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&value, which, device);
  return value;
}

inline int64_t multiprocessors() { return device_attribute(cudaDevAttrMultiProcessorCount); }

/// The most shared memory that a block may ask for.
inline int64_t most_shared_bytes() { return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

/// Calls body(first, count) for stretches of `planes`, each of `plane_bytes` of what is written by one launch and read
/// by the next: as many at a time as stay in the second-level cache with what else passes through it. Where not even
/// one does, or all do, all go at once. The parts are those of an H100, counted and not yet measured.
template <class Body>
void for_cached_planes(int64_t planes, int64_t plane_bytes, const Body& body) {
  const int64_t cache = device_attribute(cudaDevAttrL2CacheSize);
  const int64_t together = plane_bytes > 0 ? cache / 3 / plane_bytes : 0;
  if (together == 0 || planes * plane_bytes <= cache / 2) return body(int64_t{0}, planes);
  const int64_t parts = (planes + together - 1) / together;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = part * planes / parts;
    body(first, (part + 1) * planes / parts - first);
  }
}

/// Lets a kernel be launched with this much dynamic shared memory, which has to be asked for above 48 KiB. Every
/// GPU has 64 KiB.
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
