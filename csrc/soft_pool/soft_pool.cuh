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
#include "common/device.cuh"
#include "soft_pool/soft_pool.h"

namespace pydlx {

// Everything the kernels need, passed by value. Steps are in elements: between neighbours along W, H and D of one
// plane, and between planes, where a plane is one channel of one image.
struct SoftPoolKernel {
  SoftPoolShape s;
  bool channels_last;
  bool straight_through;

  // Element index of (plane, d, h, w) in a tensor of spatial size `size`.
  __host__ __device__ int64_t at(int64_t plane, int64_t d, int64_t h, int64_t w, const int64_t* size) const {
    if (!channels_last) return ((plane * size[0] + d) * size[1] + h) * size[2] + w;
    const int64_t n = plane / s.channels, c = plane % s.channels;
    return (((n * size[0] + d) * size[1] + h) * size[2] + w) * s.channels + c;
  }
};

// One cell of a tensor in memory order: the inverse of SoftPoolKernel::at.
struct SoftPoolCell {
  int64_t plane, d, h, w;

  __host__ __device__ SoftPoolCell(const SoftPoolKernel& p, int64_t index, const int64_t* size) {
    int64_t c = 0;
    if (p.channels_last) {
      c = index % p.s.channels;
      index /= p.s.channels;
    }
    w = index % size[2];
    index /= size[2];
    h = index % size[1];
    index /= size[1];
    d = index % size[0];
    plane = p.channels_last ? index / size[0] * p.s.channels + c : index / size[0];
  }
};

// Calls visit(a) for every cell of the window of output (od, oh, ow) that lies inside the input.
template <class T, class Visit>
__host__ __device__ inline void for_each_tap(const SoftPoolKernel& p, const T* x, int64_t plane, int64_t od, int64_t oh,
                                             int64_t ow, const Visit& visit) {
  const SoftPoolShape& s = p.s;
  for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
    const int64_t d = od * s.stride[0] - s.padding[0] + kd * s.dilation[0];
    if (d < 0 || d >= s.in[0]) continue;
    for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
      const int64_t h = oh * s.stride[1] - s.padding[1] + kh * s.dilation[1];
      if (h < 0 || h >= s.in[1]) continue;
      for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
        const int64_t w = ow * s.stride[2] - s.padding[2] + kw * s.dilation[2];
        if (w >= 0 && w < s.in[2]) visit(static_cast<accumulate_t<T>>(x[p.at(plane, d, h, w, s.in)]));
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

template <class T>
__host__ __device__ inline SoftPoolWindow<accumulate_t<T>> soft_pool_window(const SoftPoolKernel& p, const T* x,
                                                                            int64_t plane, int64_t od, int64_t oh,
                                                                            int64_t ow) {
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

template <class T>
__global__ void soft_pool_forward_kernel(SoftPoolKernel p, const T* __restrict__ x, T* __restrict__ y, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell out(p, index, p.s.out);
    const auto window = soft_pool_window(p, x, out.plane, out.d, out.h, out.w);
    // A window without cells (dilated past the input) is a window of -inf.
    y[index] = static_cast<T>(window.total == 0 ? window.peak : window.peak + window.mean_distance);
  }
}

// Outputs [first, last) along one axis whose windows may reach input position `in`.
struct SoftPoolReach {
  int64_t first, last;

  __host__ __device__ SoftPoolReach(const SoftPoolShape& s, int axis, int64_t in) {
    const int64_t padded = in + s.padding[axis];
    const int64_t before = padded - s.dilation[axis] * (s.kernel[axis] - 1);
    first = before <= 0 ? 0 : (before + s.stride[axis] - 1) / s.stride[axis];
    last = padded / s.stride[axis] + 1;
    if (last > s.out[axis]) last = s.out[axis];
  }
};

// Whether output `out` has a tap exactly on input position `in`: with dilation a window skips cells.
__host__ __device__ inline bool has_tap(const SoftPoolShape& s, int axis, int64_t out, int64_t in) {
  return (in + s.padding[axis] - out * s.stride[axis]) % s.dilation[axis] == 0;
}

template <class T>
__global__ void soft_pool_backward_kernel(SoftPoolKernel p, const T* __restrict__ grad, const T* __restrict__ x,
                                          T* __restrict__ dx, int64_t count) {
  using A = accumulate_t<T>;
  PYDLX_GRID_STRIDE(index, count) {
    const SoftPoolCell in(p, index, p.s.in);
    const A a = static_cast<A>(x[index]);
    const SoftPoolReach depth(p.s, 0, in.d), rows(p.s, 1, in.h), columns(p.s, 2, in.w);
    A sum = 0;
    for (int64_t od = depth.first; od < depth.last; ++od) {
      if (!has_tap(p.s, 0, od, in.d)) continue;
      for (int64_t oh = rows.first; oh < rows.last; ++oh) {
        if (!has_tap(p.s, 1, oh, in.h)) continue;
        for (int64_t ow = columns.first; ow < columns.last; ++ow) {
          if (!has_tap(p.s, 2, ow, in.w)) continue;
          const auto window = soft_pool_window(p, x, in.plane, od, oh, ow);
          const A d = distance_below(a, window.peak);
          const A e = exp(d);
          const A slope = p.straight_through || e == A(0) ? A(1) : A(1) + d - window.mean_distance;
          sum += static_cast<A>(grad[p.at(in.plane, od, oh, ow, p.s.out)]) * (e / window.total) * slope;
        }
      }
    }
    dx[index] = static_cast<T>(sum);
  }
}

}  // namespace pydlx
