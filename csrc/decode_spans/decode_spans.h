// The best spans of each row (DrQA's decode, arXiv 1704.00051), from the scores s_i of the tokens to begin one and e_j
// to end one. The span from i to j, both inclusive, scores s_i + e_j and counts where
//
//     i <= j < i + max_length,  mask_i and mask_j,  s_i + e_j > -inf, which NaN is not.
//
// Order: by falling score, of equals by the smaller i, then the smaller j. Scores are compared as they are after the
// addition, in float32 for 16-bit types: two ends that differ may score the same.
//
// Shapes: start, end (B, L) of one dtype, mask (B, L) of bool; results (B, top_k), int64: first and last tokens, -1
// where fewer spans count.
//
// All that must be read are two scores per token. A running maximum of the ends over max_length tokens gives the best
// score that each start can have; the end that has it is looked for only where a start is chosen, and so is what comes
// next among the spans of that start. No table of L x max_length scores is made.
//
// The running maximum is taken by doubling: windows of 1, 2, 4 .. tokens, each the maximum of two of half its size.
// That takes log2(max_length) passes, in which every lane or thread has a token of its own; a queue of candidates would
// take one, token by token, each waiting for the one before.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/ranked.h"
#include "common/tensor_utils.h"

namespace pydlx {

struct SpanTask {
  int64_t batch, length;
  int64_t limit;  // tokens of the longest span, at most `length`
  int64_t spans;  // top_k

  PYDLX_HOST_DEVICE int64_t window_end(int64_t first) const { return length - first > limit ? first + limit : length; }
};

template <class A>
constexpr A kNoSpan = -std::numeric_limits<A>::infinity();

// Above all spans of a start, none of which has been taken.
template <class A>
PYDLX_HOST_DEVICE Ranked<A> before_all() {
  return {std::numeric_limits<A>::infinity(), -1};
}

// The best of the spans of one start that rank below `taken`, with their ends for an index: of ends from `begin` on,
// `stride` apart. A score of -inf says that there is none.
template <class A>
PYDLX_HOST_DEVICE Ranked<A> next_span(A start, const A* ends, int64_t begin, int64_t end, int64_t stride,
                                      const Ranked<A>& taken) {
  Ranked<A> best{kNoSpan<A>, -1};
  for (int64_t last = begin; last < end; last += stride) {
    const Ranked<A> span{start + ends[last], last};
    if (span.score > best.score && taken.above(span)) best = span;
  }
  return best;
}

// The windows' sizes double up to the largest power of two that fits; two of that size, which overlap, make the whole.
// Calls widen(shift) for each step: to every window is added the one that begins `shift` tokens later.
template <class Widen>
PYDLX_HOST_DEVICE void each_doubling(int64_t limit, const Widen& widen) {
  int64_t size = 1;
  for (; size <= limit / 2; size *= 2) widen(size);
  if (size < limit) widen(limit - size);
}

// One call's arguments, checked, and its results, to be written.
struct SpanCall {
  SpanTask task;
  Tensor start, end;
  std::optional<Tensor> mask;
  Tensor first, last;

  SpanCall(const Tensor& start_, const Tensor& end_, const std::optional<Tensor>& mask_, int64_t max_length,
           int64_t top_k) {
    const Arguments arguments("decode_spans", "start", start_);
    arguments.check_shape("start", start_, {kAnySize, kAnySize});
    arguments.check_alike("end", end_);
    if (mask_) arguments.check("mask", *mask_, ScalarType::Bool, start_.sizes());
    arguments.check_positive("max_length", max_length);
    arguments.check_positive("top_k", top_k);
    start = made_contiguous(start_);
    end = made_contiguous(end_);
    if (mask_) mask = made_contiguous(*mask_);
    task = {start.size(0), start.size(1), std::min(max_length, start.size(1)), top_k};
    first = uninitialised(start, {task.batch, task.spans}, ScalarType::Long);
    last = uninitialised(start, {task.batch, task.spans}, ScalarType::Long);
  }

  const bool* allowed() const { return mask ? input_data<bool>(*mask) : nullptr; }
};

}  // namespace pydlx
