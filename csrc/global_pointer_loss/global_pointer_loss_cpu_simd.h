// The tiles of scores, their sums and their gradients on the CPU. Included once per instruction set by
// global_pointer_loss_cpu.cpp, which includes every header this needs.
//
// A thread processes one head of one item: it rotates and scales the vectors once and computes their scores in tiles,
// one column of tiles after another, without those below the triangle. A vector is stored as its even elements followed
// by its odd ones, each padded with zeros to whole SIMD vectors, which does not change products.

#include "common/widen_simd.h"
#include "global_pointer_loss/product_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

template <class A>
int64_t whole_vectors(int64_t count) {
  return (count + kVecLanes<A> - 1) / kVecLanes<A> * kVecLanes<A>;
}

// The padded size of a stored vector.
template <class A>
int64_t vector_width(const GlobalPointerShape& shape) {
  return 2 * whole_vectors<A>((shape.size + 1) / 2);
}

// Computes the cosines and sines of positions [begin, end); without rotary those of angle 0, once for all positions.
template <class A>
void fill_turns(const GlobalPointerShape& shape, A* turns, int64_t begin, int64_t end) {
  const int64_t half = vector_width<A>(shape) / 2, pairs = shape.size / 2;
  A* to = turns + begin * 2 * half;
  for (int64_t position = begin; position < end; ++position, to += 2 * half) {
    std::fill_n(to, half, A(1));
    std::fill_n(to + half, half, A(0));
    for (int64_t i = 0; shape.rotary && i < pairs; ++i) {
      const double angle = static_cast<double>(position) * rotary_angle(i, shape.size);
      to[i] = A(std::cos(angle));
      to[half + i] = A(std::sin(angle));
    }
  }
}

// In a tile on the diagonal, rows are computed from their strip's first column on; a strip is a multiple of all
// vectors.
constexpr int64_t kStrip = 16;

// A tile of scores and its position; in a `diagonal` tile, spans below the diagonal do not count.
struct Tile {
  int64_t number, row, column, rows, columns;
  bool diagonal;

  // The first column that is computed in this row.
  int64_t first(int64_t row_of_tile) const { return diagonal ? row_of_tile / kStrip * kStrip : 0; }
};

template <class T>
class Head {
  using A = accumulate_t<T>;
  static constexpr int64_t L = kVecLanes<A>, kSide = kTileSide<A>;

 public:
  Head(const GlobalPointerShape& shape, const GlobalPointerArrays<T>& arrays, const HeadCells& cells, const A* turns,
       int64_t item, int64_t head, A* space)
      : shape_(shape),
        arrays_(arrays),
        cells_(cells),
        turns_(turns),
        item_(item),
        head_(head),
        first_type_(item * shape.types + head * shape.types_of_head()),
        width_(vector_width<A>(shape)),
        count_(cells.count()),
        padded_((cells.count() + kSide - 1) / kSide * kSide) {
    for (A** piece : {&query_, &key_, &grad_query_, &grad_key_}) take(piece, space, padded_ * width_);
    take(&turned_key_, space, kSide * width_);
    for (A** piece : {&scores_, &typed_, &slopes_, &gold_slopes_}) take(piece, space, kSide * kSide);
    take(&column_bias_, space, kSide);
    take(&column_sums_, space, kSide);
    take(&vector_, space, width_ + L);
  }

  static int64_t numbers(const GlobalPointerShape& shape, int64_t count) {
    const int64_t padded = (count + kSide - 1) / kSide * kSide, width = vector_width<A>(shape);
    return (4 * padded + kSide + 1) * width + 4 * kSide * kSide + 2 * kSide + L;
  }

  void forward(HeadSums<A>* sums) {
    load_vectors();
    each_tile([&](const Tile& tile) {
      each_type(tile, [&](int64_t type, A* scores, const GoldCell* cell, const GoldCell* last) {
        for (; cell < last; ++cell) {
          A& score = scores[cell->row * kSide + cell->column];
          if (score != kNone) sums[type].gold.add(-score);
          score = kNone;
        }
        add_others(tile, scores, sums[type].others);
      });
    });
  }

  void backward() {
    load_vectors();
    std::fill_n(grad_query_, padded_ * width_, A(0));
    std::fill_n(grad_key_, padded_ * width_, A(0));
    if (arrays_.grad_start) {
      const int64_t numbers = shape_.types_of_head() * shape_.length;
      std::fill_n(arrays_.grad_start + first_type_ * shape_.length, numbers, A(0));
      std::fill_n(arrays_.grad_end + first_type_ * shape_.length, numbers, A(0));
    }
    each_tile([&](const Tile& tile) {
      each_type(tile, [&](int64_t type, A* scores, const GoldCell* cell, const GoldCell* last) {
        add_slopes(tile, type, scores, cell, last);
      });
      if (shape_.types_of_head() > 0) add_products(tile);
    });
    store_gradients(grad_query_, A(shape_.scale), arrays_.grad_query);
    store_gradients(grad_key_, A(1), arrays_.grad_key);
  }

 private:
  static constexpr A kNone = -std::numeric_limits<A>::infinity();

  static void take(A** piece, A*& space, int64_t numbers) {
    *piece = space;
    space += numbers;
  }

  const A* turn_at(int64_t position) const { return turns_ + (shape_.rotary ? position * width_ : 0); }

  void load_vectors() {
    load_turned(arrays_.query, arrays_.query_strides, A(shape_.scale), query_);
    load_turned(arrays_.key, arrays_.key_strides, A(1), key_);
  }

  void load_turned(const T* from, const VectorStrides& strides, A factor, A* to) {
    const int64_t half = width_ / 2;
    std::fill_n(vector_, width_ + L, A(0));
    for (int64_t position : cells_.tokens) {
      const T* source = from + strides.place(item_, head_, position);
      for_vectors<T>(shape_.size, false,
                     [&](int64_t at, const auto& vector) { store(vector_ + at, vector.load(source + at)); });
      const A* turn = turn_at(position);
      for (int64_t i = 0; i < half; i += L) {
        const auto [even, odd] = load_pairs(vector_ + 2 * i);
        const Vec<A> cosine = load(turn + i) * factor, sine = load(turn + half + i) * factor;
        store(to + i, Vec<A>(even * cosine - odd * sine));
        store(to + half + i, Vec<A>(odd * cosine + even * sine));
      }
      to += width_;
    }
    std::fill_n(to, (padded_ - count_) * width_, A(0));
  }

  // Writes gradients, rotated back; zeros for padding.
  void store_gradients(const A* from, A factor, T* to) {
    const int64_t half = width_ / 2;
    int64_t number = 0;
    for (int64_t position = 0; position < shape_.length; ++position) {
      T* target = to + ((item_ * shape_.heads + head_) * shape_.length + position) * shape_.size;
      if (number == count_ || cells_.tokens[number] != position) {
        std::fill_n(target, shape_.size, T(0));
        continue;
      }
      const A *source = from + number++ * width_, *turn = turn_at(position);
      for (int64_t i = 0; i < half; i += L) {
        const Vec<A> even = load(source + i), odd = load(source + half + i);
        const Vec<A> cosine = load(turn + i) * factor, sine = load(turn + half + i) * factor;
        store_pairs<A>(vector_ + 2 * i, even * cosine + odd * sine, odd * cosine - even * sine);
      }
      for_vectors<T>(shape_.size, false,
                     [&](int64_t at, const auto& vector) { vector.store(target + at, load(vector_ + at)); });
    }
  }

  // Calls visit(tile) for the tiles in order, with their products in scores_.
  template <class Visit>
  void each_tile(const Visit& visit) {
    const int64_t tiles = padded_ / kSide;
    for (int64_t j = 0; j < tiles; ++j) {
      turn_columns(key_ + j * kSide * width_);
      for (int64_t i = 0; i < (shape_.triangle ? j + 1 : tiles); ++i) {
        const int64_t row = i * kSide, column = j * kSide;
        const Tile tile{j * tiles + i,
                        row,
                        column,
                        std::min(kSide, count_ - row),
                        std::min(kSide, count_ - column),
                        shape_.triangle && i == j};
        compute_scores(tile);
        visit(tile);
      }
    }
  }

  // Transposes the vectors of a tile's columns.
  void turn_columns(const A* keys) {
    for (int64_t n = 0; n < kSide; n += L) {
      for (int64_t k = 0; k < width_; k += L) {
        Vec<A> square[L];
#pragma GCC unroll 16
        for (int64_t i = 0; i < L; ++i) square[i] = load(keys + (n + i) * width_ + k);
        transpose<A>(square);
#pragma GCC unroll 16
        for (int64_t i = 0; i < L; ++i) store(turned_key_ + (k + i) * kSide + n, square[i]);
      }
    }
  }

  void compute_scores(const Tile& tile) {
    const int64_t width = whole_vectors<A>(tile.columns);
    for (int64_t begin = 0; begin < tile.rows; begin += kStrip) {
      const int64_t first = tile.first(begin), rows = std::min(kStrip, tile.rows - begin);
      product<A>(rows, {query_ + (tile.row + begin) * width_, width_, 1}, width_, turned_key_ + first, kSide,
                 (width - first) / L, scores_ + begin * kSide + first, kSide);
    }
    leave_out_others(tile, scores_);
  }

  // Sets the scores of spans that do not count to -inf.
  void leave_out_others(const Tile& tile, A* scores) const {
    const int64_t width = whole_vectors<A>(tile.columns);
    for (int64_t i = 0; i < tile.rows; ++i) {
      A* row = scores + i * kSide;
      if (tile.diagonal) std::fill(row, row + std::min(i, width), kNone);
      std::fill(row + tile.columns, row + width, kNone);
    }
  }

  // Calls visit(type, scores, begin and end of the tile's gold spans) for the types of the head; visit may overwrite
  // the scores.
  template <class Visit>
  void each_type(const Tile& tile, const Visit& visit) {
    const auto by_tile = [](const GoldCell& cell, int64_t number) { return cell.tile < number; };
    const GoldCell* end = cells_.gold.data() + cells_.gold.size();
    const GoldCell* cell = std::lower_bound(cells_.gold.data(), end, tile.number, by_tile);
    for (int64_t type = 0; type < shape_.types_of_head(); ++type) {
      const GoldCell* last = cell;
      while (last < end && last->tile == tile.number && last->type == type) ++last;
      visit(type, arrays_.start_bias ? with_bias(tile, type) : scores_, cell, last);
      cell = last;
    }
  }

  A* with_bias(const Tile& tile, int64_t type) {
    const int64_t* tokens = cells_.tokens.data();
    const int64_t first = (first_type_ + type) * shape_.length;
    for (int64_t i = 0; i < kSide; ++i) {
      column_bias_[i] = i < tile.columns ? arrays_.end_bias[first + tokens[tile.column + i]] : A(0);
    }
    for (int64_t i = 0; i < tile.rows; ++i) {
      const Vec<A> row_bias = splat(arrays_.start_bias[first + tokens[tile.row + i]]);
      for (int64_t at = tile.first(i); at < tile.columns; at += L) {
        store(typed_ + i * kSide + at, Vec<A>(load(scores_ + i * kSide + at) + load(column_bias_ + at) + row_bias));
      }
    }
    leave_out_others(tile, typed_);
    return typed_;
  }

  void add_others(const Tile& tile, const A* scores, LogSum<A, double>& sum) const {
    Vec<A> peaks{};
    each_vector(tile, [&](int64_t at) {
      const Vec<A> x = load(scores + at);
      peaks = x > peaks ? x : peaks;
    });
    sum.raise(largest_of_lanes<A>(peaks));
    const Vec<A> peak = splat(sum.peak);
    Vec<A> total{};
    each_vector(tile, [&](int64_t at) {
      const Vec<A> x = load(scores + at);
      total += exp_to_one<A>(x == peak ? splat(A(0)) : x - peak);
    });
    sum.sum += sum_of_lanes<A>(total);
  }

  // Calls visit(offset) for the SIMD vectors of a tile that may have spans which count.
  template <class Visit>
  __attribute__((always_inline)) void each_vector(const Tile& tile, const Visit& visit) const {
    for (int64_t i = 0; i < tile.rows; ++i) {
      for (int64_t at = tile.first(i); at < tile.columns; at += L) visit(i * kSide + at);
    }
  }

  // Adds the gradient of the loss by the scores of one type to that of the previous types, and to the biases'
  // gradients.
  void add_slopes(const Tile& tile, int64_t type, A* scores, const GoldCell* gold, const GoldCell* last) {
    const A* grad = arrays_.grad + 2 * (first_type_ + type);
    const A* parts = arrays_.parts + 2 * (first_type_ + type);
    const Vec<A> part = splat(parts[1]), above = splat(grad[1]);
    for (const GoldCell* cell = gold; cell < last; ++cell) {
      A& score = scores[cell->row * kSide + cell->column];
      gold_slopes_[cell - gold] = score == kNone ? A(0) : -grad[0] * std::exp(-score - parts[0]);
      score = kNone;
    }
    std::fill_n(column_sums_, kSide, A(0));
    for (int64_t i = 0; i < tile.rows; ++i) {
      Vec<A> row_sum{};
      for (int64_t at = tile.first(i); at < tile.columns; at += L) {
        const Vec<A> slope = exp_to_one<A>(load(scores + i * kSide + at) - part) * above;
        A* to = slopes_ + i * kSide + at;
        store(to, type == 0 ? slope : Vec<A>(load(to) + slope));
        if (!arrays_.grad_start) continue;
        row_sum += slope;
        store(column_sums_ + at, Vec<A>(load(column_sums_ + at) + slope));
      }
      if (arrays_.grad_start) *bias_gradient(arrays_.grad_start, type, tile.row + i) += sum_of_lanes<A>(row_sum);
    }
    for (int64_t i = 0; arrays_.grad_start && i < tile.columns; ++i) {
      *bias_gradient(arrays_.grad_end, type, tile.column + i) += column_sums_[i];
    }
    for (const GoldCell* cell = gold; cell < last; ++cell) {
      const A slope = gold_slopes_[cell - gold];
      slopes_[cell->row * kSide + cell->column] += slope;
      if (!arrays_.grad_start) continue;
      *bias_gradient(arrays_.grad_start, type, tile.row + cell->row) += slope;
      *bias_gradient(arrays_.grad_end, type, tile.column + cell->column) += slope;
    }
  }

  A* bias_gradient(A* gradients, int64_t type, int64_t token) const {
    return gradients + (first_type_ + type) * shape_.length + cells_.tokens[token];
  }

  // Adds slopes times keys to the queries' gradients, and slopes times queries to the keys'.
  void add_products(const Tile& tile) {
    for (int64_t begin = 0; begin < tile.rows; begin += kStrip) {
      const int64_t first = tile.first(begin), rows = std::min(kStrip, tile.rows - begin);
      product<A, true>(rows, {slopes_ + begin * kSide + first, kSide, 1}, tile.columns - first,
                       key_ + (tile.column + first) * width_, width_, width_ / L,
                       grad_query_ + (tile.row + begin) * width_, width_);
    }
    for (int64_t begin = 0; begin < tile.columns; begin += kStrip) {
      const int64_t columns = std::min(kStrip, tile.columns - begin);
      const int64_t depth = tile.diagonal ? std::min(tile.rows, begin + kStrip) : tile.rows;
      product<A, true>(columns, {slopes_ + begin, 1, kSide}, depth, query_ + tile.row * width_, width_, width_ / L,
                       grad_key_ + (tile.column + begin) * width_, width_);
    }
  }

  const GlobalPointerShape& shape_;
  const GlobalPointerArrays<T>& arrays_;
  const HeadCells& cells_;
  const A* turns_;
  int64_t item_, head_, first_type_, width_, count_, padded_;
  A *query_, *key_, *grad_query_, *grad_key_;  // of all tokens, rotated; the query scaled
  A* turned_key_;                              // of a tile's columns, transposed
  A *scores_, *typed_, *slopes_;               // of a tile: products, with the biases of a type, and their gradient
  A* gold_slopes_;                             // of the tile's gold spans
  A *column_bias_, *column_sums_, *vector_;
};

// Runs the forward pass, or the backward pass if `sums` is null.
template <class T>
void run_head(const GlobalPointerShape& shape, const GlobalPointerArrays<T>& arrays, const HeadCells& cells,
              const accumulate_t<T>* turns, int64_t item, int64_t head, HeadSums<accumulate_t<T>>* sums) {
  using A = accumulate_t<T>;
  const Workspace space(Head<T>::numbers(shape, cells.count()) * int64_t(sizeof(A)));
  Head<T> work(shape, arrays, cells, turns, item, head, space.as<A>());
  if (sums) return work.forward(sums);
  work.backward();
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
