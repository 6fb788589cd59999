// A recurrence with attention to a memory at each step: maths, shapes, and the checks of the CPU and CUDA ops. Matrix
// products that do not depend on the state are computed beforehand (pydlx/ops/attention_rnn.py). Step t, with the
// operands' names:
//
//     q   = queries_t + query_weight h                        (A)    queries_t alone without query_weight
//     s_j = score . tanh(keys_j + q),  a = softmax(s)         (m)    over the valid j
//     c   = sum_j a_j values_j                                (D)
//     with a gate, Z = I + D:
//       g    = sigmoid(gate_inputs_t + sum_j a_j gate_values_j)      or + gate_weight c
//       read = weight_ih (g * [inputs_t; c]) + bias_ih        (G H)
//     without, where inputs and values have already been multiplied by weight_ih: read = inputs_t + c
//     GRU   r, z = sigmoid(read + weight_hh h + bias_hh),  n = tanh(read_n + r (weight_hh h + bias_hh)_n)
//           h <- n + z (h - n)
//     LSTM  i, f, o = sigmoid(..), g = tanh(..) of read + weight_hh h + bias_hh;  e <- f e + i g,  h <- o tanh(e)
//
// h and e start from 0. Example b has length_b valid steps; with `reverse` they are run from last to first. An example
// without valid memory has context 0.
//
// The CPU kernels replace tanh. With rho(x) = 1 / (1 + exp(2 x)), tanh x = 1 - 2 rho(x), and softmax does not change
// when a constant is added to all scores, so s_j = -2 score . rho(keys_j + q). exp(2 (keys_j + q)) is the product of
// exp(2 keys_j), computed once, and exp(2 q), computed once per step; unless one of the arguments is large, a rho then
// costs one division. In the backward pass tanh' = 4 (rho - rho^2), and d score = -2 sum ds_j rho because the gradients
// of the scores sum to 0.
//
// Saved for the backward pass, for each example and step: y, a, and a row of `kept` with
//     r z n and (weight_hh h + bias_hh)_n (GRU) or i f g o e (LSTM) | q | with a gate: g | c
// The backward pass returns d keys, d score for each example, and for each step a row with the gradients of
//     the pre-activations of r z n and of (weight_hh h + bias_hh)_n (GRU) or of i f g o (LSTM) | q
//     | with a gate: its pre-activation | [inputs_t; c]
// from which matrix products over all steps at once give the other gradients. Everything is 0 in the padding.
#pragma once

#include <tuple>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

struct AttentionRnnShape {
  int64_t batch, steps, memory, attention, inputs, values, hidden;
  int64_t joined;  // Z, 0 without a gate
  bool lstm, reverse;

  PYDLX_HOST_DEVICE int64_t gates() const { return lstm ? 4 : 3; }

  // Offsets of the parts of a row of `kept`, and its width.
  PYDLX_HOST_DEVICE int64_t query_at() const { return (lstm ? 5 : 4) * hidden; }
  PYDLX_HOST_DEVICE int64_t gate_at() const { return query_at() + attention; }
  PYDLX_HOST_DEVICE int64_t context_at() const { return gate_at() + joined; }
  PYDLX_HOST_DEVICE int64_t kept() const { return context_at() + (joined > 0 ? values : 0); }

  // The same for a row of gradients.
  PYDLX_HOST_DEVICE int64_t d_query_at() const { return 4 * hidden; }
  PYDLX_HOST_DEVICE int64_t d_gate_at() const { return d_query_at() + attention; }
  PYDLX_HOST_DEVICE int64_t d_joined_at() const { return d_gate_at() + joined; }
  PYDLX_HOST_DEVICE int64_t gradients() const { return d_joined_at() + joined; }
};

// Operands and results of one call, contiguous; operands that are not given are null.
template <class T>
struct AttentionRnnArrays {
  const T *queries, *keys, *score, *query_weight, *inputs, *values, *gate_inputs, *gate_values, *gate_weight,
      *weight_ih, *bias_ih, *weight_hh, *bias_hh;
  const int64_t* lengths;
  const bool* mask;
  T *y, *attention, *kept;  // read by the backward pass
  const T* grad = nullptr;  // of y
  T *gradients = nullptr, *d_keys = nullptr, *d_score = nullptr;
};

struct AttentionRnnOperands {
  Tensor queries, keys, score;
  std::optional<Tensor> query_weight;
  Tensor inputs, values;
  std::optional<Tensor> gate_inputs, gate_values, gate_weight, weight_ih, bias_ih;
  Tensor weight_hh, bias_hh;
  std::optional<Tensor> lengths, mask;
  AttentionRnnShape shape;

  // Checks all operands and makes them contiguous.
  AttentionRnnOperands(const char* op, const Tensor& queries_, const Tensor& keys_, const Tensor& score_,
                       const std::optional<Tensor>& query_weight_, const Tensor& inputs_, const Tensor& values_,
                       const std::optional<Tensor>& gate_inputs_, const std::optional<Tensor>& gate_values_,
                       const std::optional<Tensor>& gate_weight_, const std::optional<Tensor>& weight_ih_,
                       const std::optional<Tensor>& bias_ih_, const Tensor& weight_hh_, const Tensor& bias_hh_,
                       const std::optional<Tensor>& lengths_, const std::optional<Tensor>& mask_, bool lstm,
                       bool reverse)
      : queries(made_contiguous(queries_)),
        keys(made_contiguous(keys_)),
        score(made_contiguous(score_)),
        query_weight(contiguous(query_weight_)),
        inputs(made_contiguous(inputs_)),
        values(made_contiguous(values_)),
        gate_inputs(contiguous(gate_inputs_)),
        gate_values(contiguous(gate_values_)),
        gate_weight(contiguous(gate_weight_)),
        weight_ih(contiguous(weight_ih_)),
        bias_ih(contiguous(bias_ih_)),
        weight_hh(made_contiguous(weight_hh_)),
        bias_hh(made_contiguous(bias_hh_)),
        lengths(contiguous(lengths_)),
        mask(contiguous(mask_)) {
    const Arguments arguments(op, "queries", queries);
    const ScalarType dtype = queries.scalar_type();
    arguments.check_dims("queries", queries, 3, 3);
    arguments.check("keys", keys, dtype, {queries.size(0), kAnySize, queries.size(2)});
    arguments.check("inputs", inputs, dtype, {queries.size(0), queries.size(1), kAnySize});
    arguments.check("values", values, dtype, {queries.size(0), keys.size(1), kAnySize});
    arguments.check("weight_hh", weight_hh, dtype, {kAnySize, kAnySize});
    const int64_t batch = queries.size(0), steps = queries.size(1), memory = keys.size(1), width = queries.size(2),
                  hidden = weight_hh.size(1), gates = (lstm ? 4 : 3) * hidden;
    arguments.check_positive("the size of the memory", memory);
    arguments.check_positive("the size of the state", hidden);
    arguments.check_positive("the size of the attention", width);
    arguments.check("score", score, dtype, {width});
    arguments.check("weight_hh", weight_hh, dtype, {gates, hidden});
    arguments.check("bias_hh", bias_hh, dtype, {gates});
    if (query_weight) arguments.check("query_weight", *query_weight, dtype, {width, hidden});
    if (lengths) arguments.check("lengths", *lengths, ScalarType::Long, {batch});
    if (mask) arguments.check("mask", *mask, ScalarType::Bool, {batch, memory});
    int64_t joined = 0;
    if (gate_inputs) {
      joined = inputs.size(2) + values.size(2);
      arguments.check("gate_inputs", *gate_inputs, dtype, {batch, steps, joined});
      STD_TORCH_CHECK(gate_values.has_value() != gate_weight.has_value(), op,
                      ": gate_values or gate_weight must be given with gate_inputs, and not both");
      STD_TORCH_CHECK(weight_ih && bias_ih, op, ": weight_ih and bias_ih must be given with gate_inputs");
      if (gate_values) arguments.check("gate_values", *gate_values, dtype, {batch, memory, joined});
      if (gate_weight) arguments.check("gate_weight", *gate_weight, dtype, {joined, values.size(2)});
      arguments.check("weight_ih", *weight_ih, dtype, {gates, joined});
      arguments.check("bias_ih", *bias_ih, dtype, {gates});
      arguments.check_positive("the size of inputs", inputs.size(2));
      arguments.check_positive("the size of values", values.size(2));
    } else {
      STD_TORCH_CHECK(!gate_values && !gate_weight && !weight_ih && !bias_ih, op,
                      ": gate_values, gate_weight, weight_ih and bias_ih must not be given without gate_inputs");
      arguments.check_shape("inputs", inputs, {batch, steps, gates});
      arguments.check_shape("values", values, {batch, memory, gates});
    }
    shape = {batch, steps, memory, width, inputs.size(2), values.size(2), hidden, joined, lstm, reverse};
  }

  template <class T>
  AttentionRnnArrays<T> arrays(const Tensor& y, const Tensor& attention, const Tensor& kept) const {
    return {input_data<T>(queries),
            input_data<T>(keys),
            input_data<T>(score),
            given<T>(query_weight),
            input_data<T>(inputs),
            input_data<T>(values),
            given<T>(gate_inputs),
            given<T>(gate_values),
            given<T>(gate_weight),
            given<T>(weight_ih),
            given<T>(bias_ih),
            input_data<T>(weight_hh),
            input_data<T>(bias_hh),
            given<int64_t>(lengths),
            given<bool>(mask),
            const_cast<T*>(input_data<T>(y)),
            const_cast<T*>(input_data<T>(attention)),
            const_cast<T*>(input_data<T>(kept))};
  }

  // y, attention and kept.
  std::tuple<Tensor, Tensor, Tensor> new_outputs() const {
    return {uninitialised(queries, {shape.batch, shape.steps, shape.hidden}),
            uninitialised(queries, {shape.batch, shape.steps, shape.memory}),
            uninitialised(queries, {shape.batch, shape.steps, shape.kept()})};
  }

  // The gradients of each step, of the keys, and of score for each example.
  std::tuple<Tensor, Tensor, Tensor> new_gradients() const {
    return {uninitialised(queries, {shape.batch, shape.steps, shape.gradients()}), uninitialised(queries, keys.sizes()),
            uninitialised(queries, {shape.batch, shape.attention})};
  }

 private:
  static std::optional<Tensor> contiguous(const std::optional<Tensor>& x) {
    return x ? std::optional<Tensor>(made_contiguous(*x)) : std::nullopt;
  }

  template <class T>
  static const T* given(const std::optional<Tensor>& x) {
    return x ? input_data<T>(*x) : nullptr;
  }
};

// The forward and backward op. Device has a Scope, which lives during all work on a tensor's device, and
// run(scope, operands, arrays, backward).
template <class Device>
struct AttentionRnnOp {
  using Results = std::tuple<Tensor, Tensor, Tensor>;

  static Results forward(const Tensor& queries, const Tensor& keys, const Tensor& score,
                         const std::optional<Tensor> query_weight, const Tensor& inputs, const Tensor& values,
                         const std::optional<Tensor> gate_inputs, const std::optional<Tensor> gate_values,
                         const std::optional<Tensor> gate_weight, const std::optional<Tensor> weight_ih,
                         const std::optional<Tensor> bias_ih, const Tensor& weight_hh, const Tensor& bias_hh,
                         const std::optional<Tensor> lengths, const std::optional<Tensor> mask, bool lstm,
                         bool reverse) {
    const typename Device::Scope scope(queries);
    const AttentionRnnOperands operands("attention_rnn", queries, keys, score, query_weight, inputs, values,
                                        gate_inputs, gate_values, gate_weight, weight_ih, bias_ih, weight_hh, bias_hh,
                                        lengths, mask, lstm, reverse);
    const Results results = operands.new_outputs();
    const auto& [y, attention, kept] = results;
    if (y.numel() == 0) return results;
    dispatch_full_precision(y.scalar_type(), "attention_rnn",
                            [&, &y = y, &attention = attention, &kept = kept](auto zero) {
                              Device::run(scope, operands, operands.arrays<decltype(zero)>(y, attention, kept), false);
                            });
    return results;
  }

  static Results backward(const Tensor& grad_output, const Tensor& y_given, const Tensor& attention_given,
                          const Tensor& kept_given, const Tensor& queries, const Tensor& keys, const Tensor& score,
                          const std::optional<Tensor> query_weight, const Tensor& inputs, const Tensor& values,
                          const std::optional<Tensor> gate_inputs, const std::optional<Tensor> gate_values,
                          const std::optional<Tensor> gate_weight, const std::optional<Tensor> weight_ih,
                          const std::optional<Tensor> bias_ih, const Tensor& weight_hh, const Tensor& bias_hh,
                          const std::optional<Tensor> lengths, const std::optional<Tensor> mask, bool lstm,
                          bool reverse) {
    const typename Device::Scope scope(queries);
    const AttentionRnnOperands operands("_attention_rnn_backward", queries, keys, score, query_weight, inputs, values,
                                        gate_inputs, gate_values, gate_weight, weight_ih, bias_ih, weight_hh, bias_hh,
                                        lengths, mask, lstm, reverse);
    const AttentionRnnShape& shape = operands.shape;
    const Arguments arguments("_attention_rnn_backward", "queries", queries);
    const ScalarType dtype = queries.scalar_type();
    arguments.check("grad", grad_output, dtype, {shape.batch, shape.steps, shape.hidden});
    arguments.check("y", y_given, dtype, {shape.batch, shape.steps, shape.hidden});
    arguments.check("attention", attention_given, dtype, {shape.batch, shape.steps, shape.memory});
    arguments.check("kept", kept_given, dtype, {shape.batch, shape.steps, shape.kept()});
    const Tensor grad = made_contiguous(grad_output), y = made_contiguous(y_given),
                 attention = made_contiguous(attention_given), kept = made_contiguous(kept_given);
    const Results results = operands.new_gradients();
    const auto& [gradients, d_keys, d_score] = results;
    if (y.numel() == 0) {
      return {gradients, torch::stable::new_zeros(d_keys, d_keys.sizes()),
              torch::stable::new_zeros(d_score, d_score.sizes())};
    }
    dispatch_full_precision(dtype, "attention_rnn",
                            [&, &gradients = gradients, &d_keys = d_keys, &d_score = d_score](auto zero) {
                              using T = decltype(zero);
                              AttentionRnnArrays<T> arrays = operands.arrays<T>(y, attention, kept);
                              arrays.grad = input_data<T>(grad);
                              arrays.gradients = output_data<T>(gradients);
                              arrays.d_keys = output_data<T>(d_keys);
                              arrays.d_score = output_data<T>(d_score);
                              Device::run(scope, operands, arrays, true);
                            });
    return results;
  }
};

}  // namespace pydlx
