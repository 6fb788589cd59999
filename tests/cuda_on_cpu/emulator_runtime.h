#pragma once

// How a launch runs on the CPU.
//
// A block's threads are fibers of the launching OS thread; blocks run one after another. A thread runs until it
// returns or waits, at a block barrier or for its warp; then the scheduler picks the next one. All state is per OS
// thread, so several may launch at once.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulated_types.h"

// GNU __thread rather than thread_local: constant initialisation is guaranteed, so that an access costs one
// instruction and no call.
#define PYDLX_EMULATOR_THREAD_STATE extern __attribute__((tls_model("initial-exec"))) __thread

PYDLX_EMULATOR_THREAD_STATE uint3 threadIdx;
PYDLX_EMULATOR_THREAD_STATE uint3 blockIdx;
PYDLX_EMULATOR_THREAD_STATE uint3 blockDim;
PYDLX_EMULATOR_THREAD_STATE uint3 gridDim;
constexpr int warpSize = 32;

/// Sets the schedule of all later launches, in any thread: "forward", "reverse", "shuffle" or "shuffle:<seed>".
/// Returns 1, or 0 for any other text. The initial schedule is $PYDLX_EMULATOR_SCHEDULE, or forward.
extern "C" __attribute__((visibility("default"))) int pydlx_emulator_set_schedule(const char* schedule);

/// Sets whether streams report that they are being captured, in any thread; then the host must not wait. Nothing is
/// recorded.
extern "C" __attribute__((visibility("default"))) void pydlx_emulator_set_capturing(int capturing);

namespace pydlx::emulator {

/// A fault of a kernel or its launch that the emulator detected; the message names the kernel and the block.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

constexpr size_t kDefaultSharedBytes = 48 * 1024;
constexpr size_t kMostSharedBytes = 227 * 1024;  // the most of any architecture
/// Shared memory that a kernel may opt in to: $PYDLX_EMULATOR_SHARED_BYTES, or the least among the supported
/// architectures (compute capability 7.5). Launchers query it and use another kernel if it is not enough.
inline size_t opt_in_shared_bytes() {
  const char* text = std::getenv("PYDLX_EMULATOR_SHARED_BYTES");
  return text == nullptr ? 64 * 1024 : std::min<size_t>(std::strtoul(text, nullptr, 10), kMostSharedBytes);
}
/// Small, so that tests on small tensors also divide batches to fit the cache.
constexpr int kCacheBytes = 256 << 10;

/// The source location at which a thread waits.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

/// Waits until all threads of the block are at this barrier; returns how many have a true predicate.
int block_barrier(const char* operation, bool predicate, Site site);

/// Block size, as a count of threads.
int block_threads();

/// Exchanges 8 bytes with the other lanes in `mask`, once all of them have arrived: returns what lane `source` sent, or
/// poison if that lane is not in `mask`.
uint64_t warp_exchange(const char* operation, unsigned mask, uint64_t sent, int source, Site site);

struct Votes {
  unsigned yes;     // lanes whose predicate is true
  unsigned voters;  // lanes that took part
};
Votes warp_vote(const char* operation, unsigned mask, bool predicate, Site site);

int lane();                     // of this thread within its warp
unsigned lanes_not_returned();  // of this thread's warp

/// The block's shared variable with this key; the first thread to ask allocates it.
void* allocate_static_shared(const void* key, size_t bytes, size_t alignment);
void* dynamic_shared_memory();

template <typename T>
T& static_shared(const void* key) {
  static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>,
                "CUDA allows no constructors in shared memory");
  return *static_cast<T*>(allocate_static_shared(key, sizeof(T), alignof(T)));
}

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_memory());
}

void allow_dynamic_shared(const void* kernel, int bytes);

struct LaunchShape {
  std::string name;    // the kernel as written at the launch
  const void* kernel;  // its address
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
};
void run_grid(const LaunchShape& shape, void (*run_thread)(void*), void* arguments);

/// "scale<float, 2>" of "(scale<float, 2>)".
inline std::string kernel_name(const std::string& text) {
  return text.front() == '(' && text.back() == ')' ? text.substr(1, text.size() - 2) : text;
}

/// kernel<<<grid, block, shared_bytes>>>(arguments...), finished on return.
template <typename... Parameters, typename... Arguments>
void launch(const char* text, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
            Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  };
  Call call{kernel, std::tuple<Parameters...>(static_cast<Parameters>(std::forward<Arguments>(arguments))...)};
  const auto run_thread = [](void* opaque) {
    Call& call = *static_cast<Call*>(opaque);
    std::apply(call.kernel, call.parameters);
  };
  run_grid({kernel_name(text), reinterpret_cast<const void*>(kernel), grid, block, shared_bytes}, run_thread, &call);
}

}  // namespace pydlx::emulator

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > pydlx::emulator::opt_in_shared_bytes()) return cudaErrorInvalidValue;
  pydlx::emulator::allow_dynamic_shared(reinterpret_cast<const void*>(kernel), bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status);

/// Launches are finished on return. An error where a stream is being captured, as on a GPU.
cudaError_t cudaStreamSynchronize(cudaStream_t);

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 1;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(pydlx::emulator::opt_in_shared_bytes());
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = pydlx::emulator::kCacheBytes;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}
