// CornerNet's decoding on the CPU: rankings, threads, registration. The maths is in decode_corners.h.
#include "decode_corners/decode_corners.h"

namespace pydlx {

// Keeps the best `count` of the items offered.
template <class A>
class Ranking {
 public:
  explicit Ranking(int64_t count) : count_(count) {}

  // The score of the lowest-ranked kept item, or -inf until the ranking is full.
  A last() const { return last_.score; }

  void offer(const Ranked<A>& candidate) {
    if (full_ && !candidate.above(last_)) return;
    kept_.push_back(candidate);
    if (static_cast<int64_t>(kept_.size()) >= 4 * count_ + 64) cut();
  }

  void include(const Ranking& other) {
    for (const Ranked<A>& candidate : other.kept_) offer(candidate);
  }

  // Truncates the ranking to the best `count` items and returns them in order.
  const std::vector<Ranked<A>>& sorted() {
    cut();
    std::sort(kept_.begin(), kept_.end(), is_above);
    return kept_;
  }

 private:
  static bool is_above(const Ranked<A>& a, const Ranked<A>& b) { return a.above(b); }

  void cut() {
    if (static_cast<int64_t>(kept_.size()) < count_) return;
    std::nth_element(kept_.begin(), kept_.begin() + (count_ - 1), kept_.end(), is_above);
    kept_.resize(count_);
    last_ = kept_.back();
    full_ = true;
  }

  int64_t count_;
  std::vector<Ranked<A>> kept_;
  bool full_ = false;
  Ranked<A> last_{-std::numeric_limits<A>::infinity(), 0};
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "decode_corners/decode_corners_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Pixels of a part, which one task takes, and the number of parts that is worth another thread.
constexpr int64_t kPartCells = 16384, kGrain = 4;

template <class T, class A>
std::vector<Corner<A>> corners_at(const DecodeTask& task, const DecodeCall::Maps& maps, int64_t entry,
                                  const std::vector<Ranked<A>>& cells) {
  std::vector<Corner<A>> corners;
  for (const Ranked<A>& cell : cells) corners.push_back(corner_at(task, corner_maps<T>(maps), entry, cell));
  return corners;
}

// Steps 3 and 4 for one batch entry. Most pairs are rejected; these tie, so they are already in order, and only the
// others are ranked.
template <class A>
void pair_corners(const DecodeTask& task, const std::vector<Corner<A>>& tl, const std::vector<Corner<A>>& br,
                  const DecodeResults<A>& results, int64_t first_row) {
  const int64_t count = task.corners, pairs = count * count;
  Ranking<A> best(task.rows);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < count; ++j) {
      if (!is_rejected(task, tl[i], br[j])) best.offer({mean_score(tl[i], br[j]), i * count + j});
    }
  }
  const std::vector<Ranked<A>>& accepted = best.sorted();
  auto next = accepted.begin();
  Ranked<A> rejected{kRejectedScore, -1};
  const auto find_rejected = [&] {
    do ++rejected.index;
    while (rejected.index < pairs && !is_rejected(task, tl[rejected.index / count], br[rejected.index % count]));
  };
  find_rejected();
  for (int64_t row = first_row; row < first_row + task.rows; ++row) {
    Ranked<A> pair = rejected;
    if (next != accepted.end() && (rejected.index == pairs || next->above(rejected))) {
      pair = *next++;
    } else {
      find_rejected();
    }
    results.write(row, tl[pair.index / count], br[pair.index % count], pair.score);
  }
}

template <class T>
void decode(const DecodeCall& call) {
  using A = accumulate_t<T>;
  const DecodeTask& task = call.task;
  const int64_t parts = (task.cells() + kPartCells - 1) / kPartCells;
  // One ranking per batch entry, kind of corner and part. A task uses the ranking of its first part of a map for all
  // its parts of that map.
  std::vector<Ranking<A>> best(task.batch * 2 * parts, Ranking<A>(task.corners));
  parallel_for(task.batch * 2 * parts, kGrain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t map = begin / parts, first = begin % parts, last = std::min(parts, first + end - begin);
      const T* heat = input_data<T>(map % 2 ? call.br.heat : call.tl.heat) + map / 2 * task.cells();
      PYDLX_SIMD_CALL(offer_cells<T>)(task, heat, first * kPartCells, std::min(task.cells(), last * kPartCells),
                                      best[begin]);
      begin += last - first;
    }
  });
  parallel_for(task.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t entry = begin; entry < end; ++entry) {
      const auto cells_of = [&](int64_t kind) -> const std::vector<Ranked<A>>& {
        Ranking<A>* of_parts = &best[(2 * entry + kind) * parts];
        for (int64_t part = 1; part < parts; ++part) of_parts[0].include(of_parts[part]);
        return of_parts[0].sorted();
      };
      pair_corners(task, corners_at<T>(task, call.tl, entry, cells_of(0)),
                   corners_at<T>(task, call.br, entry, cells_of(1)), call.results<A>(), entry * task.rows);
    }
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> decode_corners(const Tensor& heat_tl, const Tensor& heat_br,
                                                          const Tensor& tag_tl, const Tensor& tag_br,
                                                          const Tensor& offset_tl, const Tensor& offset_br,
                                                          int64_t top_k, int64_t kernel_size, double tag_threshold,
                                                          int64_t max_detections) {
  const DecodeCall call({heat_tl, tag_tl, offset_tl}, {heat_br, tag_br, offset_br}, top_k, kernel_size, tag_threshold,
                        max_detections);
  if (call.task.rows > 0) {
    dispatch_floating(heat_tl.scalar_type(), "decode_corners", [&](auto zero) { decode<decltype(zero)>(call); });
  }
  return call.outputs();
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("decode_corners", TORCH_BOX(&pydlx::decode_corners)); }
