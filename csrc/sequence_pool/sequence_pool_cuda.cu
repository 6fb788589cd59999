// Pooling over time on CUDA: launches and registration. The kernels are in sequence_pool.cuh and k_max.cuh.
#include <numeric>

#include "common/launch.cuh"
#include "sequence_pool/k_max.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kLongestList = 8;  // the most values that a thread keeps in registers

// The division of time into chunks such that the blocks fill the device. There is one chunk if the device is at least
// half full without cutting, because the second launch costs about as much. Chunks have about kLeastSteps or more.
PoolCut cut_of(const SequenceBatch& batch, int64_t channels_each) {
  constexpr int64_t kLeastSteps = 128, kBlocksEach = 4;
  const PoolCut whole(batch, channels_each, 1);
  const int64_t wanted = kBlocksEach * multiprocessors();
  if (2 * whole.count >= wanted) return whole;
  const int64_t steps = batch.packed ? batch.steps / std::max<int64_t>(batch.count, 1) : batch.steps;
  const int64_t most = std::max<int64_t>(steps / kLeastSteps, 1);
  return {batch, channels_each, std::min((wanted + whole.count - 1) / whole.count, most)};
}

// A number of elements of which every row's offset is a multiple.
int64_t rows_apart(const SequenceBatch& batch) {
  return std::gcd(batch.channels, std::gcd(batch.step_stride, batch.sequence_stride));
}

// A workspace for `count` structs, as bytes; 16-byte aligned.
template <class S>
Tensor room_for(const Tensor& like, int64_t count) {
  return uninitialised(like, {count * static_cast<int64_t>(sizeof(S))}, ScalarType::Byte);
}

template <class State, int size, class T>
void find_parts(const SequenceBatch& batch, const PoolCut& cut, const T* x, PoolResults<T> results, State* parts,
                cudaStream_t stream) {
  PYDLX_LAUNCH((pool_kernel<State, size, T>), blocks_for(cut.count, 1), kPoolThreads, 0, stream, batch, cut, x, results,
               parts);
}

template <class State, class T>
void pool(const Tensor& like, const SequenceBatch& batch, const T* x, PoolResults<T> results, cudaStream_t stream) {
  dispatch_vectors<kVectorSize<T>>(
      rows_apart(batch),
      [&](auto size) {
        constexpr int kSize = decltype(size)::value;
        const PoolCut cut = cut_of(batch, PoolLayout<kSize>::kChannels);
        if (cut.chunks == 1) return find_parts<State, kSize, T>(batch, cut, x, results, nullptr, stream);
        const Tensor room = room_for<State>(like, batch.count * cut.chunks * batch.channels);
        State* const parts = output_data<State>(room);
        find_parts<State, kSize, T>(batch, cut, x, results, parts, stream);
        const int64_t blocks = batch.count * ((batch.channels + kWarp - 1) / kWarp);
        PYDLX_LAUNCH((pool_join_kernel<State, T>), blocks_for(blocks, 1), dim3(kWarp, kPoolWarps), 0, stream, batch,
                     cut, parts, results);
      },
      x);
}

template <bool kSoft, class T>
void pool_backward(const SequenceBatch& batch, const Tensor& grad, const T* x, T* dx, cudaStream_t stream) {
  using State = SoftState<accumulate_t<T>>;
  dispatch_vectors<kVectorSize<T>>(
      rows_apart(batch),
      [&](auto size) {
        constexpr int kSize = decltype(size)::value;
        const PoolCut cut = cut_of(batch, PoolLayout<kSize>::kChannels);
        const bool has_parts = kSoft && cut.chunks > 1;
        const Tensor room = room_for<State>(grad, has_parts ? batch.count * cut.chunks * batch.channels : 0);
        State* const parts = has_parts ? output_data<State>(room) : nullptr;
        if constexpr (kSoft) {
          if (has_parts) find_parts<State, kSize, T>(batch, cut, x, {}, parts, stream);
        }
        PYDLX_LAUNCH((pool_backward_kernel<kSoft, kSize, T>), blocks_for(cut.count, 1), kPoolThreads, 0, stream, batch,
                     cut, input_data<T>(grad), x, parts, dx);
      },
      kSoft ? x : dx, dx);
}

template <int size, class T>
void keep_best(const Tensor& like, const SequenceBatch& batch, const T* x, KMaxResults<T> results,
               cudaStream_t stream) {
  using Entry = Candidate<OrderKey<T>>;
  const PoolCut cut = cut_of(batch, kWarp), whole(batch, kWarp, 1);
  const bool has_lists = cut.chunks > 1;
  const Tensor room = room_for<Entry>(like, has_lists ? batch.count * cut.chunks * size * batch.channels : 0);
  Entry* const lists = has_lists ? output_data<Entry>(room) : nullptr;
  const Entry* const none = nullptr;
  PYDLX_LAUNCH((k_best_kernel<size, T>), blocks_for(cut.count, 1), kPoolThreads, 0, stream, batch, cut, x, none,
               int64_t{0}, lists, results);
  if (!has_lists) return;
  PYDLX_LAUNCH((k_best_kernel<size, T>), blocks_for(whole.count, 1), kPoolThreads, 0, stream, batch, whole, x, lists,
               cut.chunks, static_cast<Entry*>(nullptr), results);
}

template <class T>
void k_max(const Tensor& like, const SequenceBatch& batch, const T* x, KMaxResults<T> results, cudaStream_t stream) {
  if (results.k <= kLongestList / 2) return keep_best<kLongestList / 2>(like, batch, x, results, stream);
  if (results.k <= kLongestList) return keep_best<kLongestList>(like, batch, x, results, stream);
  STD_TORCH_CHECK(batch.steps <= int64_t{UINT32_MAX}, "sequence_pool: x must have less than 2^32 steps for k above ",
                  kLongestList, ", got ", batch.steps);
  const PoolCut whole(batch, kWarp, 1);
  PYDLX_LAUNCH(k_max_kernel<T>, blocks_for(whole.count, 1), kPoolThreads, 0, stream, batch, whole, x, results);
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
        return pool<MaxState<A>, T>(x, input.batch, from, {to, rows}, scope.stream());
      case SequencePoolMode::kMean:
        return pool<MeanState<A>, T>(x, input.batch, from, {to, nullptr}, scope.stream());
      case SequencePoolMode::kSoft:
        return pool<SoftState<A>, T>(x, input.batch, from, {to, nullptr}, scope.stream());
      case SequencePoolMode::kKMax:
        return k_max<T>(x, input.batch, from, {to, rows, k}, scope.stream());
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
    T* const to = output_data<T>(dx);
    if (x) {
      pool_backward<true, T>(input.batch, grad, input_data<T>(*input.x), to, scope.stream());
    } else {
      pool_backward<false, T>(input.batch, grad, nullptr, to, scope.stream());
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
