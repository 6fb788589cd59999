// Helpers on torch's stable tensor API: dtype dispatch, memory formats, allocation, threads.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/newer_torch.h"
#include "common/pages.h"
#include "common/poison.h"

namespace pydlx {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::IntHeaderOnlyArrayRef;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Calls body(T{}) with the C++ type of `dtype`, one of float64, float32, float16, bfloat16.
template <class Body>
void dispatch_floating(ScalarType dtype, const char* op, const Body& body) {
  switch (dtype) {
    case ScalarType::Double:
      return body(double{});
    case ScalarType::Float:
      return body(float{});
    case ScalarType::Half:
      return body(Half{});
    case ScalarType::BFloat16:
      return body(BFloat16{});
    default:
      STD_TORCH_CHECK(false, op, ": expected a floating-point tensor");
  }
}

// Calls body(T{}) for float64 or float32; for kernels without a 16-bit version.
template <class Body>
void dispatch_full_precision(ScalarType dtype, const char* op, const Body& body) {
  STD_TORCH_CHECK(dtype == ScalarType::Double || dtype == ScalarType::Float, op,
                  ": expected a float32 or float64 tensor");
  if (dtype == ScalarType::Double) return body(double{});
  return body(float{});
}

// The dtype in which x's elements are summed, see accumulate.h.
inline ScalarType wide_dtype(const Tensor& x) {
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

template <class T>
const T* input_data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <class T>
T* output_data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

inline bool same_sizes(const Tensor& a, const Tensor& b) {
  const auto m = a.sizes(), n = b.sizes();
  return std::equal(m.begin(), m.end(), n.begin(), n.end());
}

// Whether x (N, C, spatial...) is dense and stored as (N, spatial..., C). Strides of dimensions of size 1 are ignored.
// A tensor that is contiguous as well (one channel, or one pixel) counts as contiguous.
inline bool is_channels_last(const Tensor& x) {
  if (x.dim() < 4 || x.is_contiguous()) return false;
  const auto expect = [&](int64_t dim, int64_t stride) { return x.size(dim) == 1 || x.stride(dim) == stride; };
  int64_t stride = x.size(1);
  if (!expect(1, 1)) return false;
  for (int64_t dim = x.dim() - 1; dim >= 2; --dim) {
    if (!expect(dim, stride)) return false;
    stride *= x.size(dim);
  }
  return expect(0, stride);
}

// An uninitialised tensor of these sizes on the device of `like`, by default with its dtype, contiguous or
// channels-last. It replaces torch::stable::new_empty, which looks up its op by name and so takes a fifth of the time
// of a call on a small tensor.
inline Tensor uninitialised(const Tensor& like, IntHeaderOnlyArrayRef sizes, std::optional<ScalarType> dtype = {},
                            bool channels_last = false) {
  const auto dims = static_cast<int64_t>(sizes.size());
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  const auto place = [&](int64_t dim) {
    strides[dim] = stride;
    stride *= std::max<int64_t>(1, sizes[dim]);
  };
  if (channels_last) place(1);
  for (int64_t dim = dims - 1; dim >= 0; --dim) {
    if (!channels_last || dim != 1) place(dim);
  }
  const auto type = torch::stable::detail::from(dtype.value_or(like.scalar_type()));
  AtenTensorHandle fresh;
  const AOTITorchError status =
      aoti_torch_empty_strided(dims, sizes.data(), strides.data(), torch::stable::detail::to<int32_t>(type),
                               static_cast<int32_t>(like.device().type()), like.get_device_index(), &fresh);
  check_torch(status, "aoti_torch_empty_strided");
  Tensor tensor(fresh);
  poison(tensor);
  return tensor;
}

// An uninitialised tensor with the sizes, dtype and memory format of x, which must be contiguous or channels-last.
inline Tensor uninitialised_like(const Tensor& x) { return uninitialised(x, x.sizes(), {}, is_channels_last(x)); }

// Avoids torch::stable::contiguous, which takes microseconds even if x is contiguous.
inline Tensor made_contiguous(const Tensor& x) { return x.is_contiguous() ? x : torch::stable::contiguous(x); }

// x itself if it is contiguous or channels-last, the two memory formats that kernels support; else a contiguous copy.
inline Tensor dense(const Tensor& x) { return is_channels_last(x) ? x : made_contiguous(x); }

// x in the given memory format, copied if necessary.
inline Tensor in_format(const Tensor& x, bool channels_last) {
  if (!channels_last) return made_contiguous(x);
  if (is_channels_last(x)) return x;
  Tensor ordered = uninitialised(x, x.sizes(), {}, true);
  return torch::stable::copy_(ordered, x);
}

inline void prefer_large_pages(const Tensor& fresh) {
  prefer_large_pages(fresh.mutable_data_ptr(), static_cast<size_t>(fresh.numel()) * fresh.element_size());
}

// Calls body(begin, end) for parts of [0, count) on torch's threads, with at least `grain` items per part.
template <class Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count > 0) torch::stable::parallel_for(0, count, grain < 1 ? 1 : grain, body);
}

}  // namespace pydlx
