// OKS on the CPU. Included once per instruction set by oks_cpu.cpp, which includes every header this needs.
//
// Lanes are detections: one truth is compared with many of them, whose coordinates are stored by point and axis. So
// invisible points of the truth cost nothing. A pair's similarity does not depend on its position in the block.

namespace pydlx {
namespace PYDLX_SIMD {

// The distance of p from a visible coordinate, where low == high; or with kBox from the interval [low, high].
template <class A, bool kBox>
__attribute__((always_inline)) inline Vec<A> distance(const Vec<A>& p, const Vec<A>& low, const Vec<A>& high) {
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
      const Vec<A> dx = distance<A, kBox>(load(p[0] + i), splat(point.low[0]), splat(point.high[0]));
      const Vec<A> dy = distance<A, kBox>(load(p[1] + i), splat(point.low[1]), splat(point.high[1]));
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

// Here lanes are pairs, in the order of the result. Points that do not count have the exponent -inf and add 0.
template <class A>
struct OksPairLanes {
  using Row = A[kOksPairs];

  std::vector<Row> exponents;
  alignas(64) A counts[kOksPairs] = {};

  explicit OksPairLanes(int64_t points) : exponents(points) {}

  void load(const OksRows<A>& rows, const std::vector<A>& scale, const OksSizes& sizes, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const A* pred = rows.detection(sizes.pred_of(first + i));
      const OksTruth<A> truth = rows.truth_at(sizes.truth_of(first + i));
      counts[i] = static_cast<A>(std::max<int64_t>(1, truth.count));
      for (int64_t k = 0; k < rows.points; ++k) {
        const A x = exponent(truth, pred, k, scale[k]);
        exponents[k][i] = truth.counts(k) ? x : -std::numeric_limits<A>::infinity();
      }
    }
  }

  __attribute__((always_inline)) static A exponent(const OksTruth<A>& truth, const A* pred, int64_t k, A scale) {
    const A dx = truth.offset(pred, k, 0), dy = truth.offset(pred, k, 1);
    return (dx * dx + dy * dy) * (truth.steepness * scale);
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

// The factor exp(x) of a point's gradient. If it underflows, -exp(x / 2), to be multiplied twice, because the gradient
// may still be a normal number; or 0 if exp(x / 2) is below `least`.
template <class A>
__attribute__((always_inline)) inline Vec<A> exp_or_half(const Vec<A>& x, const Vec<A>& least) {
  const Vec<A> e = exp_to_one<A>(x), half = exp_to_one<A>(x / 2);
  return e == 0 ? (half < least ? Vec<A>{} : -half) : e;
}

// `least` for exp_or_half: the value of exp(x / 2) below which a point's gradients can be dropped, because even the sum
// of as many as the call has for a point is not a normal number.
//
// With exponent x, the gradients are share x exp(x) and 2 share sqrt(scale x / steepness) exp(x). The magnitudes of
// both decrease for x below -1, and exp(x / 2) is 0 below kLowest. Because 2 sqrt(a) <= 1 + a, `bound` exceeds all
// factors of exp(x). If an input is NaN or infinite, so is the bound, and nothing is dropped.
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

// ---------------------------------------------------------------------------------------------------------- backward

template <class A>
struct WideOf {
  typedef double type __attribute__((vector_size(PYDLX_SIMD_BYTES)));
};
template <>
struct WideOf<float> {
  typedef double type __attribute__((vector_size(2 * PYDLX_SIMD_BYTES)));
};

// A float64 sum per lane.
template <class A>
struct WideSum {
  using Wide = typename WideOf<A>::type;
  Wide lanes{};

  void add(const Vec<A>& value) { lanes += __builtin_convertvector(value, Wide); }

  double total() const {
    double sum = 0;
    for (int64_t lane = 0; lane < kVecLanes<A>; ++lane) sum += lanes[lane];
    return sum;
  }
};

// In the backward pass lanes are points. A row (points, 2) is stored as all x, then all y, each padded to `width`
// elements, whole vectors.
template <class A>
int64_t oks_width(int64_t points) {
  return (points + kVecLanes<A> - 1) / kVecLanes<A> * kVecLanes<A>;
}

// Detections (preds, points, 2) and their gradients in that layout; lanes past the last point are zero.
template <class A>
struct OksPartedDetections {
  int64_t points, width;
  std::vector<A> coordinates, gradients;

  OksPartedDetections(int64_t preds, int64_t points_)
      : points(points_), width(oks_width<A>(points_)), coordinates(2 * width * preds), gradients(2 * width * preds) {}

  void load(const A* pred, int64_t count) {
    for (A* row = coordinates.data(); count-- > 0; row += 2 * width, pred += 2 * points) {
      for (int64_t k = 0; k < points; ++k) row[k] = pred[2 * k], row[k + width] = pred[2 * k + 1];
    }
    std::fill(gradients.begin(), gradients.end(), A(0));
  }

  void store_gradients(A* dpred, int64_t count) const {
    for (const A* row = gradients.data(); count-- > 0; row += 2 * width, dpred += 2 * points) {
      for (int64_t k = 0; k < points; ++k) dpred[2 * k] = row[k], dpred[2 * k + 1] = row[k + width];
    }
  }
};

// One truth in that layout, with flags 1 for points that count and 0 for others.
template <class A>
struct OksPartedTruth {
  int64_t points, width;
  std::vector<A> scale, counts, falloff, low, high, gradient;
  OksTruth<A> truth;

  explicit OksPartedTruth(const std::vector<A>& scale_)
      : points(static_cast<int64_t>(scale_.size())),
        width(oks_width<A>(points)),
        scale(scale_),
        counts(width),
        falloff(width),
        low(2 * width),
        high(2 * width),
        gradient(2 * width) {
    scale.resize(width);
  }

  void load(const OksTruth<A>& from) {
    truth = from;
    for (int64_t k = 0; k < points; ++k) {
      counts[k] = truth.counts(k);
      falloff[k] = truth.steepness * scale[k];
      for (int axis = 0; axis < 2; ++axis) {
        low[k + axis * width] = truth.low(k, axis);
        high[k + axis * width] = truth.high(k, axis);
      }
    }
    std::fill(gradient.begin(), gradient.end(), A(0));
  }

  // With a box there is no gradient: boxes are not differentiable inputs.
  void store_gradient(A* dtruth) const {
    if (truth.box) return;
    for (int64_t k = 0; k < points; ++k) dtruth[2 * k] = -gradient[k], dtruth[2 * k + 1] = -gradient[k + width];
  }
};

// Adds the gradients of one pair to those of both sides, and its terms of the area's gradient to `area`, lane by lane.
// `share` is the incoming gradient / n * steepness. Where exp_or_half is 0 the gradient is 0, even if other factors are
// infinite.
template <class A, bool kBox>
void differentiate(OksPartedTruth<A>& target, const A* pred, A* dpred, A share, const Vec<A>& least, WideSum<A>& area) {
  const Vec<A> none{}, one = none + 1, lowest = splat(-std::numeric_limits<A>::infinity());
  const int64_t width = target.width;
  for (int64_t k = 0; k < width; k += kVecLanes<A>) {
    const Vec<A> scale = load(&target.scale[k]), falloff = load(&target.falloff[k]);
    const Vec<A> dx = distance<A, kBox>(load(pred + k), load(&target.low[k]), load(&target.high[k]));
    const Vec<A> dy =
        distance<A, kBox>(load(pred + k + width), load(&target.low[k + width]), load(&target.high[k + width]));
    const Vec<A> exponent = (dx * dx + dy * dy) * falloff;
    const Vec<A> e = exp_or_half<A>(load(&target.counts[k]) == 0 ? lowest : exponent, least);
    const Vec<A> first = e < 0 ? -e : e, second = e < 0 ? first : one;
    area.add(e == 0 ? none : share * exponent * first * second);
    for (int axis = 0; axis < 2; ++axis) {
      const Vec<A> d = e == 0 ? none : 2 * share * scale * (axis ? dy : dx) * first * second;
      A *p = dpred + k + axis * width, *t = &target.gradient[k + axis * width];
      store(p, Vec<A>(load(p) + d));
      store(t, Vec<A>(load(t) + d));
    }
  }
}

// Adds the gradients of groups [begin, end). Each row's sum is in the order of the rows on the other side.
template <class A>
void oks_backward_groups(const OksRows<A>& rows, const std::vector<A>& scale, const OksSizes& sizes, const A* grad,
                         A least_half, const OksGradients<A>& to, int64_t begin, int64_t end) {
  const int64_t row = 2 * rows.points;
  OksPartedDetections<A> detections(sizes.preds, rows.points);
  OksPartedTruth<A> target(scale);
  const Vec<A> least = splat(least_half);
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * sizes.preds;
    detections.load(rows.detection(first), sizes.preds);
    for (int64_t g = 0; g < sizes.truths; ++g) {
      const int64_t place = group * sizes.truths + g;
      target.load(rows.truth_at(place));
      const A count = static_cast<A>(std::max<int64_t>(1, target.truth.count));
      const auto pair = target.truth.box ? differentiate<A, true> : differentiate<A, false>;
      WideSum<A> area;
      for (int64_t d = 0; d < sizes.preds; ++d) {
        const A share = grad[(first + d) * sizes.truths + g] / count * target.truth.steepness;
        const int64_t at = 2 * detections.width * d;
        pair(target, &detections.coordinates[at], &detections.gradients[at], share, least, area);
      }
      to.areas[place] = area.total();
      target.store_gradient(to.truth + place * row);
    }
    detections.store_gradients(to.pred + first * row, sizes.preds);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
