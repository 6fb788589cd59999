// Pooling over time on CUDA: launches and registration. The kernels are in sequence_pool.cuh.
#include "common/launch.cuh"
#include "sequence_pool/sequence_pool.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

dim3 pool_grid(int64_t units) { return dim3(static_cast<unsigned>(std::min(units, kMaxBlocks))); }
dim3 pool_block() { return dim3(kPoolChannels, kPoolParts); }

template <class State, class T>
void pool(const SequenceBatch& batch, const T* x, T* y, int64_t* index, cudaStream_t stream) {
  const int64_t units = pool_units(batch);
  PYDLX_LAUNCH((pool_kernel<State, T>), pool_grid(units), pool_block(), 0, stream, batch, x, y, index, units);
}

template <class State, class T>
void pool_backward(const SequenceBatch& batch, const T* grad, const T* x, T* dx, cudaStream_t stream) {
  const int64_t units = pool_units(batch);
  PYDLX_LAUNCH((pool_backward_kernel<State, T>), pool_grid(units), pool_block(), 0, stream, batch, grad, x, dx, units);
}

std::tuple<Tensor, Tensor> sequence_pool(const Tensor& x, const std::optional<Tensor> ends,
                                         const std::optional<Tensor> mask, int64_t mode_number, int64_t k) {
  const SequencePoolMode mode = sequence_pool_mode(mode_number, k);
  const DeviceScope scope(x);
  const SequenceInput input(x, sizes_of(x), x, ends, mask);
  auto [y, index] = input.new_outputs(x, mode, k);
  if (y.numel() == 0) return {y, index};
  dispatch_floating(x.scalar_type(), "sequence_pool", [&, &y = y, &index = index](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const T* from = input_data<T>(*input.x);
    T* to = output_data<T>(y);
    int64_t* rows = output_data<int64_t>(index);
    switch (mode) {
      case SequencePoolMode::kMax:
        return pool<MaxState<A>>(input.batch, from, to, rows, scope.stream());
      case SequencePoolMode::kMean:
        return pool<MeanState<A>>(input.batch, from, to, rows, scope.stream());
      case SequencePoolMode::kSoft:
        return pool<SoftState<A>>(input.batch, from, to, rows, scope.stream());
      case SequencePoolMode::kKMax: {
        const int64_t units = pool_units(input.batch);
        PYDLX_LAUNCH(k_max_kernel<T>, pool_grid(units), pool_block(), 0, scope.stream(), input.batch, from, to, rows, k,
                     units);
      }
    }
  });
  check_launch("sequence_pool");
  return {y, index};
}

Tensor sequence_pool_backward(const Tensor& grad_output, const std::optional<Tensor> x,
                              const std::optional<Tensor> index, const std::optional<Tensor> ends,
                              const std::optional<Tensor> mask, const std::vector<int64_t> shape) {
  const DeviceScope scope(grad_output);
  const Tensor grad = made_contiguous(grad_output);
  if (index) {
    check_given_back(grad, *index, shape);
    Tensor dx = torch::stable::new_zeros(grad, shape);
    if (grad.numel() == 0) return dx;
    const Tensor rows = made_contiguous(*index);
    dispatch_floating(grad.scalar_type(), "sequence_pool", [&](auto zero) {
      using T = decltype(zero);
      PYDLX_LAUNCH(give_back_kernel<T>, blocks_for(grad.numel(), kThreads), kThreads, 0, scope.stream(),
                   input_data<T>(grad), input_data<int64_t>(rows), output_data<T>(dx), rows_of(shape), shape.back(),
                   grad.numel());
    });
    check_launch("sequence_pool");
    return dx;
  }
  const SequenceInput input(grad, shape, x, ends, mask);
  input.check_gradient(grad, shape);
  if (grad.numel() == 0) return torch::stable::new_zeros(grad, shape);
  Tensor dx = uninitialised(grad, shape);
  dispatch_floating(grad.scalar_type(), "sequence_pool", [&](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const T* gradient = input_data<T>(grad);
    if (x) {
      pool_backward<SoftState<A>>(input.batch, gradient, input_data<T>(*input.x), output_data<T>(dx), scope.stream());
    } else {
      pool_backward<CountState<A>, T>(input.batch, gradient, nullptr, output_data<T>(dx), scope.stream());
    }
  });
  check_launch("sequence_pool");
  return dx;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("sequence_pool", TORCH_BOX(&pydlx::sequence_pool));
  m.impl("_sequence_pool_backward", TORCH_BOX(&pydlx::sequence_pool_backward));
}
