// Both softmaxes and their gradient on the CPU, with lanes over columns. Included once per instruction set by
// trilinear_attention_cpu.cpp, which includes every header this needs.

#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Writes 1 for valid and 0 for other columns, for `room` columns from `begin` on; columns past the last are 0.
template <class A>
void mark_columns(const AttentionTask& task, int64_t entry, int64_t begin, int64_t room, A* valid) {
  for (int64_t i = 0; i < room; ++i) {
    valid[i] = begin + i < task.columns && task.has_column(entry, begin + i) ? A(1) : A(0);
  }
}

template <class A>
__attribute__((always_inline)) inline Vec<A> larger(const Vec<A>& a, const Vec<A>& b) {
  return a > b ? a : b;
}

// Calls body(at, vector) for vectors that cover `count` elements: whole vectors, the last of which may overlap the one
// before, or a part vector if count is too small. Elements in the overlap are processed twice.
template <class T, class Body>
__attribute__((always_inline)) inline void for_covering(int64_t count, const Body& body) {
  constexpr int64_t L = kVecLanes<accumulate_t<T>>;
  if (count < L) return body(0, PartVector<T>{count});
  for (int64_t at = 0; at <= count - L; at += L) body(at, WholeVector<T>{});
  if (count % L) body(count - L, WholeVector<T>{});
}

// Calls body(row, valid, own) for rows [begin, end) of the batch, in order; `valid` marks the valid columns, padded to
// whole vectors, and `own` is a scratch array of the same size.
template <class A, class Body>
void each_row(const AttentionTask& task, int64_t begin, int64_t end, const Body& body) {
  const int64_t room = (task.columns + kVecLanes<A> - 1) / kVecLanes<A> * kVecLanes<A>;
  const Workspace space(2 * room * sizeof(A));
  A *const valid = space.as<A>(), *const own = valid + room;
  for (int64_t row = begin; row < end; ++row) {
    if (row == begin || row % task.rows == 0) mark_columns(task, row / task.rows, 0, room, valid);
    body(row, valid, own);
  }
}

// Softmax over the columns, in rows [begin, end) of the batch.
template <class T>
void softmax_rows(const AttentionTask& task, const T* similarity, T* weights, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  const Vec<A> none = splat(-std::numeric_limits<A>::infinity()), zero = splat(A(0));
  each_row<A>(task, begin, end, [&](int64_t row, const A* valid, A* own) {
    T* to = weights + row * task.columns;
    if (!task.has_row(row)) {
      std::fill_n(to, task.columns, T(0));
      return;
    }
    Vec<A> peaks = none, sums = zero;
    for_covering<T>(task.columns, [&](int64_t at, const auto& vector) {
      const Vec<A> cells = vector.load(similarity + row * task.columns + at);
      const Vec<A> counted = load(valid + at) > zero ? cells : none;
      store(own + at, counted);
      peaks = larger<A>(counted, peaks);
    });
    const Vec<A> peak = splat(largest_of_lanes<A>(peaks));
    for (int64_t at = 0; at < task.columns; at += L) {
      const Vec<A> e = exp_to_one<A>(load(own + at) - peak);
      store(own + at, e);
      sums += load(valid + at) > zero ? e : zero;
    }
    const Vec<A> scale = splat(A(1) / sum_of_lanes<A>(sums));
    for_covering<T>(task.columns, [&](int64_t at, const auto& vector) {
      vector.store(to + at, Vec<A>(load(valid + at) > zero ? load(own + at) * scale : zero));
    });
  });
}

// One vector of columns of a batch entry; the last block has a second, overlapping vector for the remaining columns.
template <class T>
struct ColumnBlock {
  using A = accumulate_t<T>;
  const AttentionTask& task;
  int64_t entry, number;

  static int64_t per_entry(const AttentionTask& task) { return std::max<int64_t>(1, task.columns / kVecLanes<A>); }

  ColumnBlock(const AttentionTask& task_, int64_t number_)
      : task(task_), entry(number_ / per_entry(task_)), number(number_ % per_entry(task_)) {}

  // Calls body(column, vector), where `vector` loads and stores elements.
  template <class Body>
  void each_vector(const Body& body) const {
    if (task.columns < kVecLanes<A>) return body(0, PartVector<T>{task.columns});
    body(number * kVecLanes<A>, WholeVector<T>{});
    const bool is_last = number + 1 == per_entry(task);
    if (is_last && task.columns % kVecLanes<A>) body(task.columns - kVecLanes<A>, WholeVector<T>{});
  }

  // Calls visit(index of the element, whether its row is valid) for every element of a column.
  template <class Visit>
  __attribute__((always_inline)) void each_cell(int64_t column, const Visit& visit) const {
    for (int64_t row = entry * task.rows; row < (entry + 1) * task.rows; ++row) {
      visit(row * task.columns + column, task.has_row(row));
    }
  }
};

// Softmax over the rows, in blocks of columns [begin, end) of the batch.
template <class T>
void softmax_columns(const AttentionTask& task, const T* similarity, T* weights, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  const Vec<A> none = splat(-std::numeric_limits<A>::infinity()), zero = splat(A(0));
  for (int64_t number = begin; number < end; ++number) {
    const ColumnBlock<T> block(task, number);
    block.each_vector([&](int64_t column, const auto& vector) {
      A valid[kVecLanes<A>];
      mark_columns(task, block.entry, column, kVecLanes<A>, valid);
      const auto kept = load(valid) > zero;
      Vec<A> peak = none, sum = zero;
      block.each_cell(column, [&](int64_t place, bool counts) {
        if (counts) peak = larger<A>(vector.load(similarity + place), peak);
      });
      block.each_cell(column, [&](int64_t place, bool counts) {
        if (counts) sum += exp_to_one<A>(vector.load(similarity + place) - peak);
      });
      const Vec<A> scale = A(1) / sum;
      block.each_cell(column, [&](int64_t place, bool counts) {
        Vec<A> weight = zero;
        if (counts) weight = exp_to_one<A>(vector.load(similarity + place) - peak) * scale;
        vector.store(weights + place, Vec<A>(kept ? weight : zero));
      });
    });
  }
}

// The sums over the rows of gradient times weight, (B, m), in blocks of columns [begin, end) of the batch.
template <class T>
void dot_columns(const AttentionTask& task, const SoftmaxGradient<T>& context, accumulate_t<T>* dots, int64_t begin,
                 int64_t end) {
  using A = accumulate_t<T>;
  for (int64_t number = begin; number < end; ++number) {
    const ColumnBlock<T> block(task, number);
    block.each_vector([&](int64_t column, const auto& vector) {
      Vec<A> sum{};
      block.each_cell(column, [&](int64_t place, bool counts) {
        if (counts) sum += vector.load(context.grad + place) * vector.load(context.weights + place);
      });
      const int64_t count = std::min(kVecLanes<A>, task.columns);
      for (int64_t i = 0; i < count; ++i) dots[block.entry * task.columns + column + i] = sum[i];
    });
  }
}

// The gradient of the similarities, for rows [begin, end) of the batch. `dots` is padded, so that a whole vector may be
// read from any of its elements.
template <class T>
void softmax_backward(const AttentionTask& task, const SoftmaxGradient<T>& question, const SoftmaxGradient<T>& context,
                      const accumulate_t<T>* dots, T* grad, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  const Vec<A> zero = splat(A(0));
  each_row<A>(task, begin, end, [&](int64_t row, const A* valid, A* own) {
    const int64_t first = row * task.columns;
    const A* of_columns = dots + row / task.rows * task.columns;
    if (!task.has_row(row)) {
      std::fill_n(grad + first, task.columns, T(0));
      return;
    }
    for_covering<T>(task.columns, [&](int64_t at, const auto& vector) {
      store(own + at, Vec<A>(vector.load(question.grad + first + at) * vector.load(question.weights + first + at)));
    });
    Vec<A> sums = zero;
    for (int64_t at = 0; at < task.columns; at += kVecLanes<A>) sums += load(valid + at) > zero ? load(own + at) : zero;
    const Vec<A> dot = splat(sum_of_lanes<A>(sums));
    for_covering<T>(task.columns, [&](int64_t at, const auto& vector) {
      const Vec<A> by_row =
          vector.load(question.weights + first + at) * (vector.load(question.grad + first + at) - dot);
      const Vec<A> by_column =
          vector.load(context.weights + first + at) * (vector.load(context.grad + first + at) - load(of_columns + at));
      vector.store(grad + first + at, Vec<A>(load(valid + at) > zero ? by_row + by_column : zero));
    });
  });
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
