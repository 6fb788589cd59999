// Structural similarity of two images (Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error
// visibility to structural similarity", IEEE Transactions on Image Processing 13(4), 2004).
//
// G averages over a window, the product of one set of symmetric taps along each axis. With m1 = G x, m2 = G y:
//
//     variances   v1 = k (G x^2 - m1^2), v2 likewise;  covariance  v12 = k (G xy - m1 m2)
//     luminance   l = (2 m1 m2 + C1) / (m1^2 + m2^2 + C1)
//     structure   c = (2 v12 + C2) / (v1 + v2 + C2)                     S = l c, or c alone
//
// k is 1 for the population's covariance. Everything is computed from s = x + y and d = x - y instead: with P = (G
// s)^2, Q = (G d)^2 and their variances V, W,
//
//     l = (P - Q + 2 C1) / (P + Q + 2 C1)        c = (V - W + 2 C2) / (V + W + 2 C2)
//
// which needs four filtered maps instead of five, bounds S by 1 once V and W are kept from falling below 0, and is 1 to
// the bit for equal images. A constant near the images' values is taken off both first: the variances do not change,
// and lose no digits on bright images.
//
// Gradient, per unit of dL/dS = g (similarity.h):  with the maps dS/d(G s), dS/d(G d), dS/d(G s^2), dS/d(G d^2),
//
//     ds = G'(g dS/d(G s)) + 2 s G'(g dS/d(G s^2)), dd likewise;        dx = ds + dd,  dy = ds - dd
//
// G' is the transposed filter: the same taps, on maps with zeros around them. One gradient alone needs three maps.
//
// Shapes: x, y (N, C, H, W) or (N, C, D, H, W), floating-point numbers or, forward, bytes; S (N, C, H - window + 1,
// ...), every place a window fits; or its mean over every plane, (N, C). S is of the accumulation type. NaN spreads as
// far as its windows.
//
// Bytes that must move: forward, x and y once, and the map if it is asked for; nothing is saved. Backward: x and y
// once, a map's gradient once, dx and dy once; on CUDA also the three or four maps, written and read.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

constexpr int64_t kSsimMaxRadius = 16;

// Filtered maps, in this order: G s^2, G d^2, G s, G d.
constexpr int kMoments = 4;

// Numbers of the formula; c1 and c2 are 2 C1 and 2 C2.
template <class A>
struct SsimFormula {
  A covariance, c1, c2;
  bool luminance;
};

// The taps from the middle outwards: half[k] belongs to pixels k steps away on either side.
template <class A>
struct SsimTaps {
  int64_t radius;
  A half[kSsimMaxRadius + 1];

  // The k-th of all taps, from one end.
  PYDLX_HOST_DEVICE A outer(int64_t k) const { return half[k < radius ? radius - k : k - radius]; }
};

// Axes are depth, height, width; an image has depth 1 and a window of depth 1.
struct SsimShape {
  int64_t batch, channels;
  int64_t in[3], out[3], radius[3];

  PYDLX_HOST_DEVICE int64_t planes() const { return batch * channels; }
  PYDLX_HOST_DEVICE int64_t in_plane() const { return in[0] * in[1] * in[2]; }
  PYDLX_HOST_DEVICE int64_t out_plane() const { return out[0] * out[1] * out[2]; }
};

// What the schema's numbers say, in their order.
struct SsimOptions {
  int64_t window;
  double sigma, covariance, c1, c2;
  bool luminance, map;

  template <class A>
  SsimFormula<A> formula() const {
    return {A(covariance), A(2 * c1), A(2 * c2), luminance};
  }

  // A sampled Gaussian of sum 1; all taps equal for sigma 0.
  template <class A>
  SsimTaps<A> taps() const {
    SsimTaps<A> taps{window / 2, {}};
    double weights[kSsimMaxRadius + 1], sum = 0;
    for (int64_t k = 0; k <= taps.radius; ++k) {
      weights[k] = sigma > 0 ? std::exp(-0.5 * double(k * k) / (sigma * sigma)) : 1;
      sum += k == 0 ? weights[k] : 2 * weights[k];
    }
    // The middle one takes up the others' rounding: with a sum other than 1 a variance would follow the mean.
    double rest = 1;
    for (int64_t k = 1; k <= taps.radius; ++k) {
      taps.half[k] = A(weights[k] / sum);
      rest -= 2 * double(taps.half[k]);
    }
    taps.half[0] = A(rest);
    return taps;
  }
};

inline SsimShape ssim_shape(const Tensor& x, const Tensor& y, int64_t window) {
  const Arguments arguments("ssim", "x", x);
  arguments.check_dims("x", x, 4, 5);
  arguments.check_alike("y", y);
  STD_TORCH_CHECK(window % 2 == 1 && window > 0 && window / 2 <= kSsimMaxRadius, "ssim: window must be odd, from 1 to ",
                  2 * kSsimMaxRadius + 1, ", got ", window);
  SsimShape shape{x.size(0), x.size(1), {1, 1, 1}, {1, 1, 1}, {0, 0, 0}};
  for (int64_t axis = 5 - x.dim(); axis < 3; ++axis) {
    shape.in[axis] = x.size(axis + x.dim() - 3);
    shape.radius[axis] = window / 2;
    shape.out[axis] = shape.in[axis] - window + 1;
    STD_TORCH_CHECK(shape.out[axis] > 0, "ssim: x must be at least ", window, " along each axis, got ", shape.in[axis]);
  }
  return shape;
}

// (N, C), or the sizes of the map.
inline std::vector<int64_t> ssim_output_sizes(const Tensor& x, const SsimShape& shape, bool map) {
  std::vector<int64_t> sizes{shape.batch, shape.channels};
  if (map) sizes.insert(sizes.end(), shape.out + (5 - x.dim()), shape.out + 3);
  return sizes;
}

// dx and dy; nothing for an image that needs none.
inline std::tuple<Tensor, Tensor> ssim_new_gradients(const Tensor& x, bool wants_x, bool wants_y) {
  const std::vector<int64_t> sizes(x.sizes().begin(), x.sizes().end()), none{0};
  return {uninitialised(x, wants_x ? sizes : none), uninitialised(x, wants_y ? sizes : none)};
}

// The gradient of the output, contiguous.
inline Tensor ssim_gradient(const Tensor& x, const SsimShape& shape, bool map, const Tensor& grad) {
  Arguments("_ssim_backward", "x", x).check("grad", grad, wide_dtype(x), ssim_output_sizes(x, shape, map));
  return made_contiguous(grad);
}

// Calls body(T{}) for what images are made of: bytes, which are widened as they are read, or floating-point numbers.
template <class Body>
void dispatch_pixels(ScalarType dtype, const Body& body) {
  if (dtype == ScalarType::Byte) return body(uint8_t{});
  dispatch_floating(dtype, "ssim", body);
}

// Near the values of a row: the median of the pixels at a quarter, half and three quarters of it, so that a single
// outlier is not taken. What is not a number counts as 0.
template <class T>
PYDLX_HOST_DEVICE accumulate_t<T> centre_of(const T* row, int64_t length) {
  accumulate_t<T> v[3];
  for (int64_t k = 0; k < 3; ++k) {
    const auto wide = static_cast<accumulate_t<T>>(row[(k + 1) * length / 4]);
    v[k] = wide - wide == 0 ? wide : 0;
  }
  const auto low = v[0] < v[1] ? v[0] : v[1], high = v[0] < v[1] ? v[1] : v[0];
  return v[2] < low ? low : v[2] > high ? high : v[2];
}

}  // namespace pydlx
