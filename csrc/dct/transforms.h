// Host functions of the CUDA transforms, for the launchers of dct and poisson.
#pragma once

#include <array>

#include "common/complex.cuh"
#include "dct/dct.h"

namespace pydlx {

/// Transforms the middle axis of a contiguous (outer, n, inner) tensor of float32 or float64.
Tensor transform_axis_cuda(const Tensor& lines, const DctAxis& axis, cudaStream_t stream);

/// Transforms both axes of the planes of a contiguous (planes, height, width) tensor of float32 or float64: both by
/// DCT-II, both by DCT-III or both by DST-I. NaN or infinity in a plane does not affect other planes.
Tensor transform_planes_cuda(const Tensor& planes, const DctAxis& down, const DctAxis& across, cudaStream_t stream);

// The kernels for powers of two (rows.cuh, columns.cuh). x and y may be the same; both must be aligned to 8 bytes. With
// `apart`, NaN or infinity in a line does not affect other lines.

/// Whether there is a kernel for rows of n samples, and one for columns of n samples on the current device.
bool has_power_rows(int64_t n);
bool has_power_columns(int64_t n, int64_t width);

void transform_power_rows(const float* x, float* y, int64_t rows, int64_t n, const DctAxis& axis, bool apart,
                          cudaStream_t stream);
void transform_power_columns(const float* x, float* y, int64_t planes, int64_t n, int64_t width, const DctAxis& axis,
                             bool apart, cudaStream_t stream);

/// Whether an address is aligned for pairs of float32.
inline bool lies_by_pairs(const void* address) { return reinterpret_cast<uintptr_t>(address) % 8 == 0; }

// Unscaled Fourier transforms by torch (cuFFT), along the given axes.

inline Tensor call_aten(const char* name, std::array<StableIValue, 4> stack) {
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

/// Of real numbers; the result has only the first half of the frequencies of the last given axis.
inline Tensor real_fft(const Tensor& x, const std::vector<int64_t>& axes) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_r2c", {from(x), from(axes), from(int64_t(0)), from(true)});
}

/// Its inverse, with n samples along the last given axis.
inline Tensor inverse_real_fft(const Tensor& spectrum, const std::vector<int64_t>& axes, int64_t n) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_c2r", {from(spectrum), from(axes), from(int64_t(0)), from(n)});
}

/// Of complex numbers; with `back` the inverse.
inline Tensor complex_fft(const Tensor& x, const std::vector<int64_t>& axes, bool back) {
  using torch::stable::detail::from;
  return call_aten("aten::_fft_c2c", {from(x), from(axes), from(int64_t(0)), from(!back)});
}

/// Whether cuFFT (12.0) may transform two real lines of n samples as one complex line, so that a NaN in one reaches the
/// other. Observed only for odd lengths above 127, where it depends on the factors and the direction.
constexpr bool shares_lines(int64_t n) { return n % 2 == 1 && n > 127; }

}  // namespace pydlx
