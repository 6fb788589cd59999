// What the CUDA launchers of the transforms offer each other and the Poisson solves.
#pragma once

#include <array>

#include "common/complex.cuh"
#include "dct/dct.h"

namespace pydlx {

/// Transforms the middle axis of a contiguous (outer, n, inner) tensor of float32 or float64.
Tensor transform_axis_cuda(const Tensor& lines, const DctAxis& axis, cudaStream_t stream);

/// Transforms both axes of the planes of a contiguous (planes, height, width) tensor of float32 or float64: both by
/// DCT-II, both by DCT-III or both by DST-I. A plane that is not finite leaves the others alone.
Tensor transform_planes_cuda(const Tensor& planes, const DctAxis& down, const DctAxis& across, cudaStream_t stream);

// The kernels for powers of two (rows.cuh, columns.cuh). x and y may be the same; both lie at multiples of 8 bytes.
// `apart`: a line that is not finite leaves the others alone.

/// Whether there are kernels for lines of n samples, and for columns of as many on the current device.
bool has_power_rows(int64_t n);
bool has_power_columns(int64_t n, int64_t width);

void transform_power_rows(const float* x, float* y, int64_t rows, int64_t n, const DctAxis& axis, bool apart,
                          cudaStream_t stream);
void transform_power_columns(const float* x, float* y, int64_t planes, int64_t n, int64_t width, const DctAxis& axis,
                             bool apart, cudaStream_t stream);

/// Whether numbers at this address are read and written by pairs.
inline bool lies_by_pairs(const void* address) { return reinterpret_cast<uintptr_t>(address) % 8 == 0; }

// Unscaled Fourier transforms by torch (cuFFT), along the axes named.

inline Tensor call_aten(const char* name, std::array<StableIValue, 4> stack) {
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

/// Of real numbers; of the last axis named only the first half of the frequencies.
inline Tensor real_fft(const Tensor& x, const std::vector<int64_t>& axes) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_r2c", {from(x), from(axes), from(int64_t(0)), from(true)});
}

/// Its inverse, where the last axis named had n samples.
inline Tensor inverse_real_fft(const Tensor& spectrum, const std::vector<int64_t>& axes, int64_t n) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_c2r", {from(spectrum), from(axes), from(int64_t(0)), from(n)});
}

/// Of complex numbers; `back`: the inverse.
inline Tensor complex_fft(const Tensor& x, const std::vector<int64_t>& axes, bool back) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_c2c", {from(x), from(axes), from(int64_t(0)), from(!back)});
}

/// Whether cuFFT (12.0) may take two real lines of n samples as one complex line, so that a NaN of one would reach the
/// other. Seen for odd lengths above 127 alone; of these it depends on the factors and the direction.
constexpr bool shares_lines(int64_t n) { return n % 2 == 1 && n > 127; }

}  // namespace pydlx
