// The attention RNN on the CPU: work cutting and registration. The maths is in attention_rnn.h, the loops in
// attention_rnn_cpu_simd.h.
#include "attention_rnn/attention_rnn.h"

#include <numeric>
#include <tuple>

#include "common/workspace.h"

namespace pydlx {

// Most examples of a block: each line of the weights that comes from the cache serves that many.
constexpr int64_t kMostRows = 8;

}  // namespace pydlx

#define PYDLX_SIMD_FILE "attention_rnn/attention_rnn_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Even a small batch is cut into as many blocks, for that many threads.
constexpr int64_t kFewestBlocks = 4;

int64_t rows_of_block(int64_t batch) {
  return std::clamp<int64_t>((batch + kFewestBlocks - 1) / kFewestBlocks, 1, kMostRows);
}

// Numbers of the examples: in blocks of similar lengths, and the blocks such that long and short ones alternate, for
// each thread takes a run of them.
std::vector<int64_t> reading_order(const AttentionRnnShape& shape, const int64_t* lengths, int64_t rows) {
  std::vector<int64_t> sorted(static_cast<size_t>(shape.batch));
  std::iota(sorted.begin(), sorted.end(), 0);
  if (!lengths) return sorted;
  std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  // The last block alone may have less rows, so it stays where it is.
  const int64_t whole = shape.batch / rows;
  std::vector<int64_t> order(sorted);
  for (int64_t i = 0; i < whole; ++i) {
    const int64_t from = i % 2 ? whole - 1 - i / 2 : i / 2;
    std::copy_n(sorted.begin() + from * rows, rows, order.begin() + i * rows);
  }
  return order;
}

// body(weights, order, rows, begin, end) over blocks.
template <class T, class Body>
void each_block(const AttentionRnnOperands& operands, const AttentionRnnArrays<T>& arrays, bool backward,
                const Body& body) {
  const AttentionRnnShape& shape = operands.shape;
  const Tensor packed = uninitialised(operands.queries, {PYDLX_SIMD_CALL(network_numbers<T>)(shape, arrays, backward)});
  T* weights = output_data<T>(packed);
  PYDLX_SIMD_CALL(pack_network<T>)(shape, arrays, backward, weights);
  const int64_t rows = rows_of_block(shape.batch);
  const std::vector<int64_t> order = reading_order(shape, arrays.lengths, rows);
  parallel_for((shape.batch + rows - 1) / rows, 1,
               [&](int64_t begin, int64_t end) { body(weights, order.data(), rows, begin, end); });
}

std::tuple<Tensor, Tensor, Tensor> attention_rnn(const Tensor& queries, const Tensor& keys, const Tensor& score,
                                                 const std::optional<Tensor> query_weight, const Tensor& inputs,
                                                 const Tensor& values, const std::optional<Tensor> gate_inputs,
                                                 const std::optional<Tensor> gate_values,
                                                 const std::optional<Tensor> gate_weight,
                                                 const std::optional<Tensor> weight_ih,
                                                 const std::optional<Tensor> bias_ih, const Tensor& weight_hh,
                                                 const Tensor& bias_hh, const std::optional<Tensor> lengths,
                                                 const std::optional<Tensor> mask, bool lstm, bool reverse) {
  const AttentionRnnOperands operands("attention_rnn", queries, keys, score, query_weight, inputs, values, gate_inputs,
                                      gate_values, gate_weight, weight_ih, bias_ih, weight_hh, bias_hh, lengths, mask,
                                      lstm, reverse);
  auto [y, attention, kept] = operands.new_outputs();
  if (y.numel() == 0) return {y, attention, kept};
  dispatch_full_precision(
      y.scalar_type(), "attention_rnn", [&, &y = y, &attention = attention, &kept = kept](auto zero) {
        using T = decltype(zero);
        const AttentionRnnArrays<T> arrays = operands.arrays<T>(y, attention, kept);
        each_block<T>(operands, arrays, false,
                      [&](T* weights, const int64_t* order, int64_t rows, int64_t begin, int64_t end) {
                        PYDLX_SIMD_CALL(forward_blocks<T>)
                        (operands.shape, arrays, weights, order, rows, begin, end);
                      });
      });
  return {y, attention, kept};
}

std::tuple<Tensor, Tensor, Tensor> attention_rnn_backward(
    const Tensor& grad_output, const Tensor& y_given, const Tensor& attention_given, const Tensor& kept_given,
    const Tensor& queries, const Tensor& keys, const Tensor& score, const std::optional<Tensor> query_weight,
    const Tensor& inputs, const Tensor& values, const std::optional<Tensor> gate_inputs,
    const std::optional<Tensor> gate_values, const std::optional<Tensor> gate_weight,
    const std::optional<Tensor> weight_ih, const std::optional<Tensor> bias_ih, const Tensor& weight_hh,
    const Tensor& bias_hh, const std::optional<Tensor> lengths, const std::optional<Tensor> mask, bool lstm,
    bool reverse) {
  const AttentionRnnOperands operands("_attention_rnn_backward", queries, keys, score, query_weight, inputs, values,
                                      gate_inputs, gate_values, gate_weight, weight_ih, bias_ih, weight_hh, bias_hh,
                                      lengths, mask, lstm, reverse);
  operands.check_results(grad_output, y_given, attention_given, kept_given);
  const Tensor grad = made_contiguous(grad_output), y = made_contiguous(y_given),
               attention = made_contiguous(attention_given), kept = made_contiguous(kept_given);
  auto [gradients, d_keys, d_score] = operands.new_gradients();
  if (y.numel() == 0) {
    return {gradients, torch::stable::new_zeros(d_keys, d_keys.sizes()),
            torch::stable::new_zeros(d_score, d_score.sizes())};
  }
  dispatch_full_precision(
      y.scalar_type(), "attention_rnn", [&, &gradients = gradients, &d_keys = d_keys, &d_score = d_score](auto zero) {
        using T = decltype(zero);
        AttentionRnnArrays<T> arrays = operands.arrays<T>(y, attention, kept);
        arrays.grad = input_data<T>(grad);
        arrays.gradients = output_data<T>(gradients);
        arrays.d_keys = output_data<T>(d_keys);
        arrays.d_score = output_data<T>(d_score);
        each_block<T>(operands, arrays, true,
                      [&](T* weights, const int64_t* order, int64_t rows, int64_t begin, int64_t end) {
                        PYDLX_SIMD_CALL(backward_blocks<T>)
                        (operands.shape, arrays, weights, order, rows, begin, end);
                      });
      });
  return {gradients, d_keys, d_score};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("attention_rnn", TORCH_BOX(&pydlx::attention_rnn));
  m.impl("_attention_rnn_backward", TORCH_BOX(&pydlx::attention_rnn_backward));
}
