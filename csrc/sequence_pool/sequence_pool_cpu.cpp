// Pooling over time on the CPU: work cutting and registration. The maths is in sequence_pool.h, the loops in
// sequence_pool_cpu_simd.h.
#include "sequence_pool/sequence_pool.h"

namespace pydlx {

// The most channels of a unit of work, a multiple of all vectors, and the rows it processes together: 16 KB of float32.
// Long contiguous reads are fastest, but with few sequences narrow blocks are needed to give every thread work.
constexpr int64_t kBlockChannels = 256;
constexpr int64_t kNarrowChannels = 64;
constexpr int64_t kFewSequences = 16;
constexpr int64_t kTileRows = 16;

}  // namespace pydlx

#define PYDLX_SIMD_FILE "sequence_pool/sequence_pool_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The least number of elements per thread.
constexpr int64_t kGrain = 16384;

// Calls body(width, begin, end) in parallel for parts of the units of work (see sequence_unit).
template <class Body>
void each_unit(const SequenceBatch& batch, const Body& body) {
  const int64_t width = batch.count < kFewSequences ? kNarrowChannels : kBlockChannels;
  const int64_t blocks = (batch.channels + width - 1) / width;
  const int64_t steps = batch.packed ? batch.steps / std::max<int64_t>(1, batch.count) : batch.steps;
  const int64_t cost = std::max<int64_t>(1, steps * std::min(batch.channels, width));
  parallel_for(batch.count * blocks, kGrain / cost, [&](int64_t begin, int64_t end) { body(width, begin, end); });
}

std::tuple<Tensor, Tensor> sequence_pool(const Tensor& x, const std::optional<Tensor> ends,
                                         const std::optional<Tensor> mask, int64_t mode_number, int64_t k) {
  const SequencePoolMode mode = sequence_pool_mode(mode_number, k);
  const SequenceInput input(x, sizes_of(x), x, ends, mask);
  auto [y, index] = input.new_outputs(x, mode, k);
  if (y.numel() == 0) return {y, index};
  dispatch_floating(x.scalar_type(), "sequence_pool", [&, &y = y, &index = index](auto zero) {
    using T = decltype(zero);
    const T* from = input_data<T>(*input.x);
    T* to = output_data<T>(y);
    int64_t* rows = output_data<int64_t>(index);
    each_unit(input.batch, [&](int64_t width, int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(pool_units<T>)(input.batch, width, mode, k, from, to, rows, begin, end);
    });
  });
  return {y, index};
}

// Adds each gradient to the row that its value came from. Within a channel these rows differ.
template <class T>
void give_back(const T* grad, const int64_t* index, T* dx, int64_t x_rows, int64_t rows, int64_t channels) {
  parallel_for(rows, kGrain / channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = i * channels + c;
        if (index[at] >= 0 && index[at] < x_rows) dx[index[at] * channels + c] = grad[at];
      }
    }
  });
}

Tensor sequence_pool_backward(const Tensor& grad_output, const std::optional<Tensor> x,
                              const std::optional<Tensor> index, const std::optional<Tensor> ends,
                              const std::optional<Tensor> mask, const std::vector<int64_t> shape) {
  const Tensor grad = made_contiguous(grad_output);
  if (index) {
    check_given_back(grad, *index, shape);
    Tensor dx = torch::stable::new_zeros(grad, shape);
    if (grad.numel() == 0) return dx;
    const Tensor rows = made_contiguous(*index);
    dispatch_floating(grad.scalar_type(), "sequence_pool", [&](auto zero) {
      using T = decltype(zero);
      give_back(input_data<T>(grad), input_data<int64_t>(rows), output_data<T>(dx), rows_of(shape),
                grad.numel() / shape.back(), shape.back());
    });
    return dx;
  }
  const SequenceInput input(grad, shape, x, ends, mask);
  input.check_gradient(grad, shape);
  if (grad.numel() == 0) return torch::stable::new_zeros(grad, shape);
  Tensor dx = uninitialised(grad, shape);
  dispatch_floating(grad.scalar_type(), "sequence_pool", [&](auto zero) {
    using T = decltype(zero);
    const T *gradient = input_data<T>(grad), *from = x ? input_data<T>(*input.x) : nullptr;
    T* to = output_data<T>(dx);
    each_unit(input.batch, [&](int64_t width, int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(backward_units<T>)(input.batch, width, gradient, from, to, begin, end);
    });
  });
  return dx;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("sequence_pool", TORCH_BOX(&pydlx::sequence_pool));
  m.impl("_sequence_pool_backward", TORCH_BOX(&pydlx::sequence_pool_backward));
}
