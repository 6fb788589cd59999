// Vector functions, scratch memory and packed weights of the recurrence on the CPU. Included once per instruction set.

namespace pydlx {
namespace PYDLX_SIMD {

// exp(x) with x clamped so that the result is finite and normal; NaN for NaN.
template <class T>
__attribute__((always_inline)) inline Vec<T> limited_exp(const Vec<T>& x) {
  constexpr T kHighest = std::is_same_v<T, float> ? T(88) : T(709);
  const Vec<T> low = splat(ExpConstants<T>::kLowest), high = splat(kHighest);
  Vec<T> limited = x < low ? low : x;
  limited = limited > high ? high : limited;
  return x == x ? exp_nonpositive<T>(limited) : x;
}

template <class T>
__attribute__((always_inline)) inline Vec<T> sigmoid(const Vec<T>& x) {
  return T(1) / (T(1) + limited_exp<T>(-x));
}

template <class T>
__attribute__((always_inline)) inline Vec<T> tanh(const Vec<T>& x) {
  return T(1) - T(2) / (T(1) + limited_exp<T>(x + x));
}

// A vector whose lane i is the sum of the lanes of v[i]. Overwrites v.
template <class T>
__attribute__((always_inline)) inline Vec<T> sums_of_lanes(Vec<T>* v) {
  transpose<T>(v);
#pragma GCC unroll 4
  for (int size = int(kVecLanes<T>) / 2; size > 0; size /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < size; ++i) v[i] += v[i + size];
  }
  return v[0];
}

template <class T>
int64_t whole_vectors(int64_t count) {
  return (count + kVecLanes<T> - 1) / kVecLanes<T> * kVecLanes<T>;
}

// Allocates pieces of a workspace, aligned for vectors; with base null it only counts the elements needed.
template <class T>
struct Carver {
  T* base;
  int64_t used = 0;

  T* take(int64_t count) {
    T* piece = base ? base + used : nullptr;
    used += (count + 63) / 64 * 64;
    return piece;
  }
};

// The layouts of buffers, and the weights packed for the forward or the backward pass.
template <class T>
struct Network {
  AttentionRnnShape shape;
  AttentionRnnArrays<T> arrays;
  Layout<T> attention, hidden, joined;
  Layout<T> read;     // the cell's gates
  Layout<T> parts;    // r z n and (weight_hh h + bias_hh)_n, or i f g o
  Layout<T> context;  // values, followed by gate_values
  Panels<T> recurrent, gate, reading;
  T *bias, *score;  // in the layout `parts`; score times -2
  int64_t numbers;

  Network(const AttentionRnnShape& shape, const AttentionRnnArrays<T>& arrays, bool backward, T* data)
      : shape(shape),
        arrays(arrays),
        attention(1, shape.attention),
        hidden(1, shape.hidden),
        read(gates(), shape.hidden),
        parts(4, shape.hidden) {
    if (shape.joined > 0) {
      joined.add(shape.inputs);
      joined.add(shape.values);
      context.add(shape.values);
      if (arrays.gate_values) context.add(shape.inputs), context.add(shape.values);
    } else {
      context = read;
    }
    Carver<T> carver{data};
    bias = carver.take(parts.width);
    score = carver.take(attention.width);
    set(recurrent, hidden, states(backward), backward);
    set(gate, Layout<T>(1, shape.values), joined, backward);
    set(reading, joined, read, backward);
    recurrent.data = carver.take(recurrent.numbers());
    if (arrays.gate_weight) gate.data = carver.take(gate.numbers());
    if (shape.joined > 0) reading.data = carver.take(reading.numbers());
    numbers = carver.used;
  }

  int gates() const { return int(shape.gates()); }

  // The weights that multiply the state: in the forward pass those of the query come first, in the backward pass last.
  Layout<T> states(bool backward) const {
    Layout<T> all;
    if (!backward && arrays.query_weight) all.add(shape.attention);
    for (int i = 0; i < gates(); ++i) all.add(shape.hidden);
    if (backward && arrays.query_weight) all.add(shape.attention);
    return all;
  }

  // The backward pass multiplies with the transposed weights.
  static void set(Panels<T>& panels, const Layout<T>& from, const Layout<T>& to, bool backward) {
    panels.lines = backward ? to : from;
    panels.columns = backward ? from : to;
  }

  void pack(bool backward) {
    const int64_t H = shape.hidden, A = shape.attention, I = shape.inputs, D = shape.values, Z = shape.joined;
    const auto fill = [backward](Panels<T>& panels, const auto& weight) {
      panels.pack(const_cast<T*>(panels.data), [&](int i, int64_t k, int j, int64_t c) {
        return backward ? weight(i, k, j, c) : weight(j, c, i, k);
      });
    };
    const int scores = !arrays.query_weight ? -1 : backward ? gates() : 0, first = arrays.query_weight && !backward;
    fill(recurrent, [&](int i, int64_t row, int, int64_t h) {
      return i == scores ? arrays.query_weight[row * H + h] : arrays.weight_hh[((i - first) * H + row) * H + h];
    });
    if (arrays.gate_weight) {
      fill(gate, [&](int i, int64_t row, int, int64_t c) { return arrays.gate_weight[(i * I + row) * D + c]; });
    }
    if (Z > 0) {
      fill(reading,
           [&](int i, int64_t row, int j, int64_t c) { return arrays.weight_ih[(i * H + row) * Z + j * I + c]; });
    }
    std::fill_n(score, attention.width, T(0));
    for (int64_t c = 0; c < A; ++c) score[c] = -2 * arrays.score[c];
    pack_bias();
  }

  // The sums of both biases, except for the GRU's n, whose two biases stay separate.
  void pack_bias() {
    std::fill_n(bias, parts.width, T(0));
    for (int i = 0; i < gates(); ++i) {
      const bool apart = !shape.lstm && i == 2;
      for (int64_t h = 0; h < shape.hidden; ++h) {
        const T ih = arrays.bias_ih ? arrays.bias_ih[i * shape.hidden + h] : T(0);
        const T hh = arrays.bias_hh[i * shape.hidden + h];
        bias[parts.at[i] + h] = apart ? ih : ih + hh;
        if (apart) bias[parts.at[3] + h] = hh;
      }
    }
  }
};

}  // namespace PYDLX_SIMD
}  // namespace pydlx
