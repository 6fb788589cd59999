// Decoding of spans on the CPU: the queue of starts, threads, registration. The maths is in decode_spans.h, the loops
// in decode_spans_cpu_simd.h.
#include "decode_spans/decode_spans.h"

#include "common/workspace.h"

namespace pydlx {

// A heap of a row's starts, each with its best remaining span; the start with the best one is on top.
template <class A>
class SpanQueue {
 public:
  void clear() { starts_.clear(); }

  // Adds all starts that have a valid span; best[i] is the best score of start i.
  void fill(const A* best, int64_t length) {
    for (int64_t i = 0; i < length; ++i) {
      if (best[i] > kNoSpan<A>) starts_.push_back({best[i], i, kUnknown});
    }
    std::make_heap(starts_.begin(), starts_.end(), is_below);
  }

  // Adds only the best start; sufficient if one span is wanted.
  void fill_with(int64_t first, A score) { starts_.push_back({score, first, kUnknown}); }

  // Writes the best spans in order, then -1.
  void take(const SpanTask& task, const A* starts, const A* ends, int64_t* first, int64_t* last) {
    for (int64_t i = 0; i < task.spans; ++i) {
      first[i] = last[i] = -1;
      if (starts_.empty()) continue;
      std::pop_heap(starts_.begin(), starts_.end(), is_below);
      const Start next = starts_.back();
      starts_.pop_back();
      const auto below = [&](const Ranked<A>& taken) {
        return next_span(starts[next.first], ends, next.first, task.window_end(next.first), 1, taken);
      };
      const Ranked<A> span = next.last == kUnknown ? below(before_all<A>()) : Ranked<A>{next.score, next.last};
      first[i] = next.first;
      last[i] = span.index;
      if (i + 1 == task.spans) return;
      const Ranked<A> left = below(span);
      if (left.index < 0) continue;
      starts_.push_back({left.score, next.first, left.index});
      std::push_heap(starts_.begin(), starts_.end(), is_below);
    }
  }

 private:
  static constexpr int64_t kUnknown = -1;

  struct Start {
    A score;
    int64_t first, last;  // kUnknown until the start has been chosen once
  };

  static bool is_below(const Start& a, const Start& b) {
    return a.score < b.score || (a.score == b.score && a.first > b.first);
  }

  std::vector<Start> starts_;
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "decode_spans/decode_spans_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The least number of tokens per thread.
constexpr int64_t kGrain = 32768;

std::tuple<Tensor, Tensor> decode_spans(const Tensor& start, const Tensor& end, const std::optional<Tensor> mask,
                                        int64_t max_length, int64_t top_k) {
  const SpanCall call(start, end, mask, max_length, top_k);
  dispatch_floating(start.scalar_type(), "decode_spans", [&](auto zero) {
    using T = decltype(zero);
    const int64_t cost = std::max<int64_t>(1, call.task.length);
    parallel_for(call.task.batch, kGrain / cost, [&](int64_t begin_row, int64_t end_row) {
      PYDLX_SIMD_CALL(decode_rows<T>)(call.task, input_data<T>(call.start), input_data<T>(call.end), call.allowed(),
                                      output_data<int64_t>(call.first), output_data<int64_t>(call.last), begin_row,
                                      end_row);
    });
  });
  return {call.first, call.last};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("decode_spans", TORCH_BOX(&pydlx::decode_spans)); }
