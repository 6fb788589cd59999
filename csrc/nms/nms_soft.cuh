// Soft suppression on CUDA: one block per batch entry, which in each round takes many rows from a window.
//
// Positive scores only decrease. So if a window has all rows above some score (the cut), then as long as its highest
// row is still above the cut, that row is the highest of all. A round consists of
//
//     scan     every thread lowers its rows' scores by the rows taken in the previous round, and finds its two highest
//              rows
//     cut      chooses the cut: the highest of all threads' second rows, or a higher score, found by bisection, that
//              leaves at most kNmsWindow rows. So no thread has more than one row in the window
//     compare  all threads compute, for all pairs of the window, the factor of one row's score if the other is taken
//     take     the first warp, with two rows per lane, takes one row after another; each needs a maximum over the warp
//              and one read of shared memory
//
// and takes about 20 to 40 rows. The result is exact: every score is multiplied by the same factors in the same order
// as if rows were taken one by one. Negative scores may increase and infinite ones become NaN; while there are any, a
// round takes one row.
//
// With many rows, scans cost most: n^2 / 2 comparisons in total. They first test whether boxes overlap, for 32 taken
// rows at a time, with 4 comparisons and no branch, and then compute factors only for the few that do.
#pragma once

#include "nms/nms.cuh"

namespace pydlx {

constexpr int kNmsWindow = 64;       // most rows of a window: two per lane
constexpr int kNmsWindowLeast = 24;  // fewest rows of a window, if enough remain

// The factor of a score whose row has similarity s with a taken row.
template <class A>
__device__ inline A decay_factor(const NmsRule<A>& rule, A s) {
  if (rule.method == NmsMethod::kLinear) return s > rule.threshold ? 1 - s : A(1);
  return s > 0 ? exp(s * s * rule.steepness) : A(1);
}

template <class A>
__device__ inline A decayed(const NmsRule<A>& rule, A score, A factor) {
  const A result = score * factor;
  return rule.drops(result) ? -A(INFINITY) : result;
}

// A round's window, in shared memory.
template <class A, class Items>
struct NmsWindow {
  A factor[kNmsWindow][kNmsWindow];
  int found[kNmsWindow];  // ranks of the window's rows, unordered
  int count;
  int place[kNmsWindow];  // ranks of the window's rows, ascending; score and items likewise
  A score[kNmsWindow];
  typename Items::Item items[kNmsWindow];
  // The rows taken, in order.
  int taken;
  int slot[kNmsWindow];
  typename Items::Reach reach[kNmsWindow];
};

// A thread's two highest remaining rows. If a thread has a score that may increase, its `second` is set above all
// scores, which limits the window to one row.
template <class K>
struct NmsHighest {
  Keyed<K> first{0, INT32_MAX}, second{0, INT32_MAX};

  __device__ void add(const Keyed<K>& row) {
    if (row.above(first)) {
      second = first;
      first = row;
    } else if (row.above(second)) {
      second = row;
    }
  }
  __device__ void forbid() { second = {~K{0}, -1}; }
};

// Lowers this thread's rows by the rows that the previous round took, except the one that was in its window, and finds
// the two highest.
template <class A, class Items>
__device__ inline NmsHighest<ordered_key_t<A>> scan_rows(const NmsRule<A>& rule, const Items& entry,
                                                         const NmsWindow<A, Items>& window, int n, int in_window,
                                                         A* left) {
  const A gone = -A(INFINITY);
  NmsHighest<ordered_key_t<A>> highest;
  bool may_rise = false;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    A score = left[i];
    if (score == gone) continue;
    if (i != in_window) {
      if (rule.drops(score)) score = gone;
      const auto item = entry.at(i);
      for (int first = 0; first < window.taken; first += 32) {
        const int count = min(32, window.taken - first);
        unsigned touched = 0;
#pragma unroll 4
        for (int t = 0; t < count; ++t) {
          if (entry.touches(window.reach[first + t], item)) touched |= 1u << t;
        }
        for (; touched != 0 && score != gone; touched &= touched - 1) {
          const int slot = window.slot[first + __ffs(static_cast<int>(touched)) - 1];
          score = decayed(rule, score, decay_factor(rule, entry.similarity(window.items[slot], item)));
        }
      }
      left[i] = score;
      if (score == gone) continue;
    }
    may_rise |= score < 0 || score == A(INFINITY);
    highest.add({ordered_key(score), i});
  }
  if (may_rise) highest.forbid();
  return highest;
}

// Finds the cut, above which there are kNmsWindowLeast to kNmsWindow rows, or fewer if not as many are above `bound`.
// The bisection starts at half of `range` (a distance of keys below the highest), which is then updated to the distance
// found. All threads of the block must call it.
template <class K>
__device__ inline Keyed<K> window_cut(const Keyed<K>& own, const Keyed<K>& highest, const Keyed<K>& bound, K& range) {
  const auto above = [&](const Keyed<K>& cut) { return __syncthreads_count(own.above(cut)); };
  if (above(bound) <= kNmsWindow) return bound;
  K low = bound.key, high = highest.key, step = range / 2 + 1;  // too many rows are above low, too few above high
  while (high - low > 1) {
    const K middle = (high - low) / 2 > step ? high - step : low + (high - low) / 2;
    const int count = above({middle, 0});
    if (count > kNmsWindow) {
      low = middle;
    } else {
      high = middle;
      if (count >= kNmsWindowLeast) break;
    }
    step = step > ~K{0} / 8 ? step : 4 * step;
  }
  range = highest.key - high;
  if (above({high, 0}) >= kNmsWindowLeast) return {high, 0};
  int some = 0, many = INT32_MAX;  // many rows have the key `high`, so bisect over their ranks
  while (many - some > 1) {
    const int middle = some + (many - some) / 2, count = above({high, middle});
    if (count > kNmsWindow) {
      many = middle;
    } else {
      some = middle;
      if (count >= kNmsWindowLeast) break;
    }
  }
  return {high, some};
}

// Sorts the window's rows; called by all threads.
template <class A, class Items>
__device__ inline void gather_window(const Items& entry, const A* left, NmsWindow<A, Items>& window) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= window.count) return;
  int slot = 0;
  for (int j = 0; j < window.count; ++j) slot += window.found[j] < window.found[i];
  window.place[slot] = window.found[i];
  window.score[slot] = left[window.found[i]];
  window.items[slot] = entry.at(window.found[i]);
}

// Computes the factors of all pairs of the window; called by all threads. The pairs are (a, a + d) with a + d modulo
// the number of rows, so that each occurs once.
template <class A, class Items>
__device__ inline void compare_window(const NmsRule<A>& rule, const Items& entry, NmsWindow<A, Items>& window) {
  const int count = window.count;
  for (int pair = static_cast<int>(threadIdx.x); pair < count * (count / 2); pair += static_cast<int>(blockDim.x)) {
    const int a = pair % count, apart = pair / count + 1, b = a + apart < count ? a + apart : a + apart - count;
    if (2 * apart == count && a >= apart) continue;
    const A factor = decay_factor(rule, entry.similarity(window.items[a], window.items[b]));
    window.factor[a][b] = window.factor[b][a] = factor;
  }
}

// Takes rows of the window while the highest is above the cut, but at least one; called by one warp.
template <class A, class Items>
__device__ inline void take_window(const NmsRule<A>& rule, const Items& entry, const Keyed<ordered_key_t<A>>& cut,
                                   NmsWindow<A, Items>& window, A* left, const int* rows, int64_t* order, A* rescored) {
  using K = ordered_key_t<A>;
  const int lane = static_cast<int>(threadIdx.x), slots[2] = {lane, lane + kWarp};
  const A gone = -A(INFINITY);
  A score[2];
  for (int i = 0; i < 2; ++i) score[i] = slots[i] < window.count ? window.score[slots[i]] : gone;
  int taken = 0;
  while (true) {
    const K keys[2] = {score[0] == gone ? 0 : ordered_key(score[0]), score[1] == gone ? 0 : ordered_key(score[1])};
    const K key = largest_of_warp(keys[0] > keys[1] ? keys[0] : keys[1]);
    const unsigned low = __ballot_sync(kWholeWarp, keys[0] == key), high = __ballot_sync(kWholeWarp, keys[1] == key);
    if (key == 0) break;
    const int slot = low ? __ffs(static_cast<int>(low)) - 1 : __ffs(static_cast<int>(high)) - 1 + kWarp;
    if (taken > 0 && !Keyed<K>{key, window.place[slot]}.above(cut)) break;
    for (int i = 0; i < 2; ++i) {
      if (slots[i] == slot) {
        window.slot[taken] = slot;
        rescored[taken] = score[i];
        score[i] = gone;
      } else if (score[i] != gone) {
        score[i] = decayed(rule, score[i], window.factor[slot][slots[i]]);
      }
    }
    ++taken;
  }
  __syncwarp();
  for (int i = 0; i < 2; ++i) {
    if (slots[i] < window.count) left[window.place[slots[i]]] = score[i];
    if (slots[i] >= taken) continue;
    const int slot = window.slot[slots[i]];
    window.reach[slots[i]] = entry.reach_of(window.items[slot]);
    order[slots[i]] = rows[window.place[slot]];
  }
  __syncwarp();
  if (lane == 0) {
    window.taken = taken;
    window.count = 0;
  }
}

// left (B, n): the sorted scores, which become -inf as rows are taken or dropped.
template <int threads, class A, class Items>
__global__ void __launch_bounds__(threads, 1)
    nms_soft_kernel(NmsRule<A> rule, Items all, int64_t batch, int n, A* __restrict__ left,
                    const int* __restrict__ rows, NmsResult<A> to) {
  using K = ordered_key_t<A>;
  using Window = NmsWindow<A, Items>;
  PYDLX_SHARED(Window, windows, 1);
  PYDLX_SHARED(Keyed<K>, room, 2, threads / kWarp);
  Window& window = windows[0];
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    const Items entry = all.entry(b, n);
    if (threadIdx.x == 0) window.taken = window.count = 0;
    __syncthreads();
    int taken = 0, in_window = -1;
    K range = 0;
    while (true) {
      NmsHighest<K> highest = scan_rows(rule, entry, window, n, in_window, left + b * n);
      const Keyed<K> own = highest.first;
      highest_two_of_block<threads>(highest.first, highest.second, room);
      if (highest.first.key == 0) break;
      const Keyed<K> cut = window_cut(own, highest.first, highest.second, range);
      const bool is_highest = own.place == highest.first.place;
      in_window = is_highest || own.above(cut) ? own.place : -1;
      if (in_window >= 0) window.found[atomicAdd(&window.count, 1)] = own.place;
      __syncthreads();
      gather_window(entry, left + b * n, window);
      __syncthreads();
      compare_window(rule, entry, window);
      __syncthreads();
      if (threadIdx.x < kWarp) {
        const int64_t place = b * n + taken;
        take_window(rule, entry, cut, window, left + b * n, rows + b * n, to.order + place, to.rescored + place);
      }
      __syncthreads();
      taken += window.taken;
    }
    fill_up(to, b, n, taken);
    __syncthreads();  // before the next batch entry
  }
}

}  // namespace pydlx
