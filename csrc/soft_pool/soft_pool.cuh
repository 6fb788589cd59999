// SoftPool kernels for any window (maths and shapes in soft_pool.h) on channels-last (N, D, H, W, C) tensors; a
// contiguous tensor is treated as planes with one channel. The most common windows have their own kernels:
// soft_pool_rows.cuh for contiguous tensors, soft_pool_pixels.cuh for channels-last ones.
//
// Forward: one thread per window and vector of channels. One pass finds the peak, a second one sums, from cache.
// Bytes: x must be read once and y written once.
//
// Backward, in two kernels: the first writes what the elements need of each window (peak, grad / S, slope at the peak:
// three numbers per output) to a workspace. The second has one thread per element and vector of channels, which gathers
// in a fixed order from the at most ceil(window / stride) windows per axis that cover the element: no atomics, bitwise
// reproducible. Bytes: x and grad must be read once and dx written once; these kernels read x twice, and write and read
// the workspace.
#pragma once

#include <cmath>

#include "common/accumulate.h"
#include "common/indexing.cuh"
#include "common/vectors.cuh"
#include "soft_pool/soft_pool.h"
#include "soft_pool/soft_pool_window.cuh"

namespace pydlx {

/// The kernels' parameters, passed by value. Index is int32_t if every index fits, which avoids 64-bit divisions, else
/// int64_t. Channels are counted in vectors.
template <class Index>
struct SoftPoolKernel {
  Index in[3], out[3];
  Index kernel[3], stride[3], padding[3], dilation[3];
  Divisor<Index> vectors, in_by[3], out_by[3], stride_by[3], dilation_by[3];
  bool straight_through;

  SoftPoolKernel(const SoftPoolShape& s, int64_t vectors_of_pixel, bool straight_through_)
      : vectors(vectors_of_pixel),
        in_by{Divisor<Index>(s.in[0]), Divisor<Index>(s.in[1]), Divisor<Index>(s.in[2])},
        out_by{Divisor<Index>(s.out[0]), Divisor<Index>(s.out[1]), Divisor<Index>(s.out[2])},
        stride_by{Divisor<Index>(s.stride[0]), Divisor<Index>(s.stride[1]), Divisor<Index>(s.stride[2])},
        dilation_by{Divisor<Index>(s.dilation[0]), Divisor<Index>(s.dilation[1]), Divisor<Index>(s.dilation[2])},
        straight_through(straight_through_) {
    for (int axis = 0; axis < 3; ++axis) {
      in[axis] = static_cast<Index>(s.in[axis]);
      out[axis] = static_cast<Index>(s.out[axis]);
      kernel[axis] = static_cast<Index>(s.kernel[axis]);
      stride[axis] = static_cast<Index>(s.stride[axis]);
      padding[axis] = static_cast<Index>(s.padding[axis]);
      dilation[axis] = static_cast<Index>(s.dilation[axis]);
    }
  }
};

/// The coordinates of one vector of channels in a tensor of spatial size `size`.
template <class Index>
struct SoftPoolCell {
  Index n, at[3], vector;

  __device__ SoftPoolCell(const SoftPoolKernel<Index>& p, Index index, const Divisor<Index> (&size)[3]) {
    vector = p.vectors.remainder(index);
    index = p.vectors.quotient(index);
    for (int axis = 2; axis >= 0; --axis) {
      at[axis] = size[axis].remainder(index);
      index = size[axis].quotient(index);
    }
    n = index;
  }

  /// The index of the vector with the same channels at another spatial position.
  __device__ Index index(const SoftPoolKernel<Index>& p, const Index (&size)[3], Index d, Index h, Index w) const {
    return (((n * size[0] + d) * size[1] + h) * size[2] + w) * static_cast<Index>(p.vectors.divisor) + vector;
  }
};

/// Calls visit(vector) for every element of a window that lies inside the input.
template <int channels, class T, class Index, class Visit>
__device__ __forceinline__ void for_each_tap(const SoftPoolKernel<Index>& p, const T* x,
                                             const SoftPoolCell<Index>& window, const Visit& visit) {
  for (Index kd = 0; kd < p.kernel[0]; ++kd) {
    const Index d = window.at[0] * p.stride[0] - p.padding[0] + kd * p.dilation[0];
    if (d < 0 || d >= p.in[0]) continue;
    for (Index kh = 0; kh < p.kernel[1]; ++kh) {
      const Index h = window.at[1] * p.stride[1] - p.padding[1] + kh * p.dilation[1];
      if (h < 0 || h >= p.in[1]) continue;
      for (Index kw = 0; kw < p.kernel[2]; ++kw) {
        const Index w = window.at[2] * p.stride[2] - p.padding[2] + kw * p.dilation[2];
        if (w < 0 || w >= p.in[2]) continue;
        accumulate_t<T> cells[channels];
        load_vector(x + static_cast<int64_t>(window.index(p, p.in, d, h, w)) * channels, cells);
        visit(cells);
      }
    }
  }
}

/// Peak m, total weight S and mean distance from the peak of one window, for several channels: y = m + mean.
template <class A, int channels>
struct SoftPoolSums {
  A peak[channels], total[channels], mean[channels];

  template <class T, class Index>
  __device__ SoftPoolSums(const SoftPoolKernel<Index>& p, const T* x, const SoftPoolCell<Index>& window) {
    for (int i = 0; i < channels; ++i) peak[i] = A(-INFINITY), total[i] = 0, mean[i] = 0;
    for_each_tap<channels>(p, x, window, [&](const A(&cells)[channels]) {
      for (int i = 0; i < channels; ++i) peak[i] = max(peak[i], cells[i]);
    });
    for_each_tap<channels>(p, x, window, [&](const A(&cells)[channels]) {
      for (int i = 0; i < channels; ++i) {
        const A d = distance_below(cells[i], peak[i]);
        const A e = fast_exp(d);
        total[i] += e;
        mean[i] = fma(e, d, mean[i]);
      }
    });
    for (int i = 0; i < channels; ++i) mean[i] /= total[i];
  }
};

template <class T, class Index, int channels>
__global__ void soft_pool_forward_kernel(SoftPoolKernel<Index> p, const T* __restrict__ x, T* __restrict__ y,
                                         int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell<Index> window(p, static_cast<Index>(index), p.out_by);
    const SoftPoolSums<A, channels> sums(p, x, window);
    A values[channels];
    for (int i = 0; i < channels; ++i) {
      // A window without elements (dilated past the input) counts as a window of -inf.
      values[i] = sums.total[i] == 0 ? sums.peak[i] : sums.peak[i] + sums.mean[i];
    }
    store_vector(y + index * channels, values);
  }
}

/// The per-window numbers that the second backward kernel reads, one array each.
template <class A>
struct SoftPoolStatistics {
  A *peaks, *shares, *slopes;

  SoftPoolStatistics(A* workspace, int64_t elements)
      : peaks(workspace), shares(workspace + elements), slopes(workspace + 2 * elements) {}
};

template <class T, class Index, int channels>
__global__ void soft_pool_statistics_kernel(SoftPoolKernel<Index> p, const T* __restrict__ grad,
                                            const T* __restrict__ x, SoftPoolStatistics<accumulate_t<T>> to,
                                            int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell<Index> window(p, static_cast<Index>(index), p.out_by);
    const SoftPoolSums<A, channels> sums(p, x, window);
    A shares[channels], slopes[channels];
    load_vector(grad + index * channels, shares);
    for (int i = 0; i < channels; ++i) {
      shares[i] /= sums.total[i];
      slopes[i] = p.straight_through ? A(1) : A(1) - sums.mean[i];
    }
    store_vector(to.peaks + index * channels, sums.peak);
    store_vector(to.shares + index * channels, shares);
    store_vector(to.slopes + index * channels, slopes);
  }
}

/// The outputs [first, last) along one axis whose windows may cover input position `in`.
template <class Index>
struct SoftPoolReach {
  Index first, last;

  __device__ SoftPoolReach(const SoftPoolKernel<Index>& p, int axis, Index in) {
    const Index padded = in + p.padding[axis];
    const Index before = padded - p.dilation[axis] * (p.kernel[axis] - 1);
    first = before <= 0 ? 0 : p.stride_by[axis].quotient(before + p.stride[axis] - 1);
    last = p.stride_by[axis].quotient(padded) + 1;
    if (last > p.out[axis]) last = p.out[axis];
  }
};

/// Whether output `out` has a tap exactly at input position `in`; a dilated window skips elements.
template <class Index>
__device__ inline bool has_tap(const SoftPoolKernel<Index>& p, int axis, Index out, Index in) {
  return p.dilation[axis] == 1 || p.dilation_by[axis].remainder(in + p.padding[axis] - out * p.stride[axis]) == 0;
}

template <class T, class Index, int channels>
__global__ void soft_pool_gather_kernel(SoftPoolKernel<Index> p, SoftPoolStatistics<accumulate_t<T>> of,
                                        const T* __restrict__ x, T* __restrict__ dx, int64_t count) {
  using A = accumulate_t<T>;
  const A exact = p.straight_through ? A(0) : A(1);
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell<Index> cell(p, static_cast<Index>(index), p.in_by);
    A cells[channels], sums[channels];
    load_vector(x + index * channels, cells);
    for (A& sum : sums) sum = 0;
    const SoftPoolReach<Index> slices(p, 0, cell.at[0]), rows(p, 1, cell.at[1]), columns(p, 2, cell.at[2]);
    for (Index d = slices.first; d < slices.last; ++d) {
      if (!has_tap(p, 0, d, cell.at[0])) continue;
      for (Index h = rows.first; h < rows.last; ++h) {
        if (!has_tap(p, 1, h, cell.at[1])) continue;
        for (Index w = columns.first; w < columns.last; ++w) {
          if (!has_tap(p, 2, w, cell.at[2])) continue;
          const int64_t at = static_cast<int64_t>(cell.index(p, p.out, d, h, w)) * channels;
          A peaks[channels], shares[channels], slopes[channels];
          load_vector(of.peaks + at, peaks);
          load_vector(of.shares + at, shares);
          load_vector(of.slopes + at, slopes);
          for (int i = 0; i < channels; ++i) {
            const A distance = distance_below(cells[i], peaks[i]);
            sums[i] += gradient_of_cell(distance, fast_exp(distance), shares[i], slopes[i], exact);
          }
        }
      }
    }
    store_vector(dx + index * channels, sums);
  }
}

}  // namespace pydlx
