// The types that kernels accumulate in, for CPU and CUDA code.
#pragma once

// Marks functions that CPU code and CUDA kernels both call.
#ifdef __CUDACC__
#define PYDLX_HOST_DEVICE __host__ __device__
#else
#define PYDLX_HOST_DEVICE
#endif

namespace pydlx {

// The type of sums: float16 and bfloat16 accumulate in float32.
template <class T>
struct AccumulateType {
  using type = float;
};
template <>
struct AccumulateType<double> {
  using type = double;
};
template <class T>
using accumulate_t = typename AccumulateType<T>::type;

}  // namespace pydlx
