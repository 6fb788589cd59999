// The attention of one example to its memory on the CPU, forward and backward. Included once per instruction set.

namespace pydlx {
namespace PYDLX_SIMD {

// exp(2 (keys + q)) is computed as a product of two factors if |keys| and |q| are at most this: then nothing overflows,
// and rounding the factors' arguments costs no more accuracy than rounding keys + q.
constexpr int kNear = 20;

template <class T>
bool is_near(const T* x, int64_t width) {
  const Vec<T> limit = splat(T(kNear));
  bool near = true;
  for (int64_t c = 0; c < width; c += kVecLanes<T>) near &= !any(~((load(x + c) <= limit) & (load(x + c) >= -limit)));
  return near;
}

// One example: its valid memory, packed, and the order of its steps.
template <class T>
struct Example {
  int64_t number, length, count;
  bool near;                      // whether all keys are within kNear
  int64_t* rows;                  // indices of the valid rows of memory
  T *keys, *factors, *values;     // (count, attention.width): keys and exp(2 keys); (count, context.width)
  T *scores, *d_scores, *d_keys;  // (count,) twice; d_keys like keys
  T *query, *factor;              // q and exp(2 q)

  void carve(Carver<T>& carver, const Network<T>& net, bool backward) {
    const int64_t m = net.shape.memory, width = net.attention.width;
    rows = reinterpret_cast<int64_t*>(carver.take(m * int64_t(sizeof(int64_t) / sizeof(T))));
    keys = carver.take(m * width);
    factors = carver.take(m * width);
    values = carver.take(m * net.context.width);
    scores = carver.take(whole_vectors<T>(m));
    query = carver.take(width);
    factor = carver.take(width);
    if (!backward) return;
    d_scores = carver.take(whole_vectors<T>(m));
    d_keys = carver.take(m * width);
  }

  void pack(const Network<T>& net, int64_t b) {
    const AttentionRnnShape& shape = net.shape;
    const AttentionRnnArrays<T>& arrays = net.arrays;
    const int64_t m = shape.memory, width = net.attention.width;
    number = b;
    length = arrays.lengths ? std::clamp<int64_t>(arrays.lengths[b], 0, shape.steps) : shape.steps;
    count = 0;
    for (int64_t j = 0; j < m; ++j) {
      if (!arrays.mask || arrays.mask[b * m + j]) rows[count++] = j;
    }
    const Layout<T> value = shape.joined > 0 ? Layout<T>(1, shape.values) : net.context;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = b * m + rows[i];
      T* to = values + i * net.context.width;
      net.attention.spread(arrays.keys + row * shape.attention, keys + i * width);
      value.spread(arrays.values + row * shape.values, to);
      if (arrays.gate_values) net.joined.spread(arrays.gate_values + row * shape.joined, to + value.width);
    }
    near = is_near(keys, count * width);
    for (int64_t c = 0; c < count * width; c += kVecLanes<T>) {
      store(factors + c, limited_exp<T>(load(keys + c) + load(keys + c)));
    }
  }

  int64_t step(const AttentionRnnShape& shape, int64_t s) const { return shape.reverse ? length - 1 - s : s; }

  // rho (attention_rnn.h) of the keys at offset `at`, for query q and e = exp(2 q).
  template <bool kFactors>
  __attribute__((always_inline)) Vec<T> rho(int64_t at, const Vec<T>& q, const Vec<T>& e) const {
    if constexpr (kFactors) return T(1) / (T(1) + load(factors + at) * e);
    const Vec<T> sum = load(keys + at) + q;
    return T(1) / (T(1) + limited_exp<T>(sum + sum));
  }

  // Prepares the query; returns whether factors may be used.
  bool set_query(int64_t width) {
    for (int64_t c = 0; c < width; c += kVecLanes<T>) {
      store(factor + c, limited_exp<T>(load(query + c) + load(query + c)));
    }
    return near && is_near(query, width);
  }

  template <bool kFactors>
  void score_rows(const T* score, int64_t width) {
    constexpr int64_t L = kVecLanes<T>;
    for (int64_t first = 0; first < count; first += L) {
      Vec<T> sums[L];
      for (int64_t i = 0; i < L; ++i) {
        sums[i] = Vec<T>{};
        if (first + i >= count) continue;
        for (int64_t c = 0; c < width; c += L) {
          sums[i] += load(score + c) * rho<kFactors>((first + i) * width + c, load(query + c), load(factor + c));
        }
      }
      store(scores + first, sums_of_lanes<T>(sums));
    }
  }

  void softmax() {
    constexpr int64_t L = kVecLanes<T>;
    const int64_t width = whole_vectors<T>(count);
    std::fill(scores + count, scores + width, -std::numeric_limits<T>::infinity());
    T peak = scores[0];
    for (int64_t i = 1; i < count; ++i) peak = scores[i] > peak ? scores[i] : peak;
    Vec<T> total{};
    for (int64_t i = 0; i < width; i += L) {
      const Vec<T> e = exp_to_one<T>(load(scores + i) - peak);
      store(scores + i, e);
      total += e;
    }
    const T scale = 1 / sum_of_lanes<T>(total);
    for (int64_t i = 0; i < width; i += L) store(scores + i, Vec<T>(load(scores + i) * scale));
  }

  // Computes the attention weights of `query`; they replace the scores.
  void attend(const Network<T>& net) {
    if (count == 0) return;
    if (set_query(net.attention.width)) {
      score_rows<true>(net.score, net.attention.width);
    } else {
      score_rows<false>(net.score, net.attention.width);
    }
    softmax();
  }

  // out = sum_i scores_i values_i.
  void weigh(int64_t width, T* out) const {
    int64_t c = weigh_columns<8>(0, width, out);
    c = weigh_columns<4>(c, width, out);
    weigh_columns<1>(c, width, out);
  }

  // Computes columns from c on, in groups of kVectors vectors while they fit; returns the next column.
  template <int kVectors>
  int64_t weigh_columns(int64_t c, int64_t width, T* out) const {
    constexpr int64_t L = kVecLanes<T>;
    for (; c + kVectors * L <= width; c += kVectors * L) {
      Vec<T> sum[kVectors] = {};
      for (int64_t i = 0; i < count; ++i) {
        const Vec<T> a = splat(scores[i]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sum[v] += a * load(values + i * width + c + v * L);
      }
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) store(out + c + v * L, sum[v]);
    }
    return c;
  }

  // Computes d_scores from the gradient of weigh's output.
  void weigh_backward(int64_t width, const T* grad) {
    constexpr int64_t L = kVecLanes<T>;
    Vec<T> total{};
    for (int64_t first = 0; first < count; first += L) {
      Vec<T> sums[L];
      for (int64_t i = 0; i < L; ++i) {
        sums[i] = Vec<T>{};
        if (first + i >= count) continue;
        for (int64_t c = 0; c < width; c += L) sums[i] += load(values + (first + i) * width + c) * load(grad + c);
      }
      const Vec<T> a = load(scores + first), product = a * sums_of_lanes<T>(sums);
      store(d_scores + first, product);
      total += product;
    }
    const T mean = sum_of_lanes<T>(total);
    for (int64_t i = 0; i < count; i += L) store(d_scores + i, Vec<T>(load(d_scores + i) - load(scores + i) * mean));
  }

  // Adds to d_keys and d_score and sets d_query, without their common factors: 4 score for d_keys and d_query, -2 for
  // d_score.
  template <bool kFactors>
  void attend_backward(int64_t width, T* d_query, T* d_score) {
    int64_t c = attend_columns<kFactors, 4>(0, width, d_query, d_score);
    c = attend_columns<kFactors, 2>(c, width, d_query, d_score);
    attend_columns<kFactors, 1>(c, width, d_query, d_score);
  }

  template <bool kFactors, int kVectors>
  int64_t attend_columns(int64_t c, int64_t width, T* d_query, T* d_score) {
    constexpr int64_t L = kVecLanes<T>;
    for (; c + kVectors * L <= width; c += kVectors * L) {
      Vec<T> by_query[kVectors] = {}, by_score[kVectors] = {};
      for (int64_t i = 0; i < count; ++i) {
        const Vec<T> ds = splat(d_scores[i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const int64_t at = i * width + c + v * L;
          const Vec<T> rest = rho<kFactors>(at, load(query + c + v * L), load(factor + c + v * L));
          const Vec<T> slope = ds * (rest - rest * rest);
          by_query[v] += slope;
          by_score[v] += ds * rest;
          store(d_keys + at, Vec<T>(load(d_keys + at) + slope));
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        store(d_query + c + v * L, by_query[v]);
        store(d_score + c + v * L, Vec<T>(load(d_score + c + v * L) + by_score[v]));
      }
    }
    return c;
  }
};

}  // namespace PYDLX_SIMD
}  // namespace pydlx
