// Suppression on the CPU, with lanes over rows. Included once per instruction set by nms_cpu.cpp, which includes every
// header this needs.

namespace pydlx {
namespace PYDLX_SIMD {

// n rounded up to whole vectors, at least one.
template <class A>
constexpr int64_t whole_vectors(int64_t n) {
  return (std::max<int64_t>(1, n) + kVecLanes<A> - 1) / kVecLanes<A> * kVecLanes<A>;
}

template <class A>
__attribute__((always_inline)) inline Vec<A> larger(const Vec<A>& a, const Vec<A>& b) {
  return a > b ? a : b;
}
template <class A>
__attribute__((always_inline)) inline Vec<A> smaller(const Vec<A>& a, const Vec<A>& b) {
  return a < b ? a : b;
}

// Intersection over union of the taken box with a vector of others; 0 if they do not overlap.
template <class A>
struct BoxSimilarity {
  std::vector<A> left, top, right, bottom, size, label;  // of each row, to whole vectors
  A pixel_offset;
  int64_t taken = 0;

  BoxSimilarity(const NmsBoxes<A>& entry, const std::vector<int64_t>& rows) : pixel_offset(entry.pixel_offset) {
    const auto n = static_cast<int64_t>(rows.size());
    const std::vector<int64_t> ranks = label_ranks(entry.labels, n);
    for (std::vector<A>* column : {&left, &top, &right, &bottom, &size, &label}) column->resize(whole_vectors<A>(n));
    for (int64_t i = 0; i < n; ++i) {
      const A* box = entry.boxes + 4 * rows[i];
      left[i] = box[0];
      top[i] = box[1];
      right[i] = box[2];
      bottom[i] = box[3];
      size[i] = (box[2] - box[0] + pixel_offset) * (box[3] - box[1] + pixel_offset);
      label[i] = static_cast<A>(ranks[rows[i]]);
    }
  }

  void take(int64_t row) { taken = row; }

  __attribute__((always_inline)) Vec<A> operator()(int64_t i) const {
    const Vec<A> none{};
    const Vec<A> width =
        smaller<A>(splat(right[taken]), load(&right[i])) - larger<A>(splat(left[taken]), load(&left[i])) + pixel_offset;
    const Vec<A> height =
        smaller<A>(splat(bottom[taken]), load(&bottom[i])) - larger<A>(splat(top[taken]), load(&top[i])) + pixel_offset;
    const Vec<A> shared = larger<A>(width, none) * larger<A>(height, none);
    const auto meets = (shared > none) & (load(&label[i]) == splat(label[taken]));
    return meets ? shared / (size[taken] + load(&size[i]) - shared) : none;
  }
};

// OKS of the taken pose with a vector of others.
template <class A>
struct PoseSimilarity {
  int64_t points, stride;
  std::vector<A> coordinates, area, scale;  // (K, 2, n), (n,), 1 / (8 sigma^2)
  int64_t taken = 0;

  PoseSimilarity(const NmsPoses<A>& entry, const std::vector<int64_t>& rows)
      : points(entry.count),
        stride(whole_vectors<A>(rows.size())),
        coordinates(2 * points * stride),
        area(stride, A(1)) {
    for (int64_t i = 0; i < static_cast<int64_t>(rows.size()); ++i) {
      for (int64_t c = 0; c < 2 * points; ++c) coordinates[c * stride + i] = entry.points[rows[i] * 2 * points + c];
      area[i] = entry.area[rows[i]];
    }
    for (int64_t k = 0; k < points; ++k) scale.push_back(1 / (8 * entry.sigmas[k] * entry.sigmas[k]));
  }

  void take(int64_t row) { taken = row; }

  __attribute__((always_inline)) Vec<A> operator()(int64_t i) const {
    const Vec<A> mean = (load(&area[i]) + area[taken]) * A(0.5) + A(kOksSpacing);
    const Vec<A> steepness = A(-1) / mean;
    Vec<A> sum{};
    for (int64_t k = 0; k < points; ++k) {
      const A *x = &coordinates[2 * k * stride], *y = x + stride;
      const Vec<A> dx = load(x + i) - x[taken], dy = load(y + i) - y[taken];
      sum += exp_to_one<A>((dx * dx + dy * dy) * (steepness * scale[k]));
    }
    return sum / A(points);
  }
};

// The current scores of all rows, -inf for those that were taken or dropped, and the row with the highest score.
template <class A, class Similarity>
struct NmsRound {
  using Mask = decltype(Vec<A>{} > Vec<A>{});
  static constexpr A kGone = -std::numeric_limits<A>::infinity();

  const NmsRule<A> rule;
  Similarity similarity;
  std::vector<A> scores;
  int64_t begin = 0, highest = 0;  // no row remains before `begin`

  NmsRound(const NmsRule<A>& rule_, Similarity similarity_, const A* given, const std::vector<int64_t>& rows)
      : rule(rule_), similarity(std::move(similarity_)), scores(whole_vectors<A>(rows.size()), kGone) {
    for (size_t i = 0; i < rows.size(); ++i) scores[i] = rule.drops(given[rows[i]]) ? kGone : given[rows[i]];
    find_highest([](const Vec<A>& score, int64_t) { return score; });
  }

  bool done() const { return scores[highest] == kGone; }

  // Takes the row with the highest score; returns it and its score.
  std::pair<int64_t, A> take() {
    const std::pair<int64_t, A> taken{highest, scores[highest]};
    scores[highest] = kGone;
    similarity.take(highest);
    const Vec<A> gone = splat(kGone);
    find_highest([&](const Vec<A>& score, int64_t i) {
      const Mask left = score != gone;
      if (!any(left)) return score;
      const Vec<A> s = similarity(i);
      Vec<A> decayed = score;
      if (rule.method == NmsMethod::kGaussian) {
        decayed = s == s ? score * exp_to_one<A>(s * s / -rule.sigma) : score;
      } else if (rule.method == NmsMethod::kLinear) {
        decayed = s > rule.threshold ? score * (A(1) - s) : score;
      } else {
        decayed = s > rule.threshold ? gone : score;
      }
      return left & ~(Mask)(decayed < rule.score_threshold) ? decayed : gone;
    });
    return taken;
  }

 private:
  // Replaces every score by update(score, row) and finds the first row with the highest score, with NaN above all.
  template <class Update>
  __attribute__((always_inline)) void find_highest(const Update& update) {
    const int64_t end = static_cast<int64_t>(scores.size());
    while (begin + kVecLanes<A> < end && all_gone(begin)) begin += kVecLanes<A>;
    Vec<A> best = splat(kGone);
    typename VecOf<A>::bits place{};
    for (int64_t i = begin; i < end; i += kVecLanes<A>) {
      const Vec<A> score = update(load(&scores[i]), i);
      store(&scores[i], score);
      const Mask above = (score > best) | ((score != score) & (best == best));
      best = above ? score : best;
      place = above ? place - place + static_cast<typename VecOf<A>::Bits>(i) : place;
    }
    highest = begin;
    for (int64_t l = 0; l < kVecLanes<A>; ++l) {
      const int64_t row = static_cast<int64_t>(place[l]) + l;
      const A score = best[l], held = scores[highest];
      const bool above = score > held || (score != score && held == held);
      const bool equal = score == held || (score != score && held != held);
      if (score != kGone && (above || (equal && row < highest))) highest = row;
    }
  }

  bool all_gone(int64_t i) const { return !any(Mask(load(&scores[i]) != splat(kGone))); }
};

template <class A>
BoxSimilarity<A> similarity_within(const NmsBoxes<A>& entry, const std::vector<int64_t>& rows) {
  return {entry, rows};
}
template <class A>
PoseSimilarity<A> similarity_within(const NmsPoses<A>& entry, const std::vector<int64_t>& rows) {
  return {entry, rows};
}

// Processes entries [begin, end) of a batch of boxes or poses. Rows are sorted by descending score, so that those taken
// early are at the front, where later rounds skip them.
template <class A, class Items>
void nms_entries(const NmsRule<A>& rule, const Items& all, const A* scores, int64_t n, const NmsResult<A>& to,
                 int64_t begin, int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const std::vector<int64_t> rows = rows_by_falling_score(scores + b * n, n);
    NmsRound round(rule, similarity_within<A>(nms_entry(all, b, n), rows), scores + b * n, rows);
    int64_t place = b * n;
    for (; !round.done(); ++place) {
      const auto [row, score] = round.take();
      to.order[place] = rows[row];
      to.rescored[place] = score;
    }
    to.taken[b] = place - b * n;
    std::fill(to.order + place, to.order + (b + 1) * n, -1);
    std::fill(to.rescored + place, to.rescored + (b + 1) * n, A(0));
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
