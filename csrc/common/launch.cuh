// Helpers of launchers (_cuda.cu): the device and its stream, grid sizes, and launch errors.
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

/// Torch's current stream. The function that returns it is in libtorch_cuda, which is not linked because this library
/// must also load under a CPU-only torch.
inline cudaStream_t current_stream(int32_t device) {
  using CurrentStream = AOTITorchError(int32_t, void**);
  static const auto ask = torch_function<CurrentStream>("libtorch_cuda.so", "aoti_torch_get_current_cuda_stream");
  STD_TORCH_CHECK(ask != nullptr,
                  "pydlx: this torch has no aoti_torch_get_current_cuda_stream, which CUDA kernels need");
  void* stream = nullptr;
  check_torch(ask(device, &stream), "aoti_torch_get_current_cuda_stream");
  return static_cast<cudaStream_t>(stream);
}

/// Makes the tensor's device current while it lives, and holds that device's current stream. Create it before any
/// allocation.
class DeviceScope {
 public:
  explicit DeviceScope(const torch::stable::Tensor& tensor) : stream_(current_stream(tensor.get_device_index())) {
    int current = -1;
    // A guard allocates, and is rarely needed.
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

/// Low on the emulator, so that in tests on small tensors grid-stride loops run more than once.
constexpr int64_t kMaxBlocks = 8;

/// The emulated device is the CPU: nothing to select, and launches are synchronous.
class DeviceScope {
 public:
  explicit DeviceScope(const torch::stable::Tensor&) {}

  cudaStream_t stream() const { return nullptr; }
};

#endif

/// Number of blocks of a one-dimensional grid whose blocks loop over `count` items, `threads` at a time.
inline unsigned blocks_for(int64_t count, int64_t threads) {
  return static_cast<unsigned>(std::min((count + threads - 1) / threads, kMaxBlocks));
}

/// An attribute of the current device.
inline int64_t device_attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&value, which, device);
  return value;
}

inline int64_t multiprocessors() { return device_attribute(cudaDevAttrMultiProcessorCount); }

/// The largest shared memory that a block may request.
inline int64_t most_shared_bytes() { return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

/// Calls body(first, count) for consecutive groups of `planes` planes, where one launch writes `plane_bytes` per plane
/// and the next reads them: a group is small enough for these to stay in the L2 cache. If not even one plane fits, or
/// all do, there is one group. The fractions of the cache (1/3, 1/2) were estimated for an H100, not measured.
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

/// Allows a kernel this much dynamic shared memory, which must be requested above 48 KiB. Every supported GPU has 64
/// KiB.
template <class... Parameters>
void allow_shared(void (*kernel)(Parameters...), int bytes, const char* op) {
  const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  STD_TORCH_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}

/// Raises "<op>: <CUDA's message>" if a launch since the last check failed.
inline void check_launch(const char* op) {
  const cudaError_t status = cudaGetLastError();
  STD_TORCH_CHECK(status == cudaSuccess, op, ": ", cudaGetErrorString(status));
}

}  // namespace pydlx
