// OKS on the CPU. Included once per instruction set by oks_cpu.cpp, which brings in every header this needs.
//
// Lanes are detections: one truth is compared with many of them, whose coordinates lie apart by point and axis. So the
// truth's invisible points cost nothing. A pair's similarity does not depend on where in the block it stands.

namespace pydlx {
namespace PYDLX_SIMD {

// How far p lies from a visible coordinate, where low and high are the same; or, with kBox, from [low, high].
template <class A, bool kBox>
__attribute__((always_inline)) inline Vec<A> distance(const Vec<A>& p, A low, A high) {
  if constexpr (!kBox) return p - low;
  const Vec<A> none{}, below = p - low, above = p - high;
  return (below > none ? none : below) + (none > above ? none : above);
}

template <class A>
using OksBlockRows = A[kOksBlock];

// A block of detections: their coordinates as (K, 2, kOksBlock).
template <class A>
struct OksDetections {
  std::vector<OksBlockRows<A>> coordinates;
  int64_t width = 0;  // whole vectors

  explicit OksDetections(int64_t points) : coordinates(2 * points) {}

  void load(const A* pred, int64_t count) {
    const int64_t cells = static_cast<int64_t>(coordinates.size());
    width = (count + kVecLanes<A> - 1) / kVecLanes<A> * kVecLanes<A>;
    for (int64_t i = 0; i < width; ++i) {
      const A* row = pred + std::min(i, count - 1) * cells;
      for (int64_t c = 0; c < cells; ++c) coordinates[c][i] = row[c];
    }
  }
};

template <class A, bool kBox>
void compare(const OksTarget<A>& target, const OksDetections<A>& detections, A* similarities) {
  for (int64_t i = 0; i < detections.width; i += kVecLanes<A>) {
    Vec<A> sum{};
    for (int64_t j = 0; j < target.count; ++j) {
      const OksPoint<A>& point = target.points[j];
      const OksBlockRows<A>* p = &detections.coordinates[2 * point.k];
      const Vec<A> dx = distance<A, kBox>(load(p[0] + i), point.low[0], point.high[0]);
      const Vec<A> dy = distance<A, kBox>(load(p[1] + i), point.low[1], point.high[1]);
      sum += exp_to_one<A>((dx * dx + dy * dy) * point.falloff);
    }
    store(similarities + i, Vec<A>(sum / A(std::max<int64_t>(1, target.count))));
  }
}

template <class A>
void oks_blocks(const OksRows<A>& rows, const std::vector<A>& scale, const OksBlock* blocks, int64_t count, A* oks) {
  OksDetections<A> detections(rows.points);
  OksTarget<A> target(rows.points);
  alignas(64) A similarities[kOksBlock];
  for (const OksBlock* block = blocks; block < blocks + count; ++block) {
    detections.load(rows.detection(block->pred), block->preds);
    for (int64_t g = 0; g < block->truths; ++g) {
      target.prepare(rows.truth_at(block->truth + g), scale);
      if (target.is_box) {
        compare<A, true>(target, detections, similarities);
      } else {
        compare<A, false>(target, detections, similarities);
      }
      A* to = oks + block->place + g;
      for (int64_t i = 0; i < block->preds; ++i) to[i * block->truths] = similarities[i];
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- by pair

// Lanes are pairs, in the order of the result. Points that do not count have the exponent -inf, and so add nothing.
template <class A>
struct OksPairLanes {
  using Row = A[kOksPairs];

  std::vector<Row> exponents;
  OksTruth<A> truth[kOksPairs];
  const A* pred[kOksPairs];
  alignas(64) A counts[kOksPairs] = {};

  explicit OksPairLanes(int64_t points) : exponents(points) {}

  void load(const OksRows<A>& rows, const std::vector<A>& scale, const OksSizes& sizes, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      pred[i] = rows.detection(sizes.pred_of(first + i));
      truth[i] = rows.truth_at(sizes.truth_of(first + i));
      counts[i] = static_cast<A>(std::max<int64_t>(1, truth[i].count));
      const OksTruth<A> q = truth[i];
      for (int64_t k = 0; k < rows.points; ++k) {
        const A x = exponent(q, pred[i], k, scale[k]);
        exponents[k][i] = q.counts(k) ? x : -std::numeric_limits<A>::infinity();
      }
    }
  }

  __attribute__((always_inline)) static A exponent(const OksTruth<A>& q, const A* p, int64_t k, A scale) {
    const A dx = q.offset(p, k, 0), dy = q.offset(p, k, 1);
    return (dx * dx + dy * dy) * (q.steepness * scale);
  }
};

// Similarities of the pairs [begin, end).
template <class A>
void oks_pairs(const OksRows<A>& rows, const std::vector<A>& scale, const OksSizes& sizes, A* oks, int64_t begin,
               int64_t end) {
  OksPairLanes<A> lanes(rows.points);
  alignas(64) A similarities[kOksPairs];
  for (int64_t first = begin; first < end; first += kOksPairs) {
    const int64_t count = std::min(kOksPairs, end - first);
    lanes.load(rows, scale, sizes, first, count);
    for (int64_t i = 0; i < count; i += kVecLanes<A>) {
      Vec<A> sum{};
      for (int64_t k = 0; k < rows.points; ++k) sum += exp_to_one<A>(load(lanes.exponents[k] + i));
      store(similarities + i, Vec<A>(sum / load(lanes.counts + i)));
    }
    std::copy_n(similarities, count, oks + first);
  }
}

// What a point's gradient is multiplied with, exp(x); or, where that is 0, -exp(x / 2), to be multiplied with twice:
// the gradient may still be a normal number. It is -0 where that half is below `least`.
template <class A>
__attribute__((always_inline)) inline Vec<A> exp_or_half(const Vec<A>& x, const Vec<A>& least) {
  const Vec<A> e = exp_to_one<A>(x), half = exp_to_one<A>(x / 2);
  return e == 0 ? (half < least ? Vec<A>{} : -half) : e;
}

// The half below which nothing is left of a point's gradients: even the sum of as many as the call has of a point is no
// normal number.
//
// With x the exponent, they are share x exp(x) and 2 share sqrt(scale x / steepness) exp(x). Both fall with x below -1,
// and exp(x / 2) is 0 below kLowest. As 2 sqrt(a) <= 1 + a, `bound` is above all factors of exp(x). NaN and infinity
// stay in it, and then nothing is left out.
template <class A>
A oks_least_half(const OksRows<A>& rows, const std::vector<A>& scale, const OksSizes& sizes, const A* grad) {
  constexpr A kLowest = A(1.4) * std::numeric_limits<A>::min_exponent;
  const auto grow = [](A& largest, A value) {
    if (value > largest || value != value) largest = value;
  };
  A gradient = 0, steepness = 0, largest_scale = 0;
  for (int64_t i = 0; i < sizes.pairs(); ++i) grow(gradient, std::abs(grad[i]));
  for (int64_t i = 0; i < sizes.groups * sizes.truths; ++i) grow(steepness, 1 / (rows.area[i] + A(kOksSpacing)));
  for (const A value : scale) grow(largest_scale, value);
  const A bound = gradient * (1 - kLowest * steepness * (largest_scale + 1));
  return std::sqrt(std::numeric_limits<A>::min() / (bound * std::max(sizes.preds, sizes.truths) * sizes.points));
}

// Adds the gradients of one pair. share is the incoming gradient / n * steepness; e[k * kOksPairs] is of exp_or_half.
template <class A>
void add_pair_gradient(const OksTruth<A>& truth, const A* pred, const std::vector<A>& scale, A share, const A* e,
                       A* dpred, A* dtruth, double* darea) {
  A sum = 0;
  for (int64_t k = 0; k < static_cast<int64_t>(scale.size()); ++k, e += kOksPairs) {
    if (*e == 0 || !truth.counts(k)) continue;
    const A first = std::abs(*e), second = *e < 0 ? first : A(1);
    sum += share * OksPairLanes<A>::exponent(truth, pred, k, scale[k]) * first * second;
    for (int axis = 0; axis < 2; ++axis) {
      const A d = 2 * share * scale[k] * truth.offset(pred, k, axis) * first * second;
      dpred[2 * k + axis] += d;
      if (!truth.box) dtruth[2 * k + axis] -= d;
    }
  }
  *darea += sum;
}

// Adds the gradients of the pairs [begin, end), in their order.
template <class A>
void oks_pairs_backward(const OksRows<A>& rows, const std::vector<A>& scale, const OksSizes& sizes, const A* grad,
                        A least_half, const OksGradients<A>& to, int64_t begin, int64_t end) {
  if (rows.points == 0) return;
  OksPairLanes<A> lanes(rows.points);
  const Vec<A> least = splat(least_half);
  for (int64_t first = begin; first < end; first += kOksPairs) {
    const int64_t count = std::min(kOksPairs, end - first);
    lanes.load(rows, scale, sizes, first, count);
    for (int64_t k = 0; k < rows.points; ++k) {
      A* row = lanes.exponents[k];
      for (int64_t i = 0; i < count; i += kVecLanes<A>) store(row + i, exp_or_half<A>(load(row + i), least));
    }
    for (int64_t i = 0; i < count; ++i) {
      const OksTruth<A> truth = lanes.truth[i];
      const A share = grad[first + i] / lanes.counts[i] * truth.steepness;
      add_pair_gradient(truth, lanes.pred[i], scale, share, lanes.exponents[0] + i,
                        to.pred + (lanes.pred[i] - rows.pred), to.truth + (truth.points - rows.truth),
                        to.areas + sizes.truth_of(first + i));
    }
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
