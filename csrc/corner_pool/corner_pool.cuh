// Corner pooling kernels (maths in corner_pool.h): the parts that columns, rows and pairs have in common.
//
// Lines are cut into groups of neighbouring elements that a thread holds in registers, so that many loads are in
// flight. A forward joins the maxima of the groups before to the running maxima within each. A backward knows the
// maximum that reaches a group and so its heads, the elements where the maximum changes, each of which takes the sum of
// its run, the elements up to the next head. The elements before a group's first head, its lead, belong to a head of an
// earlier group: the group that has it adds the leads behind it up to the next group with a head.
//
// A line longer than a block or a warp holds goes in chunks in the order of the scan. Its maximum so far goes on to the
// next chunk, and so does the run that is still open: where its head is and what its sum is so far. The head has
// received that sum already, and receives the whole one when the run ends. No atomics, no index tensor; each sum has
// one order.
//
// Floor of a forward: read x, write y. Of a backward: read x and g, write dx. Of a pair forward: read both maps, write
// y. Of a pair backward: read both maps and g, write both gradients. All kernels move that much and no more, but for
// heads of open runs, one element in a chunk at the most.
//
//     corner_columns.cuh   columns, that is inner > 1 in a CornerScan: threads side by side on neighbouring columns
//     corner_rows.cuh      rows, inner = 1: neighbouring lanes of a warp on neighbouring elements
//     corner_pair.cuh      both at once, over contiguous maps
#pragma once

#include <cmath>

#include "common/device.cuh"
#include "common/reduce.cuh"
#include "common/vectors.cuh"
#include "corner_pool/corner_pool.h"

namespace pydlx {

// Whether `a` is to follow `best` as the maximum: it is greater, or the first NaN.
template <class A>
__host__ __device__ __forceinline__ bool takes_over(A a, A best) {
  return !(a <= best) && best == best;
}

// The maximum of elements in the order of the scan: the first of equal ones, the first NaN.
struct Later {
  template <class A>
  __device__ __forceinline__ A operator()(const A& before, const A& own) const {
    return takes_over(own, before) ? own : before;
  }
};

// Where step k of a scan over `size` elements held in the order of memory is.
template <bool kFromEnd, int size>
__device__ __forceinline__ constexpr int place_of(int k) {
  return kFromEnd ? size - 1 - k : k;
}

// Every element becomes the maximum of itself and those before.
template <bool kFromEnd, class A, int size>
__device__ __forceinline__ void scan_cells(A (&x)[size]) {
#pragma unroll
  for (int k = 1; k < size; ++k) {
    A& own = x[place_of<kFromEnd, size>(k)];
    own = Later()(x[place_of<kFromEnd, size>(k - 1)], own);
  }
}

template <bool kFromEnd, class A, int size>
__device__ __forceinline__ A largest_cell(const A (&x)[size]) {
  A best = x[place_of<kFromEnd, size>(0)];
#pragma unroll
  for (int k = 1; k < size; ++k) best = Later()(best, x[place_of<kFromEnd, size>(k)]);
  return best;
}

// Bit k is set if the maximum changes at step k, where `best` is what reaches the first element; a line's first
// element, which lies at the edge, is a head whatever it holds. `best` becomes the maximum behind the elements.
template <bool kFromEnd, class A, int size>
__device__ __forceinline__ unsigned find_heads(const A (&x)[size], A& best, bool at_edge) {
  unsigned heads = 0;
#pragma unroll
  for (int k = 0; k < size; ++k) {
    const A a = x[place_of<kFromEnd, size>(k)];
    if (takes_over(a, best) || (k == 0 && at_edge)) {
      best = a;
      heads |= 1u << k;
    }
  }
  return heads;
}

// The last head's step, or -1.
__device__ __forceinline__ int last_head(unsigned heads) { return 31 - __clz(static_cast<int>(heads)); }

// Gives each head the sum of its run within these elements, all others 0, and returns the lead.
template <bool kFromEnd, class A, int size>
__device__ __forceinline__ A gather_runs(unsigned heads, A (&g)[size]) {
  A sum = 0;
#pragma unroll
  for (int k = size - 1; k >= 0; --k) {
    A& own = g[place_of<kFromEnd, size>(k)];
    sum += own;
    const bool head = heads >> k & 1u;
    own = head ? sum : A(0);
    sum = head ? A(0) : sum;
  }
  return sum;
}

// Adds what lies behind the elements to the last head among them.
template <bool kFromEnd, class A, int size>
__device__ __forceinline__ void add_behind(unsigned heads, A behind, A (&g)[size]) {
  const int last = last_head(heads);
#pragma unroll
  for (int k = 0; k < size; ++k) {
    if (k == last) g[place_of<kFromEnd, size>(k)] += behind;
  }
}

// The sum that the last head has so far.
template <bool kFromEnd, class A, int size>
__device__ __forceinline__ A last_run(unsigned heads, const A (&g)[size]) {
  const int last = last_head(heads);
  A sum = 0;
#pragma unroll
  for (int k = 0; k < size; ++k) {
    if (k == last) sum = g[place_of<kFromEnd, size>(k)];
  }
  return sum;
}

}  // namespace pydlx
