// Kernels before and after a two-dimensional real Fourier transform (cuFFT) that turn it into the cosine transform of
// planes of any height H and width W. With Makhoul's order along both axes, the half spectrum V (H, W / 2 + 1),
// a = exp(-i pi k / 2H) and b = exp(-i pi l / 2W),
//
//     b (a V[k, l] + conj(a) V[H - k, l]) = (X[k, l] - i X[k, W - l]) / 2
//     b (a V[k, l] - conj(a) V[H - k, l]) = -(X[H - k, W - l] + i X[H - k, l]) / 2
//
// so two elements of V give four of X, and for DCT-III four give two. Elements outside of the spectrum, X[H, l] and
// X[k, W], are zero.
//
//     DCT-II     makhoul_planes<false>, real FFT, cosine_planes
//     DCT-III    spectrum_planes, inverse real FFT, makhoul_planes<true>
//
// Bytes per float32 element: 8 in each of the two kernels, besides the Fourier transform's.
#pragma once

#include "common/vectors.cuh"
#include "dct/dct.cuh"
#include "dct/rows.cuh"

namespace pydlx {

constexpr int kPlaneThreads = 256;
constexpr int kOrderedRows = 4;     // per block of makhoul_planes_kernel
constexpr int kRowFrequencies = 4;  // per thread

// The block's plane and its index in that plane, for grids of planes * parts blocks.
struct BlockOfPlane {
  unsigned plane, part;
  __device__ explicit BlockOfPlane(unsigned parts) : plane(blockIdx.x / parts), part(blockIdx.x - plane * parts) {}
};

// y[p(i), p(j)] = x[i, j] with p Makhoul's position, or with kBack y[i, j] = x[p(i), p(j)]. kVectors requires that W is
// a multiple of 4 and addresses are aligned for vectors.
template <class T, bool kBack, bool kVectors>
__global__ __launch_bounds__(kPlaneThreads) void makhoul_planes_kernel(const T* __restrict__ x, T* __restrict__ y,
                                                                       int height, int width, unsigned parts,
                                                                       SpoiledLines planes) {
  const BlockOfPlane at(parts);
  const int64_t start = static_cast<int64_t>(at.plane) * height * width;
  const auto checked = [&](T value) {
    return kBack ? planes.restored(value, at.plane) : planes.finite(value, at.plane);
  };
  const int first = static_cast<int>(at.part) * kOrderedRows;
  for (int i = first; i < min(height, first + kOrderedRows); ++i) {
    const int64_t natural = start + static_cast<int64_t>(i) * width;
    const int64_t ordered = start + static_cast<int64_t>(makhoul_position(i, height)) * width;
    const T* from = x + (kBack ? ordered : natural);
    T* to = y + (kBack ? natural : ordered);
    if constexpr (kVectors) {
      for (int q = static_cast<int>(threadIdx.x); q < width / 4; q += kPlaneThreads) {
        T pixels[4], even[2], odd[2];
        if constexpr (kBack) {
          load_vector(from + 2 * q, even);
          load_vector(from + width - 2 - 2 * q, odd);
          pixels[0] = checked(even[0]), pixels[1] = checked(odd[1]);
          pixels[2] = checked(even[1]), pixels[3] = checked(odd[0]);
          store_vector(to + 4 * q, pixels);
        } else {
          load_vector(from + 4 * q, pixels);
          even[0] = checked(pixels[0]), even[1] = checked(pixels[2]);
          odd[0] = checked(pixels[3]), odd[1] = checked(pixels[1]);
          store_vector(to + 2 * q, even);
          store_vector(to + width - 2 - 2 * q, odd);
        }
      }
    } else {
      for (int j = static_cast<int>(threadIdx.x); j < width; j += kPlaneThreads) {
        const int position = makhoul_position(j, width);
        to[kBack ? j : position] = checked(from[kBack ? position : j]);
      }
    }
  }
}

// A thread computes row frequencies k .. k + 3 of column l, and H - k of each; l runs fastest.
struct PlaneFrequency {
  int l, first;
  bool inside;

  __device__ PlaneFrequency(unsigned part, int height, int columns) {
    const int number = static_cast<int>(part * kPlaneThreads + threadIdx.x), group = number / columns;
    l = number - group * columns;
    first = group * kRowFrequencies;
    inside = first <= height / 2;
  }
};

template <class T>
__device__ __forceinline__ Complex<T> quarter_turn(int k, int n) {  // exp(-i pi k / 2n)
  return turn(-T(k) / (T(2) * T(n)));
}

/// V (planes, H, W / 2 + 1) -> x (planes, H, W).
template <class T>
__global__ __launch_bounds__(kPlaneThreads) void cosine_planes_kernel(const Complex<T>* __restrict__ spectrum,
                                                                      T* __restrict__ x, int height, int width,
                                                                      unsigned parts, LineScale<T> down,
                                                                      LineScale<T> across, SpoiledLines planes) {
  const BlockOfPlane at(parts);
  const int columns = width / 2 + 1;
  const PlaneFrequency at_k(at.part, height, columns);
  if (!at_k.inside) return;
  const int l = at_k.l, mirrored = width - l;
  const bool has_mirror = l > 0 && 2 * l != width;
  const Complex<T>* from = spectrum + static_cast<int64_t>(at.plane) * height * columns + l;
  T* plane = x + static_cast<int64_t>(at.plane) * height * width;
  const Complex<T> b = quarter_turn<T>(l, width);
  const T here = planes.restored(T(2) * across.at(l), at.plane);
  const T there = planes.restored(T(2) * across.others, at.plane);
  Complex<T> upper[kRowFrequencies], lower[kRowFrequencies];
#pragma unroll
  for (int n = 0; n < kRowFrequencies; ++n) {
    const int k = min(at_k.first + n, height / 2);
    upper[n] = from[static_cast<int64_t>(k) * columns];
    lower[n] = from[static_cast<int64_t>(k == 0 ? 0 : height - k) * columns];
  }
#pragma unroll
  for (int n = 0; n < kRowFrequencies; ++n) {
    const int k = at_k.first + n;
    if (k > height / 2) break;
    const Complex<T> a = quarter_turn<T>(k, height);
    const Complex<T> p = product(a, upper[n]), q = product_conjugate(lower[n], a);
    const Complex<T> sum = product(b, p + q), difference = product(b, p - q);
    T* row = plane + static_cast<int64_t>(k) * width;
    row[l] = sum.re * (down.at(k) * here);
    if (has_mirror) row[mirrored] = -sum.im * (down.at(k) * there);
    if (k > 0 && 2 * k != height) {
      row = plane + static_cast<int64_t>(height - k) * width;
      row[l] = -difference.im * (down.others * here);
      if (has_mirror) row[mirrored] = -difference.re * (down.others * there);
    }
  }
}

/// x (planes, H, W) -> V (planes, H, W / 2 + 1).
template <class T>
__global__ __launch_bounds__(kPlaneThreads) void spectrum_planes_kernel(const T* __restrict__ x,
                                                                        Complex<T>* __restrict__ spectrum, int height,
                                                                        int width, unsigned parts, LineScale<T> down,
                                                                        LineScale<T> across, SpoiledLines planes) {
  const BlockOfPlane at(parts);
  const int columns = width / 2 + 1;
  const PlaneFrequency at_k(at.part, height, columns);
  if (!at_k.inside) return;
  const int l = at_k.l, mirrored = width - l;
  Complex<T>* to = spectrum + static_cast<int64_t>(at.plane) * height * columns + l;
  const T* plane = x + static_cast<int64_t>(at.plane) * height * width;
  const Complex<T> b = quarter_turn<T>(l, width);
  const T here = across.at(l), there = across.others;
#pragma unroll
  for (int n = 0; n < kRowFrequencies; ++n) {
    const int k = at_k.first + n;
    if (k > height / 2) break;
    const auto number = [&](const T* row, int column, T factor) {
      return column == width ? T(0) : planes.finite(row[column], at.plane) * factor;
    };
    const Complex<T> a = quarter_turn<T>(k, height);
    const T* row = plane + static_cast<int64_t>(k) * width;
    Complex<T> sum{number(row, l, down.at(k) * here), -number(row, mirrored, down.at(k) * there)};
    Complex<T> difference{T(0), T(0)};
    if (k > 0) {
      row = plane + static_cast<int64_t>(height - k) * width;
      difference = {-number(row, mirrored, down.others * there), -number(row, l, down.others * here)};
    }
    sum = product_conjugate(sum, b), difference = product_conjugate(difference, b);
    to[static_cast<int64_t>(k) * columns] = product_conjugate(sum + difference, a);
    if (k > 0 && 2 * k != height) {
      to[static_cast<int64_t>(height - k) * columns] = product(sum - difference, a);
    }
  }
}

}  // namespace pydlx
