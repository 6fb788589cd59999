// The transform of one axis on CUDA: by the kernels for powers of two (rows.cuh, columns.cuh), or by those of dct.cuh
// and torch's Fourier transform.
#include <optional>

#include "common/launch.cuh"
#include "dct/dct.cuh"
#include "dct/transforms.h"

namespace pydlx {
namespace {

constexpr int kDctThreads = 256;

// The view of a tensor that torch returned, with lines of n samples.
template <class Index>
LineView<Index> line_view(const Tensor& lines, int64_t n) {
  return {static_cast<Index>(n), static_cast<Index>(lines.size(2)), static_cast<Index>(lines.stride(0)),
          static_cast<Index>(lines.stride(1)), static_cast<Index>(lines.stride(2))};
}

template <class T, class Index>
Tensor transform_lines(const Tensor& x, const DctAxis& axis, cudaStream_t stream) {
  const int64_t outer = x.size(0), n = x.size(1), inner = x.size(2);
  const int64_t bins = n / 2 + 1, half = outer * bins * inner;
  const T first = static_cast<T>(axis.first), scale = static_cast<T>(axis.scale);
  const auto view = line_view<Index>(x, n);
  Tensor y = uninitialised_like(x);
  std::optional<Tensor> marks;  // one per line
  if (axis.type != 1 && shares_lines(n)) marks = torch::stable::new_zeros(x, {outer * inner}, ScalarType::Byte);
  const SpoiledLines lines{marks ? output_data<uint8_t>(*marks) : nullptr};
  const auto grid = [](int64_t count) { return blocks_for(count, kDctThreads); };
  if (axis.type == 2) {
    PYDLX_LAUNCH((cosine_order_kernel<T, Index, false>), grid(x.numel()), kDctThreads, 0, stream, input_data<T>(x),
                 output_data<T>(y), view, lines, x.numel());
    const Tensor spectrum = real_fft(y, {1});
    PYDLX_LAUNCH((cosine_from_spectrum_kernel<T, Index>), grid(half), kDctThreads, 0, stream,
                 input_data<Complex<T>>(spectrum), output_data<T>(y), line_view<Index>(spectrum, n), lines, first,
                 scale, half);
  } else if (axis.type == 3) {
    const auto complex = sizeof(T) == 8 ? ScalarType::ComplexDouble : ScalarType::ComplexFloat;
    const Tensor spectrum = uninitialised(x, {outer, bins, inner}, complex);
    PYDLX_LAUNCH((spectrum_from_cosine_kernel<T, Index>), grid(half), kDctThreads, 0, stream, input_data<T>(x),
                 output_data<Complex<T>>(spectrum), view, lines, first, scale, half);
    const Tensor ordered = inverse_real_fft(spectrum, {1}, n);
    PYDLX_LAUNCH((cosine_order_kernel<T, Index, true>), grid(y.numel()), kDctThreads, 0, stream, input_data<T>(ordered),
                 output_data<T>(y), line_view<Index>(ordered, n), lines, y.numel());
  } else {
    const Tensor extended = uninitialised(x, {outer, 2 * (n + 1), inner});
    PYDLX_LAUNCH((sine_extend_kernel<T, Index>), grid(extended.numel()), kDctThreads, 0, stream, input_data<T>(x),
                 output_data<T>(extended), view, extended.numel());
    const Tensor spectrum = real_fft(extended, {1});
    PYDLX_LAUNCH((sine_from_spectrum_kernel<T, Index>), grid(y.numel()), kDctThreads, 0, stream,
                 input_data<Complex<T>>(spectrum), output_data<T>(y), line_view<Index>(spectrum, n), scale, y.numel());
  }
  return y;
}

// Transforms by the kernels for powers of two; empty if they do not support x.
std::optional<Tensor> transform_power_lines(const Tensor& x, const DctAxis& axis, cudaStream_t stream) {
  const int64_t outer = x.size(0), n = x.size(1), inner = x.size(2);
  if (x.scalar_type() != ScalarType::Float || axis.type == 1 || !lies_by_pairs(x.const_data_ptr())) return {};
  if (inner == 1 ? !has_power_rows(n) : !has_power_columns(n, inner)) return {};
  const Tensor y = uninitialised_like(x);
  if (inner == 1) {
    transform_power_rows(input_data<float>(x), output_data<float>(y), outer, n, axis, true, stream);
  } else {
    transform_power_columns(input_data<float>(x), output_data<float>(y), outer, n, inner, axis, true, stream);
  }
  return y;
}

}  // namespace

Tensor transform_axis_cuda(const Tensor& lines, const DctAxis& axis, cudaStream_t stream) {
  if (const auto done = transform_power_lines(lines, axis, stream)) return *done;
  Tensor y = lines;
  dispatch_full_precision(lines.scalar_type(), "dct", [&](auto zero) {
    dispatch_index(2 * lines.numel() + 2 * lines.size(0) * lines.size(2),
                   [&](auto narrow) { y = transform_lines<decltype(zero), decltype(narrow)>(lines, axis, stream); });
  });
  return y;
}

}  // namespace pydlx
