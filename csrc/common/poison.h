// Poisoned memory. With PYDLX_POISON=1, as in the tests, all memory that a kernel will fill starts as 0xFF bytes, which
// are NaN or -1. An element that no kernel wrote, or that was read too early, then shows in the result; fresh memory
// would often be zero and hide it.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifdef __CUDACC__
#include "common/launch.cuh"
#endif

namespace pydlx {

// Read once, when the library is loaded.
inline const bool kPoison = [] {
  const char* choice = std::getenv("PYDLX_POISON");
  return choice && !std::strcmp(choice, "1");
}();

constexpr int kPoisonByte = 0xFF;

inline void poison(void* fresh, int64_t bytes) {
  if (kPoison && bytes > 0) std::memset(fresh, kPoisonByte, static_cast<size_t>(bytes));
}

// Poisons a tensor, which must be on the device that the including file is compiled for.
inline void poison(const torch::stable::Tensor& fresh) {
  if (!kPoison) return;
  const int64_t bytes = fresh.numel() * static_cast<int64_t>(fresh.element_size());
#ifdef __CUDACC__
  const cudaError_t status = cudaMemsetAsync(fresh.mutable_data_ptr(), kPoisonByte, static_cast<size_t>(bytes),
                                             current_stream(fresh.get_device_index()));
  STD_TORCH_CHECK(status == cudaSuccess, "PYDLX_POISON: ", cudaGetErrorString(status));
#else
  poison(fresh.mutable_data_ptr(), bytes);
#endif
}

}  // namespace pydlx
