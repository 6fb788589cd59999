// Pooling over time for sequences of different lengths. For the n valid steps x_t of one channel of one sequence:
//
//     max     y = max_t x_t                        dy/dx_t = 1 at the first maximum
//     mean    y = 1/n sum_t x_t                    dy/dx_t = 1/n
//     soft    y = sum_t w_t x_t, w = softmax(x)    dy/dx_t = w_t (1 + x_t - y)              (arXiv 2101.00440)
//     k-max   the k largest x_t, in the order of   dy_j/dx_t = 1 where y_j was taken from   (arXiv 1404.2188)
//             time; missing ones are 0
//
// Shapes: x (B, T, C), or packed (R, C) with the sequences concatenated; y (B, C), for k-max (B, k, C).
//     ends (B,)    padded: the lengths; packed: the row after a sequence's last one. Clamped to the rows of x.
//     mask (B, T)  for padded x: which steps are valid, in any pattern.
// Ties go to the first in time. NaN is larger than any number. A sequence without valid steps gives 0.
//
// Bytes of the forward: the valid rows of x must be read once (invalid ones are never read) and y written. Max and
// k-max also write the row of each value (int64), 8k bytes per channel. In return the backward does not need x: it
// fills dx with zeros and makes k writes per channel. The backwards of mean and soft write all of dx; soft reads x
// again and recomputes its sums, mean does not read x.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

enum class SequencePoolMode : int64_t { kMax, kMean, kSoft, kKMax };

struct StepRange {
  int64_t begin, end;

  PYDLX_HOST_DEVICE int64_t size() const { return end - begin; }
  // Part `i` when the range is divided into `parts` about equal parts.
  PYDLX_HOST_DEVICE StepRange part(int64_t i, int64_t parts) const {
    return {begin + size() * i / parts, begin + size() * (i + 1) / parts};
  }
};

// The layout of the sequences in x. Steps of packed sequences are numbered through all of x.
struct SequenceBatch {
  int64_t count, steps, channels;
  int64_t sequence_stride, step_stride;  // strides of x, in elements
  bool packed;
  const int64_t* ends;
  const bool* mask;

  PYDLX_HOST_DEVICE int64_t end_of(int64_t b) const { return ends[b] < 0 ? 0 : ends[b] > steps ? steps : ends[b]; }
  PYDLX_HOST_DEVICE int64_t begin_of(int64_t b) const { return packed && b > 0 ? end_of(b - 1) : 0; }

  // The range of steps that may be valid.
  PYDLX_HOST_DEVICE StepRange span(int64_t b) const {
    const int64_t begin = begin_of(b), end = ends ? end_of(b) : steps;
    return {begin, end < begin ? begin : end};
  }

  // The range of steps whose gradient this sequence writes: its own steps and the padding up to the next sequence.
  PYDLX_HOST_DEVICE StepRange owned(int64_t b) const {
    return {begin_of(b), packed && b + 1 < count ? begin_of(b + 1) : steps};
  }

  // The row of a step in x viewed as (rows, channels).
  PYDLX_HOST_DEVICE int64_t row(int64_t b, int64_t step) const { return packed ? step : b * steps + step; }
  PYDLX_HOST_DEVICE int64_t offset(int64_t b, int64_t step) const { return b * sequence_stride + step * step_stride; }
  PYDLX_HOST_DEVICE bool valid(int64_t b, int64_t step) const { return !mask || mask[row(b, step)]; }
};

// Owns the tensors of a batch.
struct SequenceInput {
  std::optional<Tensor> x, ends, mask;
  SequenceBatch batch;

  // `like` is x, or in a backward that needs only x's shape the gradient.
  SequenceInput(const Tensor& like, const std::vector<int64_t>& shape, const std::optional<Tensor>& input,
                const std::optional<Tensor>& given_ends, const std::optional<Tensor>& given_mask) {
    const Arguments arguments("sequence_pool", "x", like);
    arguments.check_range("the number of dimensions of x", int64_t(shape.size()), 2, 3);
    const bool packed = shape.size() == 2;
    STD_TORCH_CHECK(!(given_ends && given_mask), "sequence_pool: ends or mask must be given, got both");
    STD_TORCH_CHECK(!packed || given_ends, "sequence_pool: ends must be given for packed x");
    const int64_t channels = shape.back(), steps = shape[shape.size() - 2];
    const int64_t count = packed && given_ends->dim() == 1 ? given_ends->size(0) : shape[0];
    if (given_ends) arguments.check("ends", *given_ends, ScalarType::Long, {count});
    if (given_mask) arguments.check("mask", *given_mask, ScalarType::Bool, {count, steps});
    if (input) x = input->stride(-1) == 1 ? *input : made_contiguous(*input);
    if (given_ends) ends = made_contiguous(*given_ends);
    if (given_mask) mask = made_contiguous(*given_mask);
    batch = {count,
             steps,
             channels,
             packed ? 0
             : x    ? x->stride(0)
                    : steps * channels,
             x ? x->stride(-2) : channels,
             packed,
             ends ? input_data<int64_t>(*ends) : nullptr,
             mask ? input_data<bool>(*mask) : nullptr};
  }

  // y, and the index of max and k-max.
  std::tuple<Tensor, Tensor> new_outputs(const Tensor& like, SequencePoolMode mode, int64_t k) const {
    const bool k_max = mode == SequencePoolMode::kKMax, keeps_index = k_max || mode == SequencePoolMode::kMax;
    std::vector<int64_t> shape{batch.count, batch.channels};
    if (k_max) shape.insert(shape.begin() + 1, k);
    return {uninitialised(like, shape),
            uninitialised(like, keeps_index ? shape : std::vector<int64_t>{0}, ScalarType::Long)};
  }

  // Checks the backward's gradient and, if given, x, which must have the given shape.
  void check_gradient(const Tensor& grad, const std::vector<int64_t>& shape) const {
    const Arguments arguments("_sequence_pool_backward", "grad", grad);
    arguments.check_shape("grad", grad, {batch.count, batch.channels});
    if (x) arguments.check("x", *x, grad.scalar_type(), shape);
  }
};

inline SequencePoolMode sequence_pool_mode(int64_t mode, int64_t k) {
  STD_TORCH_CHECK(mode >= 0 && mode <= int64_t(SequencePoolMode::kKMax),
                  "sequence_pool: mode must be from 0 to 3, got ", mode);
  STD_TORCH_CHECK(k > 0, "sequence_pool: k must be positive, got ", k);
  return static_cast<SequencePoolMode>(mode);
}

// Checks the backward of max and k-max: the index must have grad's shape, (B, C) or (B, k, C), for an x of this shape.
// Its values are not checked; kernels ignore rows outside of x.
inline void check_given_back(const Tensor& grad, const Tensor& index, const std::vector<int64_t>& shape) {
  const Arguments arguments("_sequence_pool_backward", "grad", grad);
  arguments.check_range("the number of dimensions of x", int64_t(shape.size()), 2, 3);
  arguments.check_dims("grad", grad, 2, 3);
  STD_TORCH_CHECK(grad.size(-1) == shape.back(), "_sequence_pool_backward: grad must have the channels of x, ",
                  shape.back(), ", got ", grad.size(-1));
  arguments.check("index", index, ScalarType::Long, grad.sizes());
}

inline int64_t rows_of(const std::vector<int64_t>& shape) { return shape.size() == 2 ? shape[0] : shape[0] * shape[1]; }

inline std::vector<int64_t> sizes_of(const Tensor& x) { return {x.sizes().begin(), x.sizes().end()}; }

}  // namespace pydlx
