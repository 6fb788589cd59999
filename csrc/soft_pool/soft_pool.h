// SoftPool (Stergiou et al., "Refining activation downsampling with SoftPool", arXiv 2101.00440).
//
// Each output is the mean of its window, weighted by the softmax of the window's elements. For the elements a_i of one
// window of one channel, with m = max a_i and e_i = exp(a_i - m):
//
//     w_i = e_i / sum_j e_j        y = sum_i w_i a_i
//     dy/da_i = w_i (1 + a_i - y)                      exact
//     dy/da_i ~ w_i                                    straight-through, as published: weights taken as constants
//
// Shapes: x (N, C, D, H, W), or with fewer spatial dimensions; y (N, C, OD, OH, OW). Elements in the padding have
// weight 0. Special values: NaN gives NaN; an element of weight 0 contributes 0, so -inf next to finite values is
// ignored; a window of only -inf gives -inf; +inf gives +inf.
//
// Bytes: the forward must read x and write y once, the backward read x and grad and write the gradient of x once.
// Nothing else is saved for the backward, because m, the denominator and y are cheaper to recompute than to read.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

// All sizes in elements; missing leading spatial dimensions are 1, so that every pool is a 3-D pool.
struct SoftPoolShape {
  int64_t batch, channels;
  int64_t in[3], out[3];
  int64_t kernel[3], stride[3], padding[3], dilation[3];

  int64_t in_plane() const { return in[0] * in[1] * in[2]; }
  int64_t out_plane() const { return out[0] * out[1] * out[2]; }

  int64_t window_cells() const { return kernel[0] * kernel[1] * kernel[2]; }
};

// floor (or ceil) of (in + 2 padding - dilation (kernel - 1) - 1) / stride, plus 1; with ceil_mode a last window that
// would start in the right-hand padding is dropped, as torch's max pooling does.
inline int64_t pooled_size(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                           bool ceil_mode) {
  const int64_t span = in + 2 * padding - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  if (span < 0) return 0;
  int64_t out = span / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + padding) --out;
  return out;
}

// The largest kernel size, stride, padding or dilation, such that products of two of them fit into 64 bits.
constexpr int64_t kSoftPoolLargest = (int64_t(1) << 31) - 1;

// The most elements of a window; kernels make lists of them.
constexpr int64_t kSoftPoolMostCells = int64_t(1) << 26;

// Checks the arguments. `window` has the kernel sizes of all axes, then the strides, paddings and dilations.
inline SoftPoolShape soft_pool_shape(const Tensor& x, const std::vector<int64_t>& window, bool ceil_mode) {
  const Arguments arguments("soft_pool", "x", x);
  arguments.check_dims("x", x, 3, 5);
  const int64_t spatial = x.dim() - 2;
  STD_TORCH_CHECK(static_cast<int64_t>(window.size()) == 4 * spatial, "soft_pool: window must hold ", 4 * spatial,
                  " numbers, got ", window.size());
  SoftPoolShape shape{};
  int64_t cells = 1;
  shape.batch = x.size(0);
  shape.channels = x.size(1);
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t k = axis - (3 - spatial);
    const bool given = k >= 0;
    shape.in[axis] = given ? x.size(2 + k) : 1;
    shape.kernel[axis] = given ? window[k] : 1;
    shape.stride[axis] = given ? window[spatial + k] : 1;
    shape.padding[axis] = given ? window[2 * spatial + k] : 0;
    shape.dilation[axis] = given ? window[3 * spatial + k] : 1;
    arguments.check_range("kernel_size", shape.kernel[axis], 1, kSoftPoolMostCells / cells);
    cells *= shape.kernel[axis];
    arguments.check_range("stride", shape.stride[axis], 1, kSoftPoolLargest);
    arguments.check_range("dilation", shape.dilation[axis], 1, kSoftPoolLargest);
    // At most half of the window, so that each (undilated) window has an element that is not padding.
    arguments.check_range("padding", shape.padding[axis], 0, (shape.dilation[axis] * (shape.kernel[axis] - 1) + 1) / 2);
    shape.out[axis] = pooled_size(shape.in[axis], shape.kernel[axis], shape.stride[axis], shape.padding[axis],
                                  shape.dilation[axis], ceil_mode);
    STD_TORCH_CHECK(shape.out[axis] > 0, "soft_pool: the kernel is larger than the padded input");
  }
  return shape;
}

// The sizes of the output, for x of 3 to 5 dimensions.
struct OutputSizes {
  int64_t sizes[5];
  size_t dims;

  OutputSizes(const Tensor& x, const SoftPoolShape& s) : sizes{s.batch, s.channels}, dims(x.dim()) {
    std::copy(s.out + (5 - dims), s.out + 3, sizes + 2);
  }

  operator IntHeaderOnlyArrayRef() const { return {sizes, dims}; }
};

// x in one of the two supported memory formats, which its output and gradient share.
struct SoftPoolLayout {
  Tensor x;
  bool channels_last;

  explicit SoftPoolLayout(const Tensor& input) : x(dense(input)), channels_last(is_channels_last(x)) {}

  Tensor new_output(const SoftPoolShape& s) const { return uninitialised(x, OutputSizes(x, s), {}, channels_last); }

  // The gradient of the output, in x's memory format.
  Tensor gradient(const SoftPoolShape& s, const Tensor& grad) const {
    Arguments("_soft_pool_backward", "x", x).check("grad", grad, x.scalar_type(), OutputSizes(x, s));
    return in_format(grad, channels_last);
  }

  Tensor new_gradient() const { return uninitialised_like(x); }
};

}  // namespace pydlx
