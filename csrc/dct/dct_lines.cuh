// One axis of a transform on CUDA: what dct_cuda.cu offers as an op and poisson_cuda.cu builds on.
#pragma once

#include <array>
#include <optional>

#include "common/indexing.cuh"
#include "common/launch.cuh"
#include "dct/dct.cuh"
#include "dct/dct.h"

namespace pydlx {

constexpr int kDctThreads = 256;

inline Tensor call_aten(const char* name, std::array<StableIValue, 4> stack) {
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// Unscaled Fourier transform of real lines along axis 1: (outer, n, inner) to (outer, n / 2 + 1, inner), complex.
inline Tensor real_fft(const Tensor& x) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_r2c", {from(x), from(std::vector<int64_t>{1}), from(int64_t(0)), from(true)});
}

// Its unscaled inverse, for lines of n samples.
inline Tensor inverse_real_fft(const Tensor& spectrum, int64_t n) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_c2r", {from(spectrum), from(std::vector<int64_t>{1}), from(int64_t(0)), from(n)});
}

// Whether cuFFT (12.0) may take two real lines of n samples as one complex line, so that a NaN of one would reach the
// other. Seen for odd lengths above 127 alone; of these it depends on the factors and the direction.
constexpr bool shares_lines(int64_t n) { return n % 2 == 1 && n > 127; }

// A view of `lines` for lines of n samples, strided as torch returned them.
template <class Index>
LineView<Index> line_view(const Tensor& lines, int64_t n) {
  return {static_cast<Index>(n), static_cast<Index>(lines.size(2)), static_cast<Index>(lines.stride(0)),
          static_cast<Index>(lines.stride(1)), static_cast<Index>(lines.stride(2))};
}

template <class T, class Index>
Tensor transform_lines_cuda(const Tensor& x, const DctAxis& axis, cudaStream_t stream) {
  const int64_t outer = x.size(0), n = x.size(1), inner = x.size(2);
  const int64_t bins = n / 2 + 1, half = outer * bins * inner;
  const T first = static_cast<T>(axis.first), scale = static_cast<T>(axis.scale);
  const auto view = line_view<Index>(x, n);
  Tensor y = uninitialised_like(x);
  std::optional<Tensor> marks;  // one for each line
  if (axis.type != 1 && shares_lines(n)) marks = torch::stable::new_zeros(x, {outer * inner}, ScalarType::Byte);
  const SpoiledLines lines{marks ? output_data<uint8_t>(*marks) : nullptr};
  const auto grid = [](int64_t count) { return blocks_for(count, kDctThreads); };
  if (axis.type == 2) {
    PYDLX_LAUNCH((cosine_order_kernel<T, Index, false>), grid(x.numel()), kDctThreads, 0, stream, input_data<T>(x),
                 output_data<T>(y), view, lines, x.numel());
    const Tensor spectrum = real_fft(y);
    PYDLX_LAUNCH((cosine_from_spectrum_kernel<T, Index>), grid(half), kDctThreads, 0, stream,
                 input_data<Complex<T>>(spectrum), output_data<T>(y), line_view<Index>(spectrum, n), lines, first,
                 scale, half);
  } else if (axis.type == 3) {
    const auto complex = sizeof(T) == 8 ? ScalarType::ComplexDouble : ScalarType::ComplexFloat;
    const Tensor spectrum = uninitialised(x, {outer, bins, inner}, complex);
    PYDLX_LAUNCH((spectrum_from_cosine_kernel<T, Index>), grid(half), kDctThreads, 0, stream, input_data<T>(x),
                 output_data<Complex<T>>(spectrum), view, lines, first, scale, half);
    const Tensor ordered = inverse_real_fft(spectrum, n);
    PYDLX_LAUNCH((cosine_order_kernel<T, Index, true>), grid(y.numel()), kDctThreads, 0, stream, input_data<T>(ordered),
                 output_data<T>(y), line_view<Index>(ordered, n), lines, y.numel());
  } else {
    const Tensor extended = uninitialised(x, {outer, 2 * (n + 1), inner});
    PYDLX_LAUNCH((sine_extend_kernel<T, Index>), grid(extended.numel()), kDctThreads, 0, stream, input_data<T>(x),
                 output_data<T>(extended), view, extended.numel());
    const Tensor spectrum = real_fft(extended);
    PYDLX_LAUNCH((sine_from_spectrum_kernel<T, Index>), grid(y.numel()), kDctThreads, 0, stream,
                 input_data<Complex<T>>(spectrum), output_data<T>(y), line_view<Index>(spectrum, n), scale, y.numel());
  }
  return y;
}

// Transforms the middle axis of a contiguous (outer, n, inner) tensor.
template <class T>
Tensor transform_axis_cuda(const Tensor& x, const DctAxis& axis, cudaStream_t stream) {
  Tensor y = x;
  dispatch_index(2 * x.numel() + 2 * x.size(0) * x.size(2),
                 [&](auto narrow) { y = transform_lines_cuda<T, decltype(narrow)>(x, axis, stream); });
  return y;
}

}  // namespace pydlx
