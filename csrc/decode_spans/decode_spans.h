// The best spans of each row (as in DrQA, arXiv 1704.00051), from start scores s_i and end scores e_j. The span from
// token i to token j, both inclusive, has score s_i + e_j and is valid if
//
//     i <= j < i + max_length,  mask_i and mask_j,  s_i + e_j > -inf (so not NaN).
//
// Spans are sorted by descending score, ties by the smaller i, then the smaller j. Scores are compared after the
// addition, in float32 for 16-bit types, so spans with different ends may tie.
//
// Shapes: start, end (B, L) of one dtype, mask (B, L) of bool; results (B, top_k), int64: first and last tokens, -1
// if fewer spans are valid.
//
// Bytes: two scores per token must be read. A running maximum of the end scores over max_length tokens gives the best
// score of each start. Only when a start is chosen, its span's end and the start's next best span are searched for. No
// table of L x max_length scores is built.
//
// The running maximum is computed by doubling: windows of 1, 2, 4 .. tokens, each the maximum of two windows of half
// the size. That takes log2(max_length) passes that are parallel over tokens; a monotonic queue would take one pass,
// but a sequential one.
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

// Ranks above every span of a start: the value of `taken` in next_span before any span has been taken.
template <class A>
PYDLX_HOST_DEVICE Ranked<A> before_all() {
  return {std::numeric_limits<A>::infinity(), -1};
}

// The best span of one start that ranks below `taken`, with its end as index, among the ends begin, begin + stride, ..
// before `end`. The score is -inf if there is none.
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

// Calls widen(shift) for each step of the doubling, which joins every window with the one `shift` tokens later. The
// size doubles up to the largest power of two within `limit`; then two overlapping windows of that size cover the rest.
template <class Widen>
PYDLX_HOST_DEVICE void each_doubling(int64_t limit, const Widen& widen) {
  int64_t size = 1;
  for (; size <= limit / 2; size *= 2) widen(size);
  if (size < limit) widen(limit - size);
}

// The checked arguments and the output tensors of one call.
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
