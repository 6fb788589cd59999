// Pooling over time, with lanes over channels. Included once per instruction set by sequence_pool_cpu.cpp, which
// includes every header this needs.
//
// A unit of work is one sequence and a block of channels. It is processed in tiles of consecutive valid rows: a tile is
// an array of pointers to lanes of x, so the pooling code is independent of layout, mask and padding. A tile stays in
// the cache while it is used. Results do not depend on which thread computes a unit.

namespace pydlx {
namespace PYDLX_SIMD {

// One number per channel of the block, a multiple of all vectors.
template <class V>
using Block = V[kBlockChannels];

template <class A>
struct Tile {
  int64_t count;
  int64_t step[kTileRows];
  const A* row[kTileRows];
};

// Channels [first, first + lanes) of sequence b.
template <class T>
struct SequenceUnit {
  using A = accumulate_t<T>;
  const SequenceBatch& batch;
  const T* x;
  int64_t b, first, lanes;

  // Whether rows are used in place. Rows of 16-bit types, which are widened, and rows that are not whole vectors, which
  // would be read past their end, are copied to a buffer first.
  bool in_place() const { return std::is_same_v<T, A> && lanes % kVecLanes<A> == 0; }

  // Calls visit(tile) for tiles of the valid steps, in order of time.
  template <class Visit>
  __attribute__((always_inline)) void each_tile(const Visit& visit) const {
    alignas(64) A buffer[kTileRows][kBlockChannels];
    if (!in_place()) std::fill_n(buffer[0], kTileRows * kBlockChannels, A(0));
    Tile<A> tile{};
    const StepRange span = batch.span(b);
    for (int64_t step = span.begin; step < span.end; ++step) {
      if (batch.valid(b, step)) {
        tile.row[tile.count] = load_row(step, buffer[tile.count]);
        tile.step[tile.count++] = step;
      }
      if (tile.count == kTileRows || (tile.count > 0 && step + 1 == span.end)) {
        visit(tile);
        tile.count = 0;
      }
    }
  }

  __attribute__((always_inline)) const A* load_row(int64_t step, A* buffer) const {
    const T* cells = x + batch.offset(b, step) + first;
    // Prefetch, because rows may be farther apart than the hardware prefetcher can follow.
    const T* ahead = cells + kTileRows * batch.step_stride;
    for (int64_t c = 0; c < lanes; c += 64 / int64_t{sizeof(T)}) __builtin_prefetch(ahead + c);
    if constexpr (std::is_same_v<T, A>) {
      if (in_place()) return cells;
    }
    for (int64_t c = 0; c < lanes; ++c) buffer[c] = static_cast<A>(cells[c]);
    return buffer;
  }

  int64_t row(int64_t step) const { return batch.row(b, step); }

  // Offset of this unit's channels in row `r` of a contiguous (rows, channels) tensor.
  int64_t place(int64_t r) const { return r * batch.channels + first; }

  template <class To, class From>
  void write(To* tensor, int64_t r, const From* from) const {
    for (int64_t c = 0; c < lanes; ++c) tensor[place(r) + c] = static_cast<To>(from[c]);
  }
};

// ---------------------------------------------------------------------------------------------------- max and mean

// Updates `best` by the rows of a tile, and `at` to the row of the first maximum if it changes. With kNan, NaN is
// larger than any number; otherwise NaN is ignored and the function returns true if there is one.
template <class A, bool kNan>
__attribute__((always_inline)) inline bool raise_peak(const Tile<A>& tile, int64_t c, Vec<A>& best,
                                                      typename VecOf<A>::bits& at) {
  using Bits = typename VecOf<A>::bits;
  auto unordered = best != best;
  for (int64_t r = 0; r < tile.count; ++r) {
    const Vec<A> a = load(tile.row[r] + c);
    auto take = a > best;
    if constexpr (kNan) {
      take = ~(a <= best) & (best == best);
    } else {
      unordered |= a != a;
    }
    best = take ? a : best;
    at = take ? static_cast<typename VecOf<A>::Bits>(r) - Bits{} : at;
  }
  return !kNan && any(unordered);
}

template <class T>
void max_over_time(const SequenceUnit<T>& unit, T* y, int64_t* index) {
  using A = accumulate_t<T>;
  using Bits = typename VecOf<A>::bits;
  constexpr auto kNone = static_cast<typename VecOf<A>::Bits>(-1);
  alignas(64) Block<A> peak;
  Block<int64_t> from;
  std::fill_n(peak, kBlockChannels, -std::numeric_limits<A>::infinity());
  std::fill_n(from, kBlockChannels, -1);
  unit.each_tile([&](const Tile<A>& tile) {
    if (from[0] < 0) std::fill_n(from, kBlockChannels, unit.row(tile.step[0]));  // for channels of only -inf
    for (int64_t c = 0; c < unit.lanes; c += kVecLanes<A>) {
      Vec<A> best = load(peak + c);
      Bits at = kNone - Bits{};
      if (raise_peak<A, false>(tile, c, best, at)) {
        best = load(peak + c);
        at = kNone - Bits{};
        raise_peak<A, true>(tile, c, best, at);
      }
      store(peak + c, best);
      if (!any(at != kNone)) continue;
      for (int64_t l = 0; l < kVecLanes<A>; ++l) {
        if (at[l] != kNone) from[c + l] = unit.row(tile.step[at[l]]);
      }
    }
  });
  if (from[0] < 0) std::fill_n(peak, kBlockChannels, A(0));
  unit.write(y, unit.b, peak);
  unit.write(index, unit.b, from);
}

template <class T>
void mean_over_time(const SequenceUnit<T>& unit, T* y) {
  using A = accumulate_t<T>;
  alignas(64) Block<A> sum = {};
  int64_t n = 0;
  unit.each_tile([&](const Tile<A>& tile) {
    n += tile.count;
    for (int64_t c = 0; c < unit.lanes; c += kVecLanes<A>) {
      Vec<A> part{};
      for (int64_t r = 0; r < tile.count; ++r) part += load(tile.row[r] + c);
      store(sum + c, Vec<A>(load(sum + c) + part));
    }
  });
  for (A& s : sum) s /= static_cast<A>(n > 0 ? n : 1);
  unit.write(y, unit.b, sum);
}

// Writes grad / n to every valid row and 0 to the others.
template <class T>
void mean_backward(const SequenceUnit<T>& unit, const T* grad, T* dx) {
  const SequenceBatch& batch = unit.batch;
  const StepRange span = batch.span(unit.b), owned = batch.owned(unit.b);
  int64_t n = 0;
  for (int64_t step = span.begin; step < span.end; ++step) n += batch.valid(unit.b, step);
  Block<T> share;
  for (int64_t c = 0; c < unit.lanes; ++c) {
    share[c] = static_cast<T>(static_cast<accumulate_t<T>>(grad[unit.place(unit.b) + c]) / (n > 0 ? n : 1));
  }
  for (int64_t step = owned.begin; step < owned.end; ++step) {
    T* to = dx + unit.place(unit.row(step));
    if (step < span.end && batch.valid(unit.b, step)) {
      std::copy_n(share, unit.lanes, to);
    } else {
      std::fill_n(to, unit.lanes, T(0));
    }
  }
}

// ------------------------------------------------------------------------------------------------------------ soft

// Sums over the steps so far, relative to their peak m as in soft_pool_cpu_simd.h: d_t = x_t - m, e_t = exp(d_t),
// S = sum e_t, D = sum e_t d_t, y = m + D / S. If a tile raises the peak by -s, then S <- e^s S and D <- e^s (D + s S).
template <class A>
struct SoftSums {
  alignas(64) Block<A> peak, total = {}, distance = {};
  int64_t steps = 0;

  SoftSums() { std::fill_n(peak, kBlockChannels, -std::numeric_limits<A>::infinity()); }

  __attribute__((always_inline)) void add(const Tile<A>& tile, int64_t lanes) {
    steps += tile.count;
    for (int64_t c = 0; c < lanes; c += kVecLanes<A>) {
      const Vec<A> before = load(peak + c);
      Vec<A> m = before;
      for (int64_t r = 0; r < tile.count; ++r) {
        const Vec<A> a = load(tile.row[r] + c);
        m = a > m ? a : m;
      }
      const Vec<A> s = distance_below<A, true>(before, m), scale = exp_nonpositive<A>(s);
      Vec<A> sum = scale * load(total + c), weighted = scale * (load(distance + c) + s * load(total + c));
      for (int64_t r = 0; r < tile.count; ++r) {
        const Vec<A> d = distance_below<A, true>(load(tile.row[r] + c), m), e = exp_nonpositive<A>(d);
        sum += e;
        weighted += e * d;
      }
      store(peak + c, m);
      store(total + c, sum);
      store(distance + c, weighted);
    }
  }

  // Replaces `distance` by the mean D / S.
  void finish() {
    for (int64_t c = 0; c < kBlockChannels; ++c) distance[c] /= total[c];
  }
};

template <class T>
SoftSums<accumulate_t<T>> soft_sums(const SequenceUnit<T>& unit) {
  SoftSums<accumulate_t<T>> sums;
  unit.each_tile([&](const Tile<accumulate_t<T>>& tile) { sums.add(tile, unit.lanes); });
  sums.finish();
  return sums;
}

template <class T>
void soft_over_time(const SequenceUnit<T>& unit, T* y) {
  using A = accumulate_t<T>;
  const SoftSums<A> sums = soft_sums(unit);
  Block<A> average = {};
  for (int64_t c = 0; c < unit.lanes && sums.steps > 0; ++c) average[c] = sums.peak[c] + sums.distance[c];
  unit.write(y, unit.b, average);
}

template <class T>
void soft_backward(const SequenceUnit<T>& unit, const T* grad, T* dx) {
  using A = accumulate_t<T>;
  const SequenceBatch& batch = unit.batch;
  const SoftSums<A> sums = soft_sums(unit);
  alignas(64) Block<A> scale = {}, out;
  for (int64_t c = 0; c < unit.lanes; ++c) scale[c] = static_cast<A>(grad[unit.place(unit.b) + c]) / sums.total[c];
  unit.each_tile([&](const Tile<A>& tile) {
    for (int64_t r = 0; r < tile.count; ++r) {
      T* to = dx + unit.place(unit.row(tile.step[r]));
      A* place = out;
      if constexpr (std::is_same_v<T, A>) {
        if (unit.in_place()) place = to;
      }
      for (int64_t c = 0; c < unit.lanes; c += kVecLanes<A>) {
        const Vec<A> d = distance_below<A, true>(load(tile.row[r] + c), load(sums.peak + c));
        const Vec<A> e = exp_nonpositive<A>(d);
        store(place + c, Vec<A>(load(scale + c) * e * (A(1) + (d - load(sums.distance + c)))));
      }
      if (place == out) unit.write(dx, unit.row(tile.step[r]), out);
    }
  });
  const StepRange span = batch.span(unit.b), owned = batch.owned(unit.b);
  for (int64_t step = owned.begin; step < owned.end; ++step) {
    if (step < span.end && batch.valid(unit.b, step)) continue;
    std::fill_n(dx + unit.place(unit.row(step)), unit.lanes, T(0));
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx

#include "sequence_pool/k_max_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Unit i of the batch, ordered by block of channels, then by sequence.
template <class T>
SequenceUnit<T> sequence_unit(const SequenceBatch& batch, int64_t width, const T* x, int64_t i) {
  const int64_t first = i / batch.count * width;
  return {batch, x, i % batch.count, first, std::min(width, batch.channels - first)};
}

// Pools units [begin, end), with blocks of `width` channels.
template <class T>
void pool_units(const SequenceBatch& batch, int64_t width, SequencePoolMode mode, int64_t k, const T* x, T* y,
                int64_t* index, int64_t begin, int64_t end) {
  KMax<accumulate_t<T>> k_max(k);
  for (int64_t i = begin; i < end; ++i) {
    const SequenceUnit<T> unit = sequence_unit(batch, width, x, i);
    switch (mode) {
      case SequencePoolMode::kMax:
        max_over_time(unit, y, index);
        break;
      case SequencePoolMode::kMean:
        mean_over_time(unit, y);
        break;
      case SequencePoolMode::kSoft:
        soft_over_time(unit, y);
        break;
      case SequencePoolMode::kKMax:
        k_max.pool(unit, y, index);
        break;
    }
  }
}

// The gradient of soft or, if x is null, of mean.
template <class T>
void backward_units(const SequenceBatch& batch, int64_t width, const T* grad, const T* x, T* dx, int64_t begin,
                    int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const SequenceUnit<T> unit = sequence_unit(batch, width, x, i);
    if (x) {
      soft_backward(unit, grad, dx);
    } else {
      mean_backward(unit, grad, dx);
    }
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
