// The best spans of rows on the CPU, with lanes over tokens. Included once per instruction set by decode_spans_cpu.cpp,
// which includes every header this needs.

#include "common/widen_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Copies a row's scores, -inf where not allowed. `to` has space for one vector more than the row, which becomes -inf.
template <class T>
void read_usable(const T* from, const bool* allowed, int64_t length, accumulate_t<T>* to) {
  using A = accumulate_t<T>;
  const Vec<A> none = splat(kNoSpan<A>);
  for_vectors<T>(length, false, [&](int64_t at, const auto& vector) {
    const Vec<A> score = vector.load(from + at);
    store(to + at, Vec<A>(score > none ? score : none));
  });
  store(to + length, none);
  for (int64_t i = 0; allowed && i < length; ++i) to[i] = allowed[i] ? to[i] : kNoSpan<A>;
}

// In place: only elements at or after the current one are read, which have not been widened yet. Past the row is -inf.
template <class A>
void widen_windows(A* best, int64_t length, int64_t shift) {
  for (int64_t at = 0; at < length - shift; at += kVecLanes<A>) {
    const Vec<A> own = load(best + at), later = load(best + at + shift);
    store(best + at, Vec<A>(later > own ? later : own));
  }
}

// Adds each start's score to the best end of its window. inf - inf gives NaN, which is not a valid span's score.
template <class A>
void add_starts(const A* starts, A* best, int64_t length) {
  for (int64_t at = 0; at < length; at += kVecLanes<A>) store(best + at, Vec<A>(load(starts + at) + load(best + at)));
}

// The largest element, ignoring NaN; the -inf past the row does not matter.
template <class A>
A largest(const A* best, int64_t length) {
  Vec<A> most = splat(kNoSpan<A>);
  for (int64_t at = 0; at < length; at += kVecLanes<A>) {
    const Vec<A> own = load(best + at);
    most = own > most ? own : most;
  }
  return largest_of_lanes<A>(most);
}

// Rows [begin, end).
template <class T>
void decode_rows(const SpanTask& task, const T* start, const T* end, const bool* mask, int64_t* first, int64_t* last,
                 int64_t begin_row, int64_t end_row) {
  using A = accumulate_t<T>;
  const int64_t room = (task.length / kVecLanes<A> + 2) * kVecLanes<A>;
  const Workspace space(3 * room * sizeof(A));
  A *const starts = space.as<A>(), *const ends = starts + room, *const best = ends + room;
  SpanQueue<A> queue;
  for (int64_t row = begin_row; row < end_row; ++row) {
    const bool* allowed = mask ? mask + row * task.length : nullptr;
    read_usable(start + row * task.length, allowed, task.length, starts);
    read_usable(end + row * task.length, allowed, task.length, ends);
    std::copy_n(ends, task.length + kVecLanes<A>, best);
    each_doubling(task.limit, [&](int64_t shift) { widen_windows(best, task.length, shift); });
    add_starts(starts, best, task.length);
    const A top = largest(best, task.length);
    queue.clear();
    if (task.spans > 1) {
      queue.fill(best, task.length);
    } else if (top > kNoSpan<A>) {
      queue.fill_with(std::find(best, best + task.length, top) - best, top);
    }
    queue.take(task, starts, ends, first + row * task.spans, last + row * task.spans);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
