// The attention RNN on CUDA. The maths and the shapes are in attention_rnn.h.
//
// A block of threads runs an example from its first step to its last. A dot product of contiguous vectors is computed
// by a warp, a column of a sum over rows by a thread. The state is in shared memory, or if that is too small in a
// global buffer of the block. Bytes: each step reads the weights (from the L2 cache) and the example's keys and values;
// the whole pass also writes (backward: reads) the values that attention_rnn.h lists as saved.
#pragma once

#include "attention_rnn/attention_rnn.h"
#include "common/reduce.cuh"

namespace pydlx {

constexpr int kRnnThreads = 256;

// The buffers that the threads of a block share while they process an example.
template <class T>
struct RnnWork {
  T *hidden, *state, *query, *scores, *context, *sums, *read, *joined, *gate;

  PYDLX_HOST_DEVICE static int64_t numbers(const AttentionRnnShape& shape) {
    return 2 * shape.hidden + shape.attention + shape.memory + shape.values + 2 * shape.gates() * shape.hidden +
           2 * shape.joined;
  }

  __device__ RnnWork(const AttentionRnnShape& shape, T* base) {
    hidden = base;
    state = hidden + shape.hidden;
    query = state + shape.hidden;
    scores = query + shape.attention;
    context = scores + shape.memory;
    sums = context + shape.values;
    read = sums + shape.gates() * shape.hidden;
    joined = read + shape.gates() * shape.hidden;
    gate = joined + shape.joined;
  }
};

template <class T>
__device__ inline T rnn_sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

// The dot product of two vectors, returned in every lane. All lanes of the warp must call it.
template <class T>
__device__ inline T warp_dot(const T* a, const T* b, int64_t count) {
  T sum = 0;
  for (int64_t i = threadIdx.x % kWarp; i < count; i += kWarp) sum += a[i] * b[i];
  return sum_of_warp(sum);
}

// sum_i factors_i rows_i[column] over `count` rows of this width.
template <class T>
__device__ inline T column_sum(const T* factors, const T* rows, int64_t count, int64_t width, int64_t column) {
  T sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += factors[i] * rows[i * width + column];
  return sum;
}

// Loops over [0, count) that are distributed over the warps, or over the threads, of the block.
#define PYDLX_EACH_WARP(index, count) \
  for (int64_t index = threadIdx.x / kWarp; index < (count); index += kRnnThreads / kWarp)
#define PYDLX_EACH_THREAD(index, count) for (int64_t index = threadIdx.x; index < (count); index += kRnnThreads)

// One example: pointers to its parts of the arrays.
template <class T>
struct RnnExample {
  const AttentionRnnShape& shape;
  const AttentionRnnArrays<T>& arrays;
  const T *keys, *values, *gate_values;
  const bool* mask;
  int64_t number, length;

  __device__ RnnExample(const AttentionRnnShape& shape, const AttentionRnnArrays<T>& arrays, int64_t b)
      : shape(shape),
        arrays(arrays),
        keys(arrays.keys + b * shape.memory * shape.attention),
        values(arrays.values + b * shape.memory * shape.values),
        gate_values(arrays.gate_values ? arrays.gate_values + b * shape.memory * shape.joined : nullptr),
        mask(arrays.mask ? arrays.mask + b * shape.memory : nullptr),
        number(b) {
    length = shape.steps;
    if (arrays.lengths) length = max(int64_t{0}, min(arrays.lengths[b], shape.steps));
  }

  // The weighted sum over the valid memory of one column of `rows`, which have this width.
  __device__ T weighted_sum(const T* weights, const T* rows, int64_t width, int64_t column) const {
    T sum = 0;
    for (int64_t j = 0; j < shape.memory; ++j) {
      if (valid(j)) sum += weights[j] * rows[j * width + column];
    }
    return sum;
  }

  __device__ int64_t place(int64_t s) const { return number * shape.steps + (shape.reverse ? length - 1 - s : s); }
  __device__ bool valid(int64_t j) const { return !mask || mask[j]; }
  __device__ T* kept(int64_t at) const { return arrays.kept + at * shape.kept(); }
  __device__ T* gradients(int64_t at) const { return arrays.gradients + at * shape.gradients(); }

  // Writes zeros after the example's last step, in a tensor with rows of this width.
  __device__ void clear_padding(T* tensor, int64_t width) const {
    T* rows = tensor + (number * shape.steps + length) * width;
    PYDLX_EACH_THREAD(i, (shape.steps - length) * width) rows[i] = 0;
  }
};

// Softmax of the valid scores, 0 for the others; by one warp.
template <class T>
__device__ inline void rnn_softmax(const RnnExample<T>& example, T* scores) {
  const int64_t m = example.shape.memory, lane = threadIdx.x % kWarp;
  T peak = -INFINITY, total = 0;
  for (int64_t j = lane; j < m; j += kWarp) {
    if (example.valid(j)) peak = scores[j] > peak ? scores[j] : peak;
  }
  peak = largest_of_warp(peak);
  for (int64_t j = lane; j < m; j += kWarp) {
    scores[j] = example.valid(j) ? exp(scores[j] - peak) : T(0);
    total += scores[j];
  }
  total = sum_of_warp(total);
  for (int64_t j = lane; j < m; j += kWarp) {
    if (example.valid(j)) scores[j] /= total;
  }
}

// One step of the cell, for element h of the state; `at` is the step's row in the batch.
template <class T>
__device__ inline void rnn_cell(const RnnExample<T>& example, const RnnWork<T>& work, int64_t at, int64_t h) {
  const int64_t H = example.shape.hidden;
  T* kept = example.kept(at);
  T hidden;
  if (example.shape.lstm) {
    T part[4];
    for (int i = 0; i < 4; ++i) {
      const T x = work.read[i * H + h] + work.sums[i * H + h];
      part[i] = i == 2 ? tanh(x) : rnn_sigmoid(x);
      kept[i * H + h] = part[i];
    }
    const T state = part[1] * work.state[h] + part[0] * part[2];
    work.state[h] = kept[4 * H + h] = state;
    hidden = part[3] * tanh(state);
  } else {
    const T reset = rnn_sigmoid(work.read[h] + work.sums[h]);
    const T update = rnn_sigmoid(work.read[H + h] + work.sums[H + h]);
    const T inner = work.sums[2 * H + h];
    const T fresh = tanh(work.read[2 * H + h] + reset * inner);
    kept[h] = reset;
    kept[H + h] = update;
    kept[2 * H + h] = fresh;
    kept[3 * H + h] = inner;
    hidden = fresh + update * (work.hidden[h] - fresh);
  }
  work.hidden[h] = hidden;
  example.arrays.y[at * H + h] = hidden;
}

// Computes the context and, with a gate, the gated input. Ends with a barrier.
template <class T>
__device__ inline void rnn_context(const RnnExample<T>& example, const RnnWork<T>& work, int64_t at) {
  const AttentionRnnShape& shape = example.shape;
  const AttentionRnnArrays<T>& arrays = example.arrays;
  const int64_t D = shape.values, I = shape.inputs, Z = shape.joined;
  PYDLX_EACH_THREAD(d, D) {
    const T c = example.weighted_sum(work.scores, example.values, D, d);
    work.context[d] = c;
    if (Z > 0) {
      example.kept(at)[shape.context_at() + d] = c;
    } else {
      work.read[d] = arrays.inputs[at * I + d] + c;
    }
  }
  if (example.gate_values) {
    PYDLX_EACH_THREAD(z, Z) work.gate[z] = example.weighted_sum(work.scores, example.gate_values, Z, z);
  }
  __syncthreads();
  if (Z == 0) return;
  if (!example.gate_values) {
    PYDLX_EACH_WARP(z, Z) {
      const T sum = warp_dot(arrays.gate_weight + z * D, work.context, D);
      if (threadIdx.x % kWarp == 0) work.gate[z] = sum;
    }
    __syncthreads();
  }
  PYDLX_EACH_THREAD(z, Z) {
    const T open = rnn_sigmoid(work.gate[z] + arrays.gate_inputs[at * Z + z]);
    example.kept(at)[shape.gate_at() + z] = open;
    work.joined[z] = open * (z < I ? arrays.inputs[at * I + z] : work.context[z - I]);
  }
  __syncthreads();
  PYDLX_EACH_WARP(o, shape.gates() * shape.hidden) {
    const T sum = warp_dot(arrays.weight_ih + o * Z, work.joined, Z);
    if (threadIdx.x % kWarp == 0) work.read[o] = sum + arrays.bias_ih[o];
  }
  __syncthreads();
}

template <class T>
__global__ void attention_rnn_kernel(AttentionRnnShape shape, AttentionRnnArrays<T> arrays, T* own_memory) {
  PYDLX_DYNAMIC_SHARED(T, shared);
  const RnnWork<T> work(shape, own_memory ? own_memory + blockIdx.x * RnnWork<T>::numbers(shape) : shared);
  const int64_t A = shape.attention, H = shape.hidden, m = shape.memory;
  const bool first_lane = threadIdx.x % kWarp == 0;
  for (int64_t b = blockIdx.x; b < shape.batch; b += gridDim.x) {
    const RnnExample<T> example(shape, arrays, b);
    example.clear_padding(arrays.y, H);
    example.clear_padding(arrays.attention, m);
    example.clear_padding(arrays.kept, shape.kept());
    PYDLX_EACH_THREAD(h, H) work.hidden[h] = work.state[h] = 0;
    __syncthreads();
    for (int64_t s = 0; s < example.length; ++s) {
      const int64_t at = example.place(s);
      PYDLX_EACH_WARP(o, shape.gates() * H) {
        const T sum = warp_dot(arrays.weight_hh + o * H, work.hidden, H);
        if (first_lane) work.sums[o] = sum + arrays.bias_hh[o];
      }
      PYDLX_EACH_WARP(c, A) {
        const T sum = arrays.query_weight ? warp_dot(arrays.query_weight + c * H, work.hidden, H) : T(0);
        if (first_lane) work.query[c] = example.kept(at)[shape.query_at() + c] = arrays.queries[at * A + c] + sum;
      }
      __syncthreads();
      PYDLX_EACH_WARP(j, m) {
        T sum = 0;
        if (example.valid(j)) {
          for (int64_t c = threadIdx.x % kWarp; c < A; c += kWarp) {
            sum += arrays.score[c] * tanh(example.keys[j * A + c] + work.query[c]);
          }
        }
        sum = sum_of_warp(sum);
        if (first_lane) work.scores[j] = sum;
      }
      __syncthreads();
      if (threadIdx.x < kWarp) rnn_softmax(example, work.scores);
      __syncthreads();
      PYDLX_EACH_THREAD(j, m) arrays.attention[at * m + j] = work.scores[j];
      rnn_context(example, work, at);
      PYDLX_EACH_THREAD(h, H) rnn_cell(example, work, at, h);
      __syncthreads();
    }
  }
}

// ---------------------------------------------------------------------------------------------------------- backward

// Backward of one step of the cell, for element h of the state. From the gradient of the new state it computes those of
// the input's pre-activations (`read`), of the state's pre-activations (`sums`, whose last part differs for a GRU) and,
// in `hidden`, the part that goes directly to the previous state.
template <class T>
__device__ inline void rnn_cell_backward(const RnnExample<T>& example, const RnnWork<T>& work, int64_t s, int64_t h) {
  const int64_t H = example.shape.hidden, at = example.place(s);
  const T *part = example.kept(at) + h, d = work.hidden[h] + example.arrays.grad[at * H + h];
  T* out = example.gradients(at) + h;
  if (example.shape.lstm) {
    const T in = part[0], keep = part[H], fresh = part[2 * H], open = part[3 * H], curved = tanh(part[4 * H]);
    const T before = s > 0 ? example.kept(example.place(s - 1))[4 * H + h] : T(0);
    const T d_state = work.state[h] + d * open * (T(1) - curved * curved);
    const T grads[4] = {d_state * fresh * in * (T(1) - in), d_state * before * keep * (T(1) - keep),
                        d_state * in * (T(1) - fresh * fresh), d * curved * open * (T(1) - open)};
    for (int i = 0; i < 4; ++i) work.read[i * H + h] = work.sums[i * H + h] = out[i * H] = grads[i];
    work.state[h] = d_state * keep;
    work.hidden[h] = 0;
  } else {
    const T reset = part[0], update = part[H], fresh = part[2 * H], inner = part[3 * H];
    const T before = s > 0 ? example.arrays.y[example.place(s - 1) * H + h] : T(0);
    const T d_fresh = d * (T(1) - update) * (T(1) - fresh * fresh);
    work.read[h] = work.sums[h] = out[0] = d_fresh * inner * reset * (T(1) - reset);
    work.read[H + h] = work.sums[H + h] = out[H] = d * (before - fresh) * update * (T(1) - update);
    work.read[2 * H + h] = out[2 * H] = d_fresh;
    work.sums[2 * H + h] = out[3 * H] = d_fresh * reset;
    work.hidden[h] = d * update;
  }
}

// From the gradient of the cell's input to those of the context and, with a gate, of its pre-activation. Ends with a
// barrier.
template <class T>
__device__ inline void rnn_context_backward(const RnnExample<T>& example, const RnnWork<T>& work, int64_t at) {
  const AttentionRnnShape& shape = example.shape;
  const AttentionRnnArrays<T>& arrays = example.arrays;
  const int64_t I = shape.inputs, D = shape.values, Z = shape.joined, rows = shape.gates() * shape.hidden;
  T* out = example.gradients(at);
  PYDLX_EACH_THREAD(d, Z > 0 ? 0 : D) work.context[d] = work.read[d];
  PYDLX_EACH_THREAD(z, Z) {
    const T* kept = example.kept(at);
    const T x = z < I ? arrays.inputs[at * I + z] : kept[shape.context_at() + z - I], open = kept[shape.gate_at() + z];
    const T d = open * column_sum(work.read, arrays.weight_ih, rows, Z, z);
    work.gate[z] = out[shape.d_gate_at() + z] = d * x * (T(1) - open);
    work.joined[z] = d;
    if (z < I) out[shape.d_joined_at() + z] = d;
  }
  __syncthreads();
  if (Z == 0) return;
  PYDLX_EACH_THREAD(d, D) {
    const T through_gate = arrays.gate_weight ? column_sum(work.gate, arrays.gate_weight, Z, D, d) : T(0);
    work.context[d] = out[shape.d_joined_at() + I + d] = work.joined[I + d] + through_gate;
  }
  __syncthreads();
}

// Writes the gradients of the scores to `scores`. Ends with a barrier.
template <class T>
__device__ inline void rnn_scores_backward(const RnnExample<T>& example, const RnnWork<T>& work, int64_t at) {
  const AttentionRnnShape& shape = example.shape;
  const int64_t m = shape.memory, D = shape.values, Z = shape.joined, lane = threadIdx.x % kWarp;
  const T* weights = example.arrays.attention + at * m;
  PYDLX_EACH_WARP(j, m) {
    T sum = 0;
    if (example.valid(j)) {
      sum = warp_dot(example.values + j * D, work.context, D);
      if (example.gate_values) sum += warp_dot(example.gate_values + j * Z, work.gate, Z);
      sum *= weights[j];
    }
    if (lane == 0) work.scores[j] = sum;
  }
  __syncthreads();
  if (threadIdx.x < kWarp) {
    T total = 0;
    for (int64_t j = lane; j < m; j += kWarp) total += work.scores[j];
    total = sum_of_warp(total);
    for (int64_t j = lane; j < m; j += kWarp) {
      if (example.valid(j)) work.scores[j] -= weights[j] * total;
    }
  }
  __syncthreads();
}

// Gradients of the query, the keys and the score vector, for their column c.
template <class T>
__device__ inline void rnn_query_backward(const RnnExample<T>& example, const RnnWork<T>& work, int64_t at, int64_t c) {
  const AttentionRnnShape& shape = example.shape;
  const int64_t A = shape.attention, m = shape.memory;
  const T query = example.kept(at)[shape.query_at() + c], score = example.arrays.score[c];
  T* d_keys = example.arrays.d_keys + example.number * m * A;
  T d_query = 0, d_score = 0;
  for (int64_t j = 0; j < m; ++j) {
    if (!example.valid(j)) continue;
    const T t = tanh(example.keys[j * A + c] + query), ds = work.scores[j], slope = ds * score * (T(1) - t * t);
    d_query += slope;
    d_score += ds * t;
    d_keys[j * A + c] += slope;
  }
  work.query[c] = example.gradients(at)[shape.d_query_at() + c] = d_query;
  example.arrays.d_score[example.number * A + c] += d_score;
}

template <class T>
__global__ void attention_rnn_backward_kernel(AttentionRnnShape shape, AttentionRnnArrays<T> arrays, T* own_memory) {
  PYDLX_DYNAMIC_SHARED(T, shared);
  const RnnWork<T> work(shape, own_memory ? own_memory + blockIdx.x * RnnWork<T>::numbers(shape) : shared);
  const int64_t A = shape.attention, H = shape.hidden, m = shape.memory;
  for (int64_t b = blockIdx.x; b < shape.batch; b += gridDim.x) {
    const RnnExample<T> example(shape, arrays, b);
    example.clear_padding(arrays.gradients, shape.gradients());
    // Column c of d_score and d_keys is written by the same thread here and in rnn_query_backward.
    PYDLX_EACH_THREAD(c, A) {
      arrays.d_score[b * A + c] = 0;
      for (int64_t j = 0; j < m; ++j) arrays.d_keys[(b * m + j) * A + c] = 0;
    }
    PYDLX_EACH_THREAD(h, H) work.hidden[h] = work.state[h] = 0;
    for (int64_t s = example.length - 1; s >= 0; --s) {
      const int64_t at = example.place(s);
      PYDLX_EACH_THREAD(h, H) rnn_cell_backward(example, work, s, h);
      __syncthreads();
      rnn_context_backward(example, work, at);
      rnn_scores_backward(example, work, at);
      PYDLX_EACH_THREAD(c, A) rnn_query_backward(example, work, at, c);
      __syncthreads();
      PYDLX_EACH_THREAD(h, H) {
        T sum = work.hidden[h] + column_sum(work.sums, arrays.weight_hh, shape.gates() * H, H, h);
        if (arrays.query_weight) sum += column_sum(work.query, arrays.query_weight, A, H, h);
        work.hidden[h] = sum;
      }
      __syncthreads();
    }
    __syncthreads();
  }
}

}  // namespace pydlx
