// Kernels before and after a Fourier transform that turn it into a cosine or sine transform of any length along any
// axis, in float32 or float64 (maths in dct.h and, for Makhoul's order, fft/cosine.h). Tensors are viewed as (outer, N,
// inner) with the transformed axis in the middle.
//
//     DCT-II   cosine_order<false>, real FFT, cosine_from_spectrum
//     DCT-III  spectrum_from_cosine, inverse real FFT, cosine_order<true>
//     DST-I    sine_extend to 2(N + 1) samples, real FFT, sine_from_spectrum
//
// The Fourier transform is torch's (cuFFT). Consecutive threads write consecutive elements. Bytes: an axis needs one
// read and one write of the tensor (dct.h); this path makes about four such passes, one in each kernel here and about
// two in cuFFT.
#pragma once

#include <cmath>

#include "common/complex.cuh"
#include "common/indexing.cuh"

namespace pydlx {

// Sizes of the view, and strides, which torch may choose freely for a Fourier transform's result.
template <class Index>
struct LineView {
  Index samples, inner;
  Index outer_stride, sample_stride, inner_stride;

  __host__ __device__ Index at(Index outer, Index sample, Index i) const {
    return outer * outer_stride + sample * sample_stride + i * inner_stride;
  }
};

// The coordinates of element `index` of a contiguous (outer, count, inner) tensor.
template <class Index>
struct LineElement {
  Index outer, sample, inner;
  Index line;  // index among all lines

  __host__ __device__ LineElement(Index index, Index count, Index inner_size) {
    inner = index % inner_size;
    index /= inner_size;
    sample = index % count;
    outer = index / count;
    line = outer * inner_size + inner;
  }
};

// Marks of the lines with NaN or infinity, for transforms in which cuFFT may combine lines (shares_lines): samples that
// are not finite are replaced by 0, and all results of marked lines become NaN. Null if no lines are combined.
struct SpoiledLines {
  uint8_t* spoiled;

  template <class T, class Index>
  __device__ T finite(T value, Index line) const {
    if (spoiled == nullptr || value - value == T(0)) return value;
    spoiled[line] = 1;
    return T(0);
  }

  template <class T, class Index>
  __device__ T restored(T value, Index line) const {
    return spoiled != nullptr && spoiled[line] ? T(NAN) : value;
  }
};

// The position of sample n in Makhoul's order: even samples ascending, then odd ones descending.
template <class Index>
__host__ __device__ inline Index makhoul_position(Index n, Index samples) {
  return n % 2 ? samples - 1 - n / 2 : n / 2;
}

// kBack: y_n = v_{position(n)}; otherwise v_{position(n)} = y_n. `from` is strided like the view.
template <class T, class Index, bool kBack>
__global__ void cosine_order_kernel(const T* __restrict__ from, T* __restrict__ to, LineView<Index> view,
                                    SpoiledLines lines, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const LineElement<Index> e(static_cast<Index>(index), view.samples, view.inner);
    const Index n = view.samples;
    const Index half = (n + 1) / 2;
    const Index source = kBack             ? makhoul_position(e.sample, n)
                         : e.sample < half ? 2 * e.sample
                                           : 2 * (n - 1 - e.sample) + 1;
    const T value = from[view.at(e.outer, source, e.inner)];
    to[index] = kBack ? lines.restored(value, e.line) : lines.finite(value, e.line);
  }
}

// X_k = 2 Re(V_k exp(-i pi k / 2N)) and X_{N-k} = -2 Im(...), for k = 0 .. N/2; y is contiguous (outer, N, inner).
template <class T, class Index>
__global__ void cosine_from_spectrum_kernel(const Complex<T>* __restrict__ spectrum, T* __restrict__ y,
                                            LineView<Index> view, SpoiledLines lines, T first, T scale, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const Index n = view.samples;
    const LineElement<Index> e(static_cast<Index>(index), n / 2 + 1, view.inner);
    Complex<T> v = spectrum[view.at(e.outer, e.sample, e.inner)];
    v = {lines.restored(v.re, e.line), lines.restored(v.im, e.line)};
    T c, s;
    cosine_and_sine(T(e.sample) / (T(2) * T(n)), &c, &s);
    T* line = y + e.outer * n * view.inner + e.inner;
    line[e.sample * view.inner] = T(2) * (v.re * c + v.im * s) * (e.sample == 0 ? first : scale);
    if (e.sample > 0 && 2 * e.sample != n) {
      line[(n - e.sample) * view.inner] = T(2) * (v.re * s - v.im * c) * scale;
    }
  }
}

// V_k = (x_k - i x_{N-k}) exp(i pi k / 2N), with x_N = 0, for k = 0 .. N/2; x is contiguous (outer, N, inner).
template <class T, class Index>
__global__ void spectrum_from_cosine_kernel(const T* __restrict__ x, Complex<T>* __restrict__ spectrum,
                                            LineView<Index> view, SpoiledLines lines, T first, T scale, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const Index n = view.samples;
    const LineElement<Index> e(static_cast<Index>(index), n / 2 + 1, view.inner);
    const T* line = x + e.outer * n * view.inner + e.inner;
    const T a = lines.finite(line[e.sample * view.inner], e.line) * (e.sample == 0 ? first : scale);
    const T b = e.sample == 0 ? T(0) : lines.finite(line[(n - e.sample) * view.inner], e.line) * scale;
    T c, s;
    cosine_and_sine(T(e.sample) / (T(2) * T(n)), &c, &s);
    spectrum[index] = {a * c + b * s, a * s - b * c};
  }
}

// (0, x, 0, -x reversed), 2(N + 1) samples; x is contiguous (outer, N, inner).
template <class T, class Index>
__global__ void sine_extend_kernel(const T* __restrict__ x, T* __restrict__ extended, LineView<Index> view,
                                   int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const Index n = view.samples, period = 2 * (n + 1);
    const LineElement<Index> e(static_cast<Index>(index), period, view.inner);
    const bool falling = e.sample > n + 1;
    const Index source = falling ? period - e.sample : e.sample;
    const bool zero = source == 0 || source == n + 1;
    const T value = zero ? T(0) : x[(e.outer * n + source - 1) * view.inner + e.inner];
    extended[index] = falling ? -value : value;
  }
}

// S_k = -Im E_{k+1}; y is contiguous (outer, N, inner).
template <class T, class Index>
__global__ void sine_from_spectrum_kernel(const Complex<T>* __restrict__ spectrum, T* __restrict__ y,
                                          LineView<Index> view, T scale, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const LineElement<Index> e(static_cast<Index>(index), view.samples, view.inner);
    y[index] = -spectrum[view.at(e.outer, e.sample + 1, e.inner)].im * scale;
  }
}

}  // namespace pydlx
