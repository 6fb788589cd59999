// The recurrence on the CPU. Included once per instruction set by attention_rnn_cpu.cpp, which includes every header
// this needs.
//
// A unit of work is a block of a few examples, longest first, so that the examples that are not finished are the first
// rows of every buffer. Products with weights are computed for all rows of the block at once, attention for one example
// at a time, over a packed copy of the valid rows of its memory.

// The order matters: each file needs the previous one.
// clang-format off
#include "attention_rnn/panels_simd.h"
#include "attention_rnn/network_simd.h"
#include "attention_rnn/example_simd.h"
// clang-format on

namespace pydlx {
namespace PYDLX_SIMD {

// A buffer with one row per example of a block.
template <class T>
struct Rows {
  T* data;
  int64_t stride;

  void carve(Carver<T>& carver, int64_t rows, int64_t width) {
    data = carver.take(rows * width);
    stride = width;
  }
  T* operator[](int64_t r) const { return data + r * stride; }
};

template <class T>
struct ForwardBlock {
  const Network<T>& net;
  Example<T>* examples;
  Rows<T> hidden, state, sums, context, joined, gate, read;

  ForwardBlock(const Network<T>& net, Example<T>* examples, int64_t rows, Carver<T>& carver)
      : net(net), examples(examples) {
    hidden.carve(carver, rows, net.hidden.width);
    state.carve(carver, rows, net.hidden.width);
    sums.carve(carver, rows, net.recurrent.columns.width);
    context.carve(carver, rows, net.context.width);
    joined.carve(carver, rows, net.joined.width);
    gate.carve(carver, rows, net.joined.width);
    read.carve(carver, rows, net.read.width);
    for (int64_t r = 0; r < rows; ++r) examples[r].carve(carver, net, false);
  }

  void run(int64_t rows) {
    std::fill_n(hidden.data, rows * hidden.stride, T(0));
    std::fill_n(state.data, rows * state.stride, T(0));
    for (int64_t s = 0; s < examples[0].length; ++s) {
      while (examples[rows - 1].length <= s) --rows;
      multiply(net.recurrent, rows, hidden.data, hidden.stride, sums.data, sums.stride);
      for (int64_t r = 0; r < rows; ++r) look_up(r, place(r, s));
      if (net.shape.joined > 0) {
        if (net.arrays.gate_weight) {
          multiply(net.gate, rows, context.data, context.stride, gate.data, gate.stride);
        }
        for (int64_t r = 0; r < rows; ++r) pass_gate(r, place(r, s));
        multiply(net.reading, rows, joined.data, joined.stride, read.data, read.stride);
      }
      for (int64_t r = 0; r < rows; ++r) {
        if (net.shape.lstm) {
          lstm(r, place(r, s));
        } else {
          gru(r, place(r, s));
        }
      }
    }
  }

  // The row of step s of example r among all steps of the batch.
  int64_t place(int64_t r, int64_t s) const {
    return examples[r].number * net.shape.steps + examples[r].step(net.shape, s);
  }

  T* kept(int64_t at) const { return net.arrays.kept + at * net.shape.kept(); }

  // Computes the query, the attention weights and the context.
  void look_up(int64_t r, int64_t at) {
    Example<T>& example = examples[r];
    net.attention.spread(net.arrays.queries + at * net.shape.attention, example.query);
    if (net.arrays.query_weight) {
      for (int64_t c = 0; c < net.attention.width; ++c) example.query[c] += sums[r][c];
    }
    net.attention.gather(example.query, kept(at) + net.shape.query_at());
    example.attend(net);
    example.weigh(net.context.width, context[r]);
    T* weights = net.arrays.attention + at * net.shape.memory;
    if (example.count < net.shape.memory) std::fill_n(weights, net.shape.memory, T(0));
    for (int64_t i = 0; i < example.count; ++i) weights[example.rows[i]] = example.scores[i];
    if (net.shape.joined > 0) return;
    net.read.spread(net.arrays.inputs + at * net.shape.inputs, read[r]);
    for (int64_t c = 0; c < net.read.width; ++c) read[r][c] += context[r][c];
  }

  void pass_gate(int64_t r, int64_t at) {
    constexpr int64_t L = kVecLanes<T>;
    const AttentionRnnShape& shape = net.shape;
    const int64_t behind_inputs = net.joined.at[1];
    T *z = joined[r], *g = gate[r];
    Layout<T> inputs(1, shape.inputs);
    inputs.spread(net.arrays.inputs + at * shape.inputs, z);
    std::copy_n(context[r], net.joined.width - behind_inputs, z + behind_inputs);
    std::copy_n(context[r], shape.values, kept(at) + shape.context_at());
    const T* on_context = net.arrays.gate_values ? context[r] + net.context.at[1] : g;
    for (int part = 0; part < 2; ++part) {
      const T* from = net.arrays.gate_inputs + at * shape.joined + (part ? shape.inputs : 0);
      for (int64_t c = 0; c < net.joined.size[part]; ++c) {
        g[net.joined.at[part] + c] = on_context[net.joined.at[part] + c] + from[c];
      }
    }
    for (int64_t c = 0; c < net.joined.width; c += L) {
      const Vec<T> open = sigmoid<T>(load(g + c));
      store(g + c, open);
      store(z + c, Vec<T>(load(z + c) * open));
    }
    net.joined.gather(g, kept(at) + shape.gate_at());
  }

  // Saves part i for the backward pass.
  void keep(int64_t at, int i, const T* part) { std::copy_n(part, net.shape.hidden, kept(at) + i * net.shape.hidden); }

  void gru(int64_t r, int64_t at) {
    constexpr int64_t L = kVecLanes<T>;
    const int64_t width = net.hidden.width;
    T *to = read[r], *h = hidden[r];
    T* sum = sums[r] + net.recurrent.columns.width - net.read.width;
    const T* b = net.bias;
    for (int64_t c = 0; c < width; c += L) {
      const Vec<T> reset = sigmoid<T>(load(to + c) + load(sum + c) + load(b + c));
      const Vec<T> update = sigmoid<T>(load(to + width + c) + load(sum + width + c) + load(b + width + c));
      const Vec<T> inner = load(sum + 2 * width + c) + load(b + 3 * width + c);
      const Vec<T> fresh = tanh<T>(load(to + 2 * width + c) + load(b + 2 * width + c) + reset * inner);
      store(to + c, reset);
      store(to + width + c, update);
      store(to + 2 * width + c, fresh);
      store(sum + c, inner);
      store(h + c, Vec<T>(fresh + update * (load(h + c) - fresh)));
    }
    for (int i = 0; i < 3; ++i) keep(at, i, to + i * width);
    keep(at, 3, sum);
    std::copy_n(h, net.shape.hidden, net.arrays.y + at * net.shape.hidden);
  }

  void lstm(int64_t r, int64_t at) {
    constexpr int64_t L = kVecLanes<T>;
    const int64_t width = net.hidden.width;
    T *to = read[r], *h = hidden[r], *e = state[r];
    const T* sum = sums[r] + net.recurrent.columns.width - net.read.width;
    for (int64_t c = 0; c < width; c += L) {
      Vec<T> part[4];
      for (int i = 0; i < 4; ++i) {
        const int64_t k = i * width + c;
        const Vec<T> x = load(to + k) + load(sum + k) + load(net.bias + k);
        part[i] = i == 2 ? tanh<T>(x) : sigmoid<T>(x);
        store(to + k, part[i]);
      }
      const Vec<T> fresh = part[1] * load(e + c) + part[0] * part[2];
      store(e + c, fresh);
      store(h + c, Vec<T>(part[3] * tanh<T>(fresh)));
    }
    for (int i = 0; i < 4; ++i) keep(at, i, to + i * width);
    keep(at, 4, e);
    std::copy_n(h, net.shape.hidden, net.arrays.y + at * net.shape.hidden);
  }
};

template <class T>
struct BackwardBlock {
  const Network<T>& net;
  Example<T>* examples;
  Rows<T> d_hidden, d_state, direct, d_read, d_sums, d_joined, d_gate, d_context, d_score, buffer;

  BackwardBlock(const Network<T>& net, Example<T>* examples, int64_t rows, Carver<T>& carver)
      : net(net), examples(examples) {
    d_hidden.carve(carver, rows, net.hidden.width);
    d_state.carve(carver, rows, net.hidden.width);
    direct.carve(carver, rows, net.hidden.width);
    d_read.carve(carver, rows, net.read.width);
    d_sums.carve(carver, rows, net.recurrent.lines.width);
    d_joined.carve(carver, rows, net.joined.width);
    d_gate.carve(carver, rows, net.joined.width);
    d_context.carve(carver, rows, net.context.width);
    d_score.carve(carver, rows, net.attention.width);
    buffer.carve(carver, 1, std::max({2 * net.joined.width, 8 * net.hidden.width, net.attention.width}));
    for (int64_t r = 0; r < rows; ++r) examples[r].carve(carver, net, true);
  }

  void run(int64_t rows) {
    std::fill_n(d_hidden.data, rows * d_hidden.stride, T(0));
    std::fill_n(d_state.data, rows * d_state.stride, T(0));
    std::fill_n(d_score.data, rows * d_score.stride, T(0));
    for (int64_t r = 0; r < rows; ++r) {
      std::fill_n(examples[r].d_keys, examples[r].count * net.attention.width, T(0));
    }
    int64_t active = 0;
    for (int64_t s = examples[0].length - 1; s >= 0; --s) {
      while (active < rows && examples[active].length > s) ++active;
      for (int64_t r = 0; r < active; ++r) {
        if (net.shape.lstm) {
          lstm(r, s);
        } else {
          gru(r, s);
        }
      }
      if (net.shape.joined > 0) {
        multiply(net.reading, active, d_read.data, d_read.stride, d_joined.data, d_joined.stride);
        for (int64_t r = 0; r < active; ++r) pass_gate(r, place(r, s));
        if (net.arrays.gate_weight) {
          multiply<T, true>(net.gate, active, d_gate.data, d_gate.stride, d_joined.data + net.joined.at[1],
                            d_joined.stride);
        }
      }
      for (int64_t r = 0; r < active; ++r) look_up(r, place(r, s));
      multiply<T, true>(net.recurrent, active, d_sums.data, d_sums.stride, direct.data, direct.stride);
      std::copy_n(direct.data, active * direct.stride, d_hidden.data);
    }
    for (int64_t r = 0; r < rows; ++r) finish(r);
  }

  int64_t place(int64_t r, int64_t s) const {
    return examples[r].number * net.shape.steps + examples[r].step(net.shape, s);
  }

  const T* kept(int64_t at) const { return net.arrays.kept + at * net.shape.kept(); }
  T* gradients(int64_t at) const { return net.arrays.gradients + at * net.shape.gradients(); }

  // Loads the saved parts, the state before the step, and the gradient of the state after it (d_hidden plus grad).
  void begin(int64_t r, int64_t s, int parts, const T*& part, const T*& before, T*& dh) {
    const int64_t H = net.shape.hidden, width = net.hidden.width, at = place(r, s);
    T* to = buffer.data;
    part = to;
    for (int i = 0; i < parts; ++i, to += width) net.hidden.spread(kept(at) + i * H, to);
    before = to;
    if (s > 0) {
      net.hidden.spread(net.arrays.y + place(r, s - 1) * H, to);
    } else {
      std::fill_n(to, width, T(0));
    }
    dh = d_hidden[r];
    for (int64_t h = 0; h < H; ++h) dh[h] += net.arrays.grad[at * H + h];
  }

  void gru(int64_t r, int64_t s) {
    constexpr int64_t L = kVecLanes<T>;
    const int64_t width = net.hidden.width, H = net.shape.hidden;
    const T *part, *before;
    T *dh, *to = d_read[r], *sum = d_sums[r];
    begin(r, s, 4, part, before, dh);
    for (int64_t c = 0; c < width; c += L) {
      const Vec<T> reset = load(part + c), update = load(part + width + c), fresh = load(part + 2 * width + c);
      const Vec<T> d = load(dh + c), d_fresh = d * (T(1) - update) * (T(1) - fresh * fresh);
      const Vec<T> d_update = d * (load(before + c) - fresh) * update * (T(1) - update);
      const Vec<T> d_reset = d_fresh * load(part + 3 * width + c) * reset * (T(1) - reset);
      store(to + c, d_reset);
      store(to + width + c, d_update);
      store(to + 2 * width + c, d_fresh);
      store(sum + c, d_reset);
      store(sum + width + c, d_update);
      store(sum + 2 * width + c, Vec<T>(d_fresh * reset));
      store(direct[r] + c, Vec<T>(d * update));
    }
    T* out = gradients(place(r, s));
    net.read.gather(to, out);
    std::copy_n(sum + 2 * width, H, out + 3 * H);
  }

  void lstm(int64_t r, int64_t s) {
    constexpr int64_t L = kVecLanes<T>;
    const int64_t width = net.hidden.width, H = net.shape.hidden;
    const T *part, *unused;
    T *dh, *to = d_read[r], *de = d_state[r];
    begin(r, s, 5, part, unused, dh);
    T* before = buffer.data + 6 * width;  // the cell state before the step
    if (s > 0) {
      net.hidden.spread(kept(place(r, s - 1)) + 4 * H, before);
    } else {
      std::fill_n(before, width, T(0));
    }
    for (int64_t c = 0; c < width; c += L) {
      const Vec<T> in = load(part + c), keep = load(part + width + c), fresh = load(part + 2 * width + c);
      const Vec<T> out = load(part + 3 * width + c), curved = tanh<T>(load(part + 4 * width + c));
      const Vec<T> d = load(dh + c), d_e = load(de + c) + d * out * (T(1) - curved * curved);
      store(to + c, Vec<T>(d_e * fresh * in * (T(1) - in)));
      store(to + width + c, Vec<T>(d_e * load(before + c) * keep * (T(1) - keep)));
      store(to + 2 * width + c, Vec<T>(d_e * in * (T(1) - fresh * fresh)));
      store(to + 3 * width + c, Vec<T>(d * curved * out * (T(1) - out)));
      store(de + c, Vec<T>(d_e * keep));
      store(direct[r] + c, Vec<T>{});
    }
    std::copy_n(to, net.read.width, d_sums[r]);
    net.read.gather(to, gradients(place(r, s)));
  }

  // From the gradient of the gated input to those of the gate's pre-activation and of [x; c].
  void pass_gate(int64_t r, int64_t at) {
    constexpr int64_t L = kVecLanes<T>;
    const AttentionRnnShape& shape = net.shape;
    T *g = buffer.data, *z = g + net.joined.width, *d = d_joined[r];
    net.joined.spread(kept(at) + shape.gate_at(), g);
    Layout<T>(1, shape.inputs).spread(net.arrays.inputs + at * shape.inputs, z);
    Layout<T>(1, shape.values).spread(kept(at) + shape.context_at(), z + net.joined.at[1]);
    for (int64_t c = 0; c < net.joined.width; c += L) {
      const Vec<T> open = load(g + c), scaled = load(d + c) * open;
      store(d + c, scaled);
      store(d_gate[r] + c, Vec<T>(scaled * load(z + c) * (T(1) - open)));
    }
    net.joined.gather(d_gate[r], gradients(at) + shape.d_gate_at());
  }

  // From the gradient of the context to that of the query, which goes to the previous state along with the cell's.
  void look_up(int64_t r, int64_t at) {
    const AttentionRnnShape& shape = net.shape;
    Example<T>& example = examples[r];
    const int64_t width = net.attention.width;
    const T* grad = d_read[r];
    if (shape.joined > 0) {
      T* to = d_context[r];
      const int64_t values = net.joined.width - net.joined.at[1];
      std::copy_n(d_joined[r] + net.joined.at[1], values, to);
      if (net.arrays.gate_values) std::copy_n(d_gate[r], net.joined.width, to + values);
      net.joined.gather(d_joined[r], gradients(at) + shape.d_joined_at());
      grad = to;
    }
    const T* weights = net.arrays.attention + at * shape.memory;
    std::fill_n(example.scores, whole_vectors<T>(shape.memory), T(0));
    for (int64_t i = 0; i < example.count; ++i) example.scores[i] = weights[example.rows[i]];
    example.weigh_backward(net.context.width, grad);
    net.attention.spread(kept(at) + shape.query_at(), example.query);
    T* d_query = net.arrays.query_weight ? d_sums[r] + net.read.width : buffer.data;
    if (example.set_query(width)) {
      example.template attend_backward<true>(width, d_query, d_score[r]);
    } else {
      example.template attend_backward<false>(width, d_query, d_score[r]);
    }
    for (int64_t c = 0; c < width; ++c) d_query[c] *= -2 * net.score[c];
    net.attention.gather(d_query, gradients(at) + shape.d_query_at());
  }

  // Writes the results that are sums over steps.
  void finish(int64_t r) {
    const AttentionRnnShape& shape = net.shape;
    const Example<T>& example = examples[r];
    const int64_t A = shape.attention;
    T* d_keys = net.arrays.d_keys + example.number * shape.memory * A;
    if (example.count < shape.memory) std::fill_n(d_keys, shape.memory * A, T(0));
    for (int64_t i = 0; i < example.count; ++i) {
      const T* from = example.d_keys + i * net.attention.width;
      for (int64_t c = 0; c < A; ++c) d_keys[example.rows[i] * A + c] = -2 * net.score[c] * from[c];
    }
    for (int64_t c = 0; c < A; ++c) net.arrays.d_score[example.number * A + c] = -2 * d_score[r][c];
  }
};

template <class T>
int64_t network_numbers(const AttentionRnnShape& shape, const AttentionRnnArrays<T>& arrays, bool backward) {
  return Network<T>(shape, arrays, backward, nullptr).numbers;
}

template <class T>
void pack_network(const AttentionRnnShape& shape, const AttentionRnnArrays<T>& arrays, bool backward, T* data) {
  Network<T>(shape, arrays, backward, data).pack(backward);
}

// Zeroes the rows after an example's last step.
template <class T>
void clear_padding(const Network<T>& net, const Example<T>& example, bool backward) {
  const AttentionRnnShape& shape = net.shape;
  const auto clear = [&](T* tensor, int64_t width) {
    T* row = tensor + example.number * shape.steps * width;
    std::fill(row + example.length * width, row + shape.steps * width, T(0));
  };
  if (backward) return clear(net.arrays.gradients, shape.gradients());
  clear(net.arrays.y, shape.hidden);
  clear(net.arrays.attention, shape.memory);
  clear(net.arrays.kept, shape.kept());
}

// Runs blocks [begin, end) of `rows` examples each; `order` has the examples' indices, longest first in each block.
template <class T, class Block>
void run_blocks(const AttentionRnnShape& shape, const AttentionRnnArrays<T>& arrays, T* weights, bool backward,
                const int64_t* order, int64_t rows, int64_t begin, int64_t end) {
  const Network<T> net(shape, arrays, backward, weights);
  Example<T> examples[kMostRows];
  Carver<T> counter{nullptr};
  Block(net, examples, rows, counter);
  const Workspace workspace(counter.used * int64_t(sizeof(T)));
  Carver<T> carver{workspace.as<T>()};
  Block block(net, examples, rows, carver);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t count = std::min(rows, shape.batch - i * rows);
    for (int64_t r = 0; r < count; ++r) {
      examples[r].pack(net, order[i * rows + r]);
      clear_padding(net, examples[r], backward);
    }
    block.run(count);
  }
}

template <class T>
void read_blocks(const AttentionRnnShape& shape, const AttentionRnnArrays<T>& arrays, T* weights, bool backward,
                 const int64_t* order, int64_t rows, int64_t begin, int64_t end) {
  if (backward) return run_blocks<T, BackwardBlock<T>>(shape, arrays, weights, true, order, rows, begin, end);
  run_blocks<T, ForwardBlock<T>>(shape, arrays, weights, false, order, rows, begin, end);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
