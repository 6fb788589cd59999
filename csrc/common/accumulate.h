// The types kernels compute in, shared by the CPU and the CUDA side.
#pragma once

namespace pydlx {

// The type sums are kept in: float16 and bfloat16 accumulate in float32.
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
