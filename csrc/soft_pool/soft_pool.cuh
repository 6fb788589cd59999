// SoftPool kernels (maths and shapes in soft_pool.h), over contiguous (planes, D, H, W) or channels-last
// (N, D, H, W, C) tensors.
//
// Forward: one thread per output, consecutive threads on consecutive outputs, so reads of a warp fall into the same
// cache lines and each input cell comes from memory about once. One pass finds the peak, a second one sums.
// Floor: read x once, write y once.
//
// Backward: one thread per input cell gathers from the at most ceil(window / stride) windows per axis that cover it,
// in a fixed order: no atomics, bitwise repeatable. Sums of a window are recomputed, from cache.
// Floor: read x and grad once, write dx once.
#pragma once

#include <cmath>

#include "common/accumulate.h"
#include "common/indexing.cuh"
#include "soft_pool/soft_pool.h"

namespace pydlx {

// Everything the kernels need, passed by value. Index is int32_t where every tensor has fewer than 2^31 elements, which
// spares the 64-bit divisions, and int64_t otherwise. A plane is one channel of one image.
template <class Index>
struct SoftPoolKernel {
  Index channels, in[3], out[3];
  Index kernel[3], stride[3], padding[3], dilation[3];
  bool channels_last, straight_through;

  SoftPoolKernel(const SoftPoolShape& s, bool channels_last_, bool straight_through_)
      : channels(static_cast<Index>(s.channels)), channels_last(channels_last_), straight_through(straight_through_) {
    for (int axis = 0; axis < 3; ++axis) {
      in[axis] = static_cast<Index>(s.in[axis]);
      out[axis] = static_cast<Index>(s.out[axis]);
      kernel[axis] = static_cast<Index>(s.kernel[axis]);
      stride[axis] = static_cast<Index>(s.stride[axis]);
      padding[axis] = static_cast<Index>(s.padding[axis]);
      dilation[axis] = static_cast<Index>(s.dilation[axis]);
    }
  }

  // Element index of (plane, d, h, w) in a tensor of spatial size `size`.
  __host__ __device__ Index at(Index plane, Index d, Index h, Index w, const Index* size) const {
    if (!channels_last) return ((plane * size[0] + d) * size[1] + h) * size[2] + w;
    const Index n = plane / channels, c = plane % channels;
    return (((n * size[0] + d) * size[1] + h) * size[2] + w) * channels + c;
  }
};

// One cell of a tensor in memory order: the inverse of SoftPoolKernel::at.
template <class Index>
struct SoftPoolCell {
  Index plane, d, h, w;

  __host__ __device__ SoftPoolCell(const SoftPoolKernel<Index>& p, Index index, const Index* size) {
    Index c = 0;
    if (p.channels_last) {
      c = index % p.channels;
      index /= p.channels;
    }
    w = index % size[2];
    index /= size[2];
    h = index % size[1];
    index /= size[1];
    d = index % size[0];
    plane = p.channels_last ? index / size[0] * p.channels + c : index / size[0];
  }
};

// Calls visit(a) for every cell of the window of output (od, oh, ow) that lies inside the input.
template <class T, class Index, class Visit>
__host__ __device__ inline void for_each_tap(const SoftPoolKernel<Index>& p, const T* x, Index plane, Index od,
                                             Index oh, Index ow, const Visit& visit) {
  for (Index kd = 0; kd < p.kernel[0]; ++kd) {
    const Index d = od * p.stride[0] - p.padding[0] + kd * p.dilation[0];
    if (d < 0 || d >= p.in[0]) continue;
    for (Index kh = 0; kh < p.kernel[1]; ++kh) {
      const Index h = oh * p.stride[1] - p.padding[1] + kh * p.dilation[1];
      if (h < 0 || h >= p.in[1]) continue;
      for (Index kw = 0; kw < p.kernel[2]; ++kw) {
        const Index w = ow * p.stride[2] - p.padding[2] + kw * p.dilation[2];
        if (w >= 0 && w < p.in[2]) visit(static_cast<accumulate_t<T>>(x[p.at(plane, d, h, w, p.in)]));
      }
    }
  }
}

// Peak m, total weight S and mean distance from the peak of one window: y = m + mean_distance.
template <class A>
struct SoftPoolWindow {
  A peak, total, mean_distance;
};

// exp(a - peak), where equal infinities are 0 apart.
template <class A>
__host__ __device__ inline A distance_below(A a, A peak) {
  return a == peak ? A(0) : a - peak;
}

template <class T, class Index>
__host__ __device__ inline SoftPoolWindow<accumulate_t<T>> soft_pool_window(const SoftPoolKernel<Index>& p, const T* x,
                                                                            Index plane, Index od, Index oh, Index ow) {
  using A = accumulate_t<T>;
  A peak = -INFINITY;
  for_each_tap(p, x, plane, od, oh, ow, [&](A a) { peak = a > peak ? a : peak; });
  A total = 0, weighted = 0;
  for_each_tap(p, x, plane, od, oh, ow, [&](A a) {
    const A d = distance_below(a, peak);
    const A e = exp(d);
    total += e;
    if (e != A(0)) weighted += e * d;
  });
  return {peak, total, weighted / total};
}

template <class T, class Index>
__global__ void soft_pool_forward_kernel(SoftPoolKernel<Index> p, const T* __restrict__ x, T* __restrict__ y,
                                         int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell<Index> out(p, static_cast<Index>(index), p.out);
    const auto window = soft_pool_window(p, x, out.plane, out.d, out.h, out.w);
    // A window without cells (dilated past the input) is a window of -inf.
    y[index] = static_cast<T>(window.total == 0 ? window.peak : window.peak + window.mean_distance);
  }
}

// Outputs [first, last) along one axis whose windows may reach input position `in`.
template <class Index>
struct SoftPoolReach {
  Index first, last;

  __host__ __device__ SoftPoolReach(const SoftPoolKernel<Index>& p, int axis, Index in) {
    const Index padded = in + p.padding[axis];
    const Index before = padded - p.dilation[axis] * (p.kernel[axis] - 1);
    first = before <= 0 ? 0 : (before + p.stride[axis] - 1) / p.stride[axis];
    last = padded / p.stride[axis] + 1;
    if (last > p.out[axis]) last = p.out[axis];
  }
};

// Whether output `out` has a tap exactly on input position `in`: with dilation a window skips cells.
template <class Index>
__host__ __device__ inline bool has_tap(const SoftPoolKernel<Index>& p, int axis, Index out, Index in) {
  return (in + p.padding[axis] - out * p.stride[axis]) % p.dilation[axis] == 0;
}

template <class T, class Index>
__global__ void soft_pool_backward_kernel(SoftPoolKernel<Index> p, const T* __restrict__ grad, const T* __restrict__ x,
                                          T* __restrict__ dx, int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell<Index> in(p, static_cast<Index>(index), p.in);
    const A a = static_cast<A>(x[index]);
    const SoftPoolReach<Index> depth(p, 0, in.d), rows(p, 1, in.h), columns(p, 2, in.w);
    A sum = 0;
    for (Index od = depth.first; od < depth.last; ++od) {
      if (!has_tap(p, 0, od, in.d)) continue;
      for (Index oh = rows.first; oh < rows.last; ++oh) {
        if (!has_tap(p, 1, oh, in.h)) continue;
        for (Index ow = columns.first; ow < columns.last; ++ow) {
          if (!has_tap(p, 2, ow, in.w)) continue;
          const auto window = soft_pool_window(p, x, in.plane, od, oh, ow);
          const A d = distance_below(a, window.peak);
          const A e = exp(d);
          const A slope = p.straight_through || e == A(0) ? A(1) : A(1) + d - window.mean_distance;
          sum += static_cast<A>(grad[p.at(in.plane, od, oh, ow, p.out)]) * (e / window.total) * slope;
        }
      }
    }
    dx[index] = static_cast<T>(sum);
  }
}

}  // namespace pydlx
