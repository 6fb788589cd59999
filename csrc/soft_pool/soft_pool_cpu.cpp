// SoftPool on the CPU: layout choice, work cutting, registration. The maths is in soft_pool.h, the loops in
// soft_pool_cpu_simd.h.
#include "common/accumulate.h"
#include "soft_pool/soft_pool.h"

namespace pydlx {

// The input rows (d, h) of one unit of backward work, a box, and the output rows whose windows may cover them.
struct SoftPoolBlock {
  int64_t first_in[2], last_in[2];
  int64_t first_out[2], last_out[2];

  int64_t rows() const { return (last_in[0] - first_in[0]) * (last_in[1] - first_in[1]); }

  // The index of input row (d, h) within the block, or -1 if it is outside.
  int64_t slot(int64_t d, int64_t h) const {
    const bool ours = d >= first_in[0] && d < last_in[0] && h >= first_in[1] && h < last_in[1];
    return ours ? (d - first_in[0]) * (last_in[1] - first_in[1]) + h - first_in[1] : -1;
  }

  // The index of a row of the block within its plane.
  int64_t row(const SoftPoolShape& s, int64_t slot) const {
    const int64_t height = last_in[1] - first_in[1];
    return (first_in[0] + slot / height) * s.in[1] + first_in[1] + slot % height;
  }
};

// About the size of an L1 cache, in elements.
constexpr int64_t kBlockElements = 8192;

// The division of the input rows into blocks. Blocks start at multiples of the stride, counted from the padded edge, so
// that windows which do not overlap lie in one block each and are computed once.
struct SoftPoolBlocks {
  const SoftPoolShape& s;
  int64_t rows_per_block[2], count[2];

  SoftPoolBlocks(const SoftPoolShape& shape, int64_t row_elements) : s(shape) {
    const int64_t rows = std::max<int64_t>(1, kBlockElements / row_elements);
    rows_per_block[1] = s.stride[1] * std::max<int64_t>(1, rows / s.stride[1]);
    const int64_t slices = std::max<int64_t>(1, rows / std::min(rows_per_block[1], s.in[1]));
    rows_per_block[0] = s.stride[0] * std::max<int64_t>(1, slices / s.stride[0]);
    for (int axis = 0; axis < 2; ++axis) {
      count[axis] = (s.in[axis] + s.padding[axis] + rows_per_block[axis] - 1) / rows_per_block[axis];
    }
  }

  int64_t total() const { return count[0] * count[1]; }

  SoftPoolBlock operator[](int64_t index) const {
    const int64_t at[2] = {index / count[1], index % count[1]};
    SoftPoolBlock block{};
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t padded_first = at[axis] * rows_per_block[axis];
      const int64_t padded_last = padded_first + rows_per_block[axis];
      const int64_t reach = s.dilation[axis] * (s.kernel[axis] - 1);
      block.first_in[axis] = std::min(std::max<int64_t>(0, padded_first - s.padding[axis]), s.in[axis]);
      block.last_in[axis] = std::min(std::max<int64_t>(0, padded_last - s.padding[axis]), s.in[axis]);
      block.first_out[axis] =
          std::min(std::max<int64_t>(0, padded_first - reach + s.stride[axis] - 1) / s.stride[axis], s.out[axis]);
      block.last_out[axis] = std::min((padded_last + s.stride[axis] - 1) / s.stride[axis], s.out[axis]);
    }
    return block;
  }
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "soft_pool/soft_pool_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

Tensor soft_pool(const Tensor& input, const std::vector<int64_t> window, bool ceil_mode, bool /*straight_through*/) {
  const SoftPoolShape s = soft_pool_shape(input, window, ceil_mode);
  const SoftPoolLayout layout(input);
  const bool channels_last = layout.channels_last;
  const Tensor& x = layout.x;
  Tensor y = layout.new_output(s);
  if (y.numel() == 0) return y;
  const int64_t images = channels_last ? s.batch : s.batch * s.channels;
  const int64_t row_cost = s.out[2] * (channels_last ? s.channels : 1) * s.window_cells();
  dispatch_floating(x.scalar_type(), "soft_pool", [&](auto zero) {
    using T = decltype(zero);
    const T* from = input_data<T>(x);
    T* to = output_data<T>(y);
    parallel_for(images * s.out[0] * s.out[1], kBlockElements / row_cost, [&](int64_t begin, int64_t end) {
      if (channels_last) {
        PYDLX_SIMD_CALL(soft_pool_rows_channels_last<T>)(s, from, to, begin, end);
      } else {
        PYDLX_SIMD_CALL(soft_pool_rows<T>)(s, from, to, begin, end);
      }
    });
  });
  return y;
}

Tensor soft_pool_backward(const Tensor& grad_output, const Tensor& input, const std::vector<int64_t> window,
                          bool ceil_mode, bool straight_through) {
  const SoftPoolShape s = soft_pool_shape(input, window, ceil_mode);
  const SoftPoolLayout layout(input);
  const bool channels_last = layout.channels_last;
  const Tensor& x = layout.x;
  const Tensor grad = layout.gradient(s, grad_output);
  Tensor dx = layout.new_gradient();
  if (dx.numel() == 0) return dx;
  const int64_t images = channels_last ? s.batch : s.batch * s.channels;
  const SoftPoolBlocks blocks(s, s.in[2] * (channels_last ? s.channels : 1));
  dispatch_floating(x.scalar_type(), "soft_pool", [&](auto zero) {
    using T = decltype(zero);
    const T *from = input_data<T>(x), *gradient = input_data<T>(grad);
    T* to = output_data<T>(dx);
    parallel_for(images * blocks.total(), 1, [&](int64_t begin, int64_t end) {
      if (channels_last) {
        PYDLX_SIMD_CALL(soft_pool_backward_channels_last<T>)
        (blocks, gradient, from, to, straight_through, begin, end);
      } else {
        PYDLX_SIMD_CALL(soft_pool_backward_rows<T>)(blocks, gradient, from, to, straight_through, begin, end);
      }
    });
  });
  return dx;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("soft_pool", TORCH_BOX(&pydlx::soft_pool));
  m.impl("_soft_pool_backward", TORCH_BOX(&pydlx::soft_pool_backward));
}
