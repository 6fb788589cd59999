// Matching and precision curves on the CPU. The rules are in match_detections.h.
#include "match_detections/match_detections.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "common/checks.h"
#include "common/falling_order.h"
#include "common/tensor_utils.h"

namespace pydlx {
namespace {

// Outcomes that are worth another thread, some milliseconds' work. Less is done sooner by one thread, which waits for
// no other, on a machine where others are busy too.
constexpr int64_t kGrain = int64_t{1} << 23;

struct Rows {
  const double* similarity;
  const double* scores;
  const int64_t* detections;  // offsets
  const int64_t* truths;
  const bool* outside;
  const bool* ignored;
  const bool* crowd;
  const bool* unrecorded;
  int64_t detection_count, truth_count, areas;
};

struct Group {
  int64_t detection, detections, truth, truths;  // first row and number of rows, of detections and of truths
  const double* similarity;
};

// A thread's buffers, reused for each group.
struct Scratch {
  std::vector<int64_t> turns;      // detections of the group by falling score
  std::vector<int64_t> hopefuls;   // those of them that some truth is similar enough to, for the lowest threshold
  std::vector<double> nearest;     // the largest similarity of each of these
  std::vector<uint8_t> unmatched;  // the outcomes of the group's detections where none is matched
  std::vector<int64_t> order;      // truths of the group, those that count first
  std::vector<char> taken;
  FallingOrder falling;
};

void take_turns(const Rows& rows, const Group& group, int64_t limit, int64_t* rank, Scratch& scratch) {
  std::vector<int64_t>& turns = scratch.turns;
  turns.resize(group.detections);
  std::iota(turns.begin(), turns.end(), group.detection);
  scratch.falling.sort(rows.scores, turns);
  for (int64_t place = 0; place < group.detections; ++place) rank[turns[place]] = place;
  if (group.detections > limit) turns.resize(limit);
}

// Most detections are similar to no truth, at any threshold; they are not looked at again.
void find_hopefuls(const Group& group, double least, Scratch& scratch) {
  scratch.hopefuls.clear();
  scratch.nearest.clear();
  for (const int64_t detection : scratch.turns) {
    const double* similarity = group.similarity + (detection - group.detection) * group.truths;
    double nearest = -std::numeric_limits<double>::infinity();
    for (int64_t truth = 0; truth < group.truths; ++truth) {
      if (similarity[truth] > nearest) nearest = similarity[truth];  // NaN is not
    }
    if (!(nearest >= least)) continue;
    scratch.hopefuls.push_back(detection);
    scratch.nearest.push_back(nearest);
  }
}

// Puts the truths that count first; returns their number.
int64_t order_truths(const Group& group, const bool* ignored, std::vector<int64_t>& order) {
  order.resize(group.truths);
  std::iota(order.begin(), order.end(), 0);
  const auto middle =
      std::stable_partition(order.begin(), order.end(), [&](int64_t truth) { return !ignored[group.truth + truth]; });
  return middle - order.begin();
}

// The truth that matches a detection with these similarities, as its index in `order`, or -1.
int64_t best_truth(const double* similarity, const bool* crowd, const Scratch& scratch, int64_t counting,
                   double threshold) {
  double best = threshold;
  int64_t found = -1;
  const auto count = static_cast<int64_t>(scratch.order.size());
  for (int64_t place = 0; place < count; ++place) {
    if (place == counting && found >= 0) break;
    const int64_t truth = scratch.order[place];
    if (scratch.taken[place] && !crowd[truth]) continue;
    if (!(similarity[truth] >= best)) continue;  // also if NaN
    best = similarity[truth];
    found = place;
  }
  return found;
}

void match_group(const Rows& rows, const Group& group, int64_t area, double threshold, int64_t counting,
                 Scratch& scratch, uint8_t* outcome) {
  scratch.taken.assign(group.truths, 0);
  const bool* outside = rows.outside + area * rows.detection_count;
  for (size_t i = 0; i < scratch.hopefuls.size(); ++i) {
    if (scratch.nearest[i] < threshold) continue;
    const int64_t detection = scratch.hopefuls[i];
    const double* similarity = group.similarity + (detection - group.detection) * group.truths;
    const int64_t place = best_truth(similarity, rows.crowd + group.truth, scratch, counting, threshold);
    if (place < 0) continue;
    const bool matched = !(rows.unrecorded && rows.unrecorded[group.truth + scratch.order[place]]);
    scratch.taken[place] = 1;
    if (place >= counting || (!matched && outside[detection])) {
      outcome[detection] = kIgnored;
    } else {
      outcome[detection] = matched ? kTrue : kFalse;
    }
  }
}

// What becomes of the group's detections where none is matched; those past the limit are ignored.
void leave_unmatched(const Rows& rows, const Group& group, int64_t area, Scratch& scratch) {
  scratch.unmatched.assign(group.detections, kIgnored);
  const bool* outside = rows.outside + area * rows.detection_count;
  for (const int64_t detection : scratch.turns) {
    if (!outside[detection]) scratch.unmatched[detection - group.detection] = kFalse;
  }
}

struct Thresholds {
  std::vector<double> values;
  double least;

  Thresholds(const double* given, int64_t count) : values(given, given + count), least(1) {
    for (double& value : values) {
      value = std::min(value, 1 - 1e-10);
      least = std::min(least, value);
    }
  }
};

void match_groups(const Rows& rows, const std::vector<int64_t>& pairs, const Thresholds& thresholds, int64_t limit,
                  int64_t begin, int64_t end, uint8_t* outcome, int64_t* rank) {
  Scratch scratch;
  const auto count = static_cast<int64_t>(thresholds.values.size());
  for (int64_t i = begin; i < end; ++i) {
    const Group group{rows.detections[i], rows.detections[i + 1] - rows.detections[i], rows.truths[i],
                      rows.truths[i + 1] - rows.truths[i], rows.similarity + pairs[i]};
    take_turns(rows, group, limit, rank, scratch);
    find_hopefuls(group, thresholds.least, scratch);
    const double most =
        scratch.nearest.empty() ? -1 : *std::max_element(scratch.nearest.begin(), scratch.nearest.end());
    for (int64_t area = 0; area < rows.areas; ++area) {
      leave_unmatched(rows, group, area, scratch);
      const int64_t counting =
          scratch.hopefuls.empty() ? 0 : order_truths(group, rows.ignored + area * rows.truth_count, scratch.order);
      for (int64_t t = 0; t < count; ++t) {
        uint8_t* outcomes = outcome + (area * count + t) * rows.detection_count;
        std::copy(scratch.unmatched.begin(), scratch.unmatched.end(), outcomes + group.detection);
        if (most < thresholds.values[t] || scratch.hopefuls.empty()) continue;
        match_group(rows, group, area, thresholds.values[t], counting, scratch, outcomes);
      }
    }
  }
}

// Owns contiguous versions of the inputs, for the pointers in Rows.
struct MatchInput {
  Tensor similarity, scores, detection_offsets, truth_offsets, outside, ignored, crowd, thresholds;
  std::optional<Tensor> unrecorded;
  std::vector<int64_t> pairs;  // offset of each group in `similarity`, and at the end the total

  MatchInput(const Tensor& similarity_, const Tensor& scores_, const Tensor& detection_offsets_,
             const Tensor& truth_offsets_, const Tensor& outside_, const Tensor& ignored_, const Tensor& crowd_,
             const std::optional<Tensor>& unrecorded_, const Tensor& thresholds_)
      : similarity(made_contiguous(similarity_)),
        scores(made_contiguous(scores_)),
        detection_offsets(made_contiguous(detection_offsets_)),
        truth_offsets(made_contiguous(truth_offsets_)),
        outside(made_contiguous(outside_)),
        ignored(made_contiguous(ignored_)),
        crowd(made_contiguous(crowd_)),
        thresholds(made_contiguous(thresholds_)) {
    if (unrecorded_) unrecorded = made_contiguous(*unrecorded_);
    const Arguments arguments("match_detections", "scores", scores);
    arguments.check("scores", scores, ScalarType::Double, {kAnySize});
    arguments.check("truth_crowd", crowd, ScalarType::Bool, {kAnySize});
    const int64_t detections = scores.size(0), truths = crowd.size(0);
    arguments.check_offsets("detection_offsets", detection_offsets, detections);
    arguments.check_offsets("truth_offsets", truth_offsets, truths);
    arguments.check_shape("truth_offsets", truth_offsets, detection_offsets.sizes());
    find_pairs();
    arguments.check("similarity", similarity, ScalarType::Double, {pairs.back()});
    arguments.check("detection_outside", outside, ScalarType::Bool, {kAnySize, detections});
    arguments.check("truth_ignored", ignored, ScalarType::Bool, {outside.size(0), truths});
    if (unrecorded) arguments.check("truth_unrecorded", *unrecorded, ScalarType::Bool, {truths});
    arguments.check("thresholds", thresholds, ScalarType::Double, {kAnySize});
  }

  Rows rows() const {
    return {input_data<double>(similarity),
            input_data<double>(scores),
            input_data<int64_t>(detection_offsets),
            input_data<int64_t>(truth_offsets),
            input_data<bool>(outside),
            input_data<bool>(ignored),
            input_data<bool>(crowd),
            unrecorded ? input_data<bool>(*unrecorded) : nullptr,
            scores.numel(),
            crowd.numel(),
            outside.size(0)};
  }

 private:
  void find_pairs() {
    const auto *d = input_data<int64_t>(detection_offsets), *g = input_data<int64_t>(truth_offsets);
    pairs.assign(detection_offsets.numel(), 0);
    for (size_t i = 1; i < pairs.size(); ++i) pairs[i] = pairs[i - 1] + (d[i] - d[i - 1]) * (g[i] - g[i - 1]);
  }
};

std::tuple<Tensor, Tensor> match_detections(const Tensor& similarity, const Tensor& scores,
                                            const Tensor& detection_offsets, const Tensor& truth_offsets,
                                            const Tensor& detection_outside, const Tensor& truth_ignored,
                                            const Tensor& truth_crowd, const std::optional<Tensor> truth_unrecorded,
                                            const Tensor& thresholds, int64_t max_detections) {
  const MatchInput input(similarity, scores, detection_offsets, truth_offsets, detection_outside, truth_ignored,
                         truth_crowd, truth_unrecorded, thresholds);
  STD_TORCH_CHECK(max_detections >= 0, "match_detections: max_detections must not be negative, got ", max_detections);
  const Rows rows = input.rows();
  const int64_t groups = detection_offsets.numel() - 1, count = thresholds.numel();
  Tensor outcome = uninitialised(scores, {rows.areas, count, rows.detection_count}, ScalarType::Byte);
  Tensor rank = uninitialised(scores, {rows.detection_count}, ScalarType::Long);
  auto* outcomes = output_data<uint8_t>(outcome);
  auto* ranks = output_data<int64_t>(rank);
  const Thresholds limits(input_data<double>(input.thresholds), count);
  const int64_t cost =
      1 + rows.areas * count * (rows.detection_count + input.pairs.back()) / std::max<int64_t>(1, groups);
  parallel_for(groups, kGrain / cost, [&](int64_t begin, int64_t end) {
    match_groups(rows, input.pairs, limits, max_detections, begin, end, outcomes, ranks);
  });
  return {outcome, rank};
}

// For each limit the category's detections that count, by falling score.
std::vector<std::vector<int64_t>> by_falling_score(const double* scores, const int64_t* rank,
                                                   const std::vector<int64_t>& limits, int64_t begin, int64_t end) {
  const int64_t most = *std::max_element(limits.begin(), limits.end());
  std::vector<int64_t> all;
  all.reserve(end - begin);
  for (int64_t row = begin; row < end; ++row) {
    if (rank[row] < most) all.push_back(row);
  }
  FallingOrder().sort(scores, all);
  std::vector<std::vector<int64_t>> orders(limits.size());
  for (size_t m = 0; m < limits.size(); ++m) {
    if (limits[m] == most) {
      orders[m] = all;
      continue;
    }
    std::copy_if(all.begin(), all.end(), std::back_inserter(orders[m]),
                 [&](int64_t row) { return rank[row] < limits[m]; });
  }
  return orders;
}

// One curve, with an entry for each true positive: the precision there (as a running maximum from the right) and the
// score.
struct Curve {
  std::vector<double> precision;
  std::vector<int64_t> row, wrong;  // of the detections that found a truth, how many wrong ones came before each
  int64_t found;

  void follow(const std::vector<int64_t>& rows, const uint8_t* outcome) {
    row.resize(rows.size() + 1);
    wrong.resize(rows.size() + 1);
    found = 0;
    int64_t false_ones = 0;
    for (const int64_t detection : rows) {  // without a branch, which would go either way
      row[found] = detection;
      wrong[found] = false_ones;
      found += outcome[detection] == kTrue;
      false_ones += outcome[detection] == kFalse;
    }
    precision.resize(found);
    double best = 0;
    for (int64_t i = found - 1; i >= 0; --i) {
      const auto right = static_cast<double>(i + 1);
      best = std::max(best, right / (static_cast<double>(wrong[i]) + right + std::numeric_limits<double>::epsilon()));
      precision[i] = best;
    }
  }
};

void check_curves(const Tensor& outcome, const Tensor& rank, const Tensor& scores, const Tensor& category_offsets,
                  const Tensor& positives, const Tensor& recall_thresholds,
                  const std::vector<int64_t>& max_detections) {
  const Arguments arguments("precision_curves", "scores", scores);
  arguments.check("scores", scores, ScalarType::Double, {kAnySize});
  const int64_t detections = scores.size(0);
  arguments.check("outcome", outcome, ScalarType::Byte, {kAnySize, kAnySize, detections});
  arguments.check("rank", rank, ScalarType::Long, {detections});
  arguments.check_offsets("category_offsets", category_offsets, detections);
  arguments.check("positives", positives, ScalarType::Long, {outcome.size(0), category_offsets.size(0) - 1});
  arguments.check("recall_thresholds", recall_thresholds, ScalarType::Double, {kAnySize});
  STD_TORCH_CHECK(!max_detections.empty(), "precision_curves: max_detections must hold at least one limit, got none");
}

std::tuple<Tensor, Tensor, Tensor> precision_curves(const Tensor& outcome_, const Tensor& rank_, const Tensor& scores_,
                                                    const Tensor& category_offsets_, const Tensor& positives_,
                                                    const Tensor& recall_thresholds_,
                                                    const std::vector<int64_t> max_detections) {
  check_curves(outcome_, rank_, scores_, category_offsets_, positives_, recall_thresholds_, max_detections);
  const Tensor outcome = made_contiguous(outcome_), rank = made_contiguous(rank_), scores = made_contiguous(scores_);
  const Tensor category_offsets = made_contiguous(category_offsets_), positives = made_contiguous(positives_);
  const Tensor recall_thresholds = made_contiguous(recall_thresholds_);
  const int64_t areas = outcome.size(0), count = outcome.size(1), detections = outcome.size(2);
  const int64_t categories = category_offsets.numel() - 1, samples = recall_thresholds.numel();
  const auto limits = static_cast<int64_t>(max_detections.size());
  Tensor precision = uninitialised(scores, {count, samples, categories, areas, limits});
  Tensor score = uninitialised(scores, {count, samples, categories, areas, limits});
  Tensor recall = uninitialised(scores, {count, categories, areas, limits});
  torch::stable::fill_(precision, -1);
  torch::stable::fill_(score, -1);
  torch::stable::fill_(recall, -1);

  const auto* score_of = input_data<double>(scores);
  const auto* place = input_data<int64_t>(rank);
  const auto* offsets = input_data<int64_t>(category_offsets);
  std::vector<std::vector<std::vector<int64_t>>> orders(categories);
  const int64_t rows_each = 1 + detections / std::max<int64_t>(1, categories);
  parallel_for(categories, kGrain / (8 * rows_each), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      orders[c] = by_falling_score(score_of, place, max_detections, offsets[c], offsets[c + 1]);
    }
  });

  const auto* outcomes = input_data<uint8_t>(outcome);
  const auto* wanted = input_data<double>(recall_thresholds);
  auto *precisions = output_data<double>(precision), *recalls = output_data<double>(recall),
       *at_score = output_data<double>(score);
  parallel_for(categories * areas * count, kGrain / (limits * rows_each), [&](int64_t begin, int64_t end) {
    Curve curve;
    for (int64_t task = begin; task < end; ++task) {
      // Area ranges are neighbours in the results, so that one after the other finds their memory in the cache.
      const int64_t c = task / (areas * count), t = task / areas % count, a = task % areas;
      const auto all = static_cast<double>(input_data<int64_t>(positives)[a * categories + c]);
      if (all == 0) continue;
      for (int64_t m = 0; m < limits; ++m) {
        const std::vector<int64_t>& order = orders[c][m];
        curve.follow(order, outcomes + (a * count + t) * detections);
        const double top_score = order.empty() ? 0 : score_of[order.front()];
        recalls[((t * categories + c) * areas + a) * limits + m] = static_cast<double>(curve.found) / all;
        for (int64_t r = 0, i = 0; r < samples; ++r) {
          while (i < curve.found && static_cast<double>(i + 1) / all < wanted[r]) ++i;
          const int64_t to = (((t * samples + r) * categories + c) * areas + a) * limits + m;
          precisions[to] = i < curve.found ? curve.precision[i] : 0;
          at_score[to] = wanted[r] <= 0 ? top_score : i < curve.found ? score_of[curve.row[i]] : 0;
        }
      }
    }
  });
  return {precision, recall, score};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("match_detections", TORCH_BOX(&pydlx::match_detections));
  m.impl("precision_curves", TORCH_BOX(&pydlx::precision_curves));
}
