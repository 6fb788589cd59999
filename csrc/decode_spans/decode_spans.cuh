// Decoding of spans on CUDA, one block per row. The maths is in decode_spans.h.
//
// Bytes: start and end are read once. The row is then in a workspace, mostly in the caches: it is read and written in
// log2(max_length) passes, and read once more for each of the top_k spans.
#pragma once

#include "common/ranked.cuh"
#include "decode_spans/decode_spans.h"

namespace pydlx {

constexpr int kSpanThreads = 128;

// A token's score if it may start or end a span, else -inf.
template <class A>
__device__ inline A usable(A score, bool allowed) {
  return allowed && score > kNoSpan<A> ? score : kNoSpan<A>;
}

// A block's data of its row, (L,) each: the usable scores, the best score among each start's remaining spans, and the
// end of that span, or -1 until it is computed.
template <class A>
struct SpanRow {
  A *starts, *ends, *best;
  int64_t* at;

  PYDLX_HOST_DEVICE SpanRow(A* scores, int64_t* ends_found, int64_t block, int64_t length)
      : starts(scores + 3 * block * length),
        ends(starts + length),
        best(ends + length),
        at(ends_found + block * length) {}
};

// In place: an iteration of the block reads only elements at or after its own, which earlier iterations have not
// written.
template <class A>
__device__ inline void widen_windows(A* best, int64_t length, int64_t shift) {
  __syncthreads();
  for (int64_t first = 0; first < length - shift; first += kSpanThreads) {
    const int64_t token = first + threadIdx.x;
    const bool given = token < length - shift;
    const A own = given ? best[token] : A(0), later = given ? best[token + shift] : A(0);
    __syncthreads();
    if (given && later > own) best[token] = later;
  }
}

template <class T>
__global__ void decode_spans_kernel(SpanTask task, const T* __restrict__ start, const T* __restrict__ end,
                                    const bool* __restrict__ mask, accumulate_t<T>* scores, int64_t* ends_found,
                                    int64_t* __restrict__ first, int64_t* __restrict__ last) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(Ranked<A>, found, kSpanThreads / kWarp);
  const SpanRow<A> row(scores, ends_found, blockIdx.x, task.length);
  for (int64_t entry = blockIdx.x; entry < task.batch; entry += gridDim.x) {
    __syncthreads();  // wait until the previous row is done
    for (int64_t token = threadIdx.x; token < task.length; token += kSpanThreads) {
      const int64_t place = entry * task.length + token;
      const bool allowed = !mask || mask[place];
      row.starts[token] = usable(static_cast<A>(start[place]), allowed);
      row.best[token] = row.ends[token] = usable(static_cast<A>(end[place]), allowed);
      row.at[token] = -1;
    }
    each_doubling(task.limit, [&](int64_t shift) { widen_windows(row.best, task.length, shift); });
    __syncthreads();
    for (int64_t token = threadIdx.x; token < task.length; token += kSpanThreads) {
      row.best[token] = usable(row.starts[token] + row.best[token], true);
    }
    int64_t rank = 0;
    for (; rank < task.spans; ++rank) {
      __syncthreads();
      Ranked<A> mine{kNoSpan<A>, task.length};
      for (int64_t token = threadIdx.x; token < task.length; token += kSpanThreads) {
        if (row.best[token] > mine.score) mine = {row.best[token], token};
      }
      const Ranked<A> chosen = highest_of_block<kSpanThreads>(mine, found);
      if (!(chosen.score > kNoSpan<A>)) break;
      const int64_t from = chosen.index;
      const auto below = [&](const Ranked<A>& taken) {
        const Ranked<A> own =
            next_span(row.starts[from], row.ends, from + threadIdx.x, task.window_end(from), kSpanThreads, taken);
        return highest_of_block<kSpanThreads>(own, found);
      };
      const int64_t known = row.at[from];
      const Ranked<A> span = known < 0 ? below(before_all<A>()) : Ranked<A>{chosen.score, known};
      const Ranked<A> left = below(span);
      if (threadIdx.x == 0) {
        first[entry * task.spans + rank] = from;
        last[entry * task.spans + rank] = span.index;
        row.best[from] = left.score;
        row.at[from] = left.index;
      }
    }
    for (rank += threadIdx.x; rank < task.spans; rank += kSpanThreads) {
      first[entry * task.spans + rank] = last[entry * task.spans + rank] = -1;
    }
  }
}

}  // namespace pydlx
