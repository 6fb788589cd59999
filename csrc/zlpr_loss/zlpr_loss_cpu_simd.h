// The sums of the zlpr loss and their gradient on the CPU. Included once per instruction set by zlpr_loss_cpu.cpp,
// which includes every header this needs.

#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Loads bools as a lane mask.
template <class A>
__attribute__((always_inline)) inline auto load_bools(const bool* from) {
  typedef uint8_t Bytes __attribute__((vector_size(kVecLanes<A>), aligned(1), may_alias));
  const auto wide = __builtin_convertvector(*reinterpret_cast<const Bytes*>(from), typename VecOf<A>::bits);
  return wide != typename VecOf<A>::bits{};
}

// A vector of elements.
template <class A>
struct ZlprVector {
  Vec<A> score, label;  // bool labels become 0 or 1
  decltype(Vec<A>{} > Vec<A>{}) counts;
};

// Calls body(index, count, vector) for vectors of the elements [begin, end); lanes past `end` do not count.
template <class T, class Label, class Body>
__attribute__((always_inline)) inline void each_vector(const ZlprCells<T, Label>& cells, int64_t begin, int64_t end,
                                                       const Body& body) {
  using A = accumulate_t<T>;
  constexpr int64_t L = kVecLanes<A>;
  const Vec<A> none = splat(-std::numeric_limits<A>::infinity()), zero = splat(A(0)), one = splat(A(1));
  const auto read = [&](const T* scores, const Label* labels, const bool* mask) {
    ZlprVector<A> found;
    found.score = load_wide(scores);
    if constexpr (std::is_same_v<Label, bool>) {
      found.label = load_bools<A>(labels) ? one : zero;
    } else {
      found.label = load(labels);
    }
    found.counts = found.score != none;
    if (mask) found.counts = found.counts & load_bools<A>(mask);
    return found;
  };
  int64_t at = begin;
  for (; at + L <= end; at += L) {
    body(at, L, read(cells.scores + at, cells.labels + at, cells.mask ? cells.mask + at : nullptr));
  }
  if (at == end) return;
  T scores[L];
  Label labels[L] = {};
  bool mask[L] = {};
  std::fill_n(scores, L, T(0));
  for (int64_t i = 0; at + i < end; ++i) {
    scores[i] = cells.scores[at + i];
    labels[i] = cells.labels[at + i];
    mask[i] = !cells.mask || cells.mask[at + i];
  }
  body(at, end - at, read(scores, labels, mask));
}

template <class A>
__attribute__((always_inline)) inline Vec<A> larger(const Vec<A>& a, const Vec<A>& b) {
  return a > b ? a : b;
}

// exp(x - peak) for x <= peak; 1 if both are infinite.
template <class A>
__attribute__((always_inline)) inline Vec<A> below_peak(const Vec<A>& x, const Vec<A>& peak) {
  return exp_to_one<A>(x == peak ? splat(A(0)) : x - peak);
}

// Adds the elements [begin, end) to the sums.
template <class T, class Label>
void sum_cells(const ZlprCells<T, Label>& cells, int64_t begin, int64_t end, ZlprSums<accumulate_t<T>, double>& sums) {
  using A = accumulate_t<T>;
  const Vec<A> none = splat(-std::numeric_limits<A>::infinity()), zero = splat(A(0)), one = splat(A(1));
  Vec<A> label_peaks = zero, other_peaks = zero;
  each_vector(cells, begin, end, [&](int64_t, int64_t, const ZlprVector<A>& x) {
    label_peaks = larger<A>((x.counts & (x.label > zero)) ? -x.score : none, label_peaks);
    other_peaks = larger<A>((x.counts & (x.label < one)) ? x.score : none, other_peaks);
  });
  sums.labels.raise(largest_of_lanes<A>(label_peaks));
  sums.others.raise(largest_of_lanes<A>(other_peaks));
  const Vec<A> label_peak = splat(sums.labels.peak), other_peak = splat(sums.others.peak);
  Vec<A> of_labels = zero, of_others = zero;
  each_vector(cells, begin, end, [&](int64_t, int64_t, const ZlprVector<A>& x) {
    if constexpr (std::is_same_v<Label, bool>) {
      const auto is_label = x.label > zero;
      const Vec<A> e = below_peak<A>(is_label ? -x.score : x.score, is_label ? label_peak : other_peak);
      of_labels += (x.counts & is_label) ? e : zero;
      of_others += (x.counts & ~is_label) ? e : zero;
    } else {
      of_labels += (x.counts & (x.label > zero)) ? x.label * below_peak<A>(-x.score, label_peak) : zero;
      of_others += (x.counts & (x.label < one)) ? (one - x.label) * below_peak<A>(x.score, other_peak) : zero;
    }
  });
  sums.labels.sum += sum_of_lanes<A>(of_labels);
  sums.others.sum += sum_of_lanes<A>(of_others);
}

// sum_cells reads its elements twice, so it is called for blocks that stay in the cache.
constexpr int64_t kZlprBlock = 1024;

// Sums chunks [begin, end) of all rows' chunks.
template <class T, class Label>
void sum_chunks(const ZlprCells<T, Label>& cells, int64_t chunks, ZlprSums<accumulate_t<T>, double>* sums,
                int64_t begin, int64_t end) {
  for (int64_t number = begin; number < end; ++number) {
    const int64_t row = number / chunks * cells.cells, first = number % chunks * cells.chunk;
    const int64_t last = std::min(first + cells.chunk, cells.cells);
    for (int64_t at = first; at < last; at += kZlprBlock) {
      sum_cells(cells, row + at, row + std::min(at + kZlprBlock, last), sums[number]);
    }
  }
}

// weight exp(x) as weight exp(x / 2)^2, because exp(x) alone may overflow when the weight is a soft label close to 0.
template <class A>
__attribute__((always_inline)) inline Vec<A> weighted_exp(const Vec<A>& weight, const Vec<A>& x) {
  const Vec<A> root = exp_to_one<A>(x / A(2));
  return weight * root * root;
}

template <class T, class Label>
void chunk_gradients(const ZlprCells<T, Label>& cells, int64_t chunks, const accumulate_t<T>* grad,
                     const accumulate_t<T>* parts, T* grad_scores, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  const Vec<A> zero = splat(A(0)), one = splat(A(1));
  for (int64_t number = begin; number < end; ++number) {
    const int64_t row = number / chunks, first = row * cells.cells + number % chunks * cells.chunk;
    const int64_t last = std::min(first + cells.chunk, (row + 1) * cells.cells);
    const Vec<A> label_slope = splat(-grad[2 * row]), other_slope = splat(grad[2 * row + 1]);
    const Vec<A> label_part = splat(parts[2 * row]), other_part = splat(parts[2 * row + 1]);
    each_vector(cells, first, last, [&](int64_t at, int64_t count, const ZlprVector<A>& x) {
      Vec<A> slope;
      if constexpr (std::is_same_v<Label, bool>) {
        const auto is_label = x.label > zero;
        const Vec<A> e = exp_to_one<A>(is_label ? -x.score - label_part : x.score - other_part);
        slope = e * (is_label ? label_slope : other_slope);
      } else {
        const Vec<A> of_label = label_slope * weighted_exp<A>(x.label, -x.score - label_part);
        const Vec<A> of_other = other_slope * weighted_exp<A>(one - x.label, x.score - other_part);
        slope = (x.label > zero ? of_label : zero) + (x.label < one ? of_other : zero);
      }
      slope = x.counts ? slope : zero;
      if (count == kVecLanes<A>) return store_narrow(grad_scores + at, slope);
      PartVector<T>{count}.store(grad_scores + at, slope);
    });
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
