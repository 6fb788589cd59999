// OKS on CUDA. The maths and the shapes are in oks.h.
//
// A thread takes one similarity, or one point's gradient, and gathers what it needs. Neighbouring threads share a
// detection and look at neighbouring truths, so most reads come from the caches; what must come from memory are the
// rows, once, and the similarities.
#pragma once

#include "common/indexing.cuh"
#include "oks/oks.h"

namespace pydlx {

// x_k of a point that counts, f_k to go with it.
template <class A>
struct OksTerm {
  A falloff, exponent;

  __device__ OksTerm(const OksRows<A>& rows, const OksTruth<A>& truth, const A* pred, int64_t k) {
    const A dx = truth.offset(pred, k, 0), dy = truth.offset(pred, k, 1);
    falloff = truth.steepness * rows.scale(k);
    exponent = (dx * dx + dy * dy) * falloff;
  }
};

template <class A>
__device__ inline A pair_similarity(const OksRows<A>& rows, int64_t pred_row, int64_t truth_row) {
  const OksTruth<A> truth = rows.truth_at(truth_row);
  const A* pred = rows.detection(pred_row);
  A sum = 0;
  for (int64_t k = 0; k < rows.points; ++k) {
    if (truth.counts(k)) sum += exp(OksTerm<A>(rows, truth, pred, k).exponent);
  }
  return truth.count ? sum / truth.count : 0;
}

// Similarities of groups of one size.
template <class A>
__global__ void oks_kernel(OksRows<A> rows, OksSizes sizes, A* __restrict__ oks) {
  PYDLX_GRID_STRIDE(pair, sizes.pairs()) {
    oks[pair] = pair_similarity(rows, sizes.pred_of(pair), sizes.truth_of(pair));
  }
}

// Similarities of ragged groups: a pair finds its group by bisection.
template <class A>
__global__ void oks_ragged_kernel(OksRows<A> rows, const int64_t* __restrict__ pred_offsets,
                                  const int64_t* __restrict__ truth_offsets, const int64_t* __restrict__ pair_offsets,
                                  int64_t groups, int64_t pred_rows, int64_t truth_rows, A* __restrict__ oks,
                                  int64_t pairs) {
  PYDLX_GRID_STRIDE(pair, pairs) {
    int64_t low = 0, high = groups - 1;  // the last group that begins at or before the pair holds it
    while (low < high) {
      const int64_t middle = (low + high + 1) / 2;
      if (pair_offsets[middle] <= pair) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    const OksBlock group = oks_group(pred_offsets, truth_offsets, pair_offsets, low);
    const int64_t at = pair - group.place;
    oks[pair] = oks_has_pair(group, at, pred_rows, truth_rows)
                    ? pair_similarity(rows, group.pred + at / group.truths, group.truth + at % group.truths)
                    : A(NAN);
  }
}

// Gradient of point k of one detection: all truths of its group pull at it.
template <class A>
__global__ void oks_backward_pred_kernel(OksRows<A> rows, OksSizes sizes, const A* __restrict__ grad,
                                         A* __restrict__ dpred, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const int64_t row = index / rows.points, k = index % rows.points;
    const int64_t first_truth = row / sizes.preds * sizes.truths;
    const A* pred = rows.detection(row);
    A sum[2] = {0, 0};
    for (int64_t g = 0; g < sizes.truths; ++g) {
      const OksTruth<A> truth = rows.truth_at(first_truth + g);
      if (truth.count == 0 || !truth.counts(k)) continue;
      const OksTerm<A> term(rows, truth, pred, k);
      const A pull = 2 * grad[row * sizes.truths + g] / truth.count * exp(term.exponent) * term.falloff;
      for (int axis = 0; axis < 2; ++axis) sum[axis] += pull * truth.offset(pred, k, axis);
    }
    for (int axis = 0; axis < 2; ++axis) dpred[2 * index + axis] = sum[axis];
  }
}

// Gradient of point k of one truth, and what that point adds to its area's.
template <class A>
__global__ void oks_backward_truth_kernel(OksRows<A> rows, OksSizes sizes, const A* __restrict__ grad,
                                          A* __restrict__ dtruth, A* __restrict__ growth, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const int64_t row = index / rows.points, k = index % rows.points;
    const int64_t group = row / sizes.truths, g = row % sizes.truths;
    const OksTruth<A> truth = rows.truth_at(row);
    A sum[2] = {0, 0}, larger = 0;
    for (int64_t d = group * sizes.preds; truth.count && truth.counts(k) && d < (group + 1) * sizes.preds; ++d) {
      const A* pred = rows.detection(d);
      const OksTerm<A> term(rows, truth, pred, k);
      const A e = exp(term.exponent), share = grad[d * sizes.truths + g] / truth.count;
      larger += e == 0 ? 0 : share * truth.steepness * e * term.exponent;
      for (int axis = 0; axis < 2; ++axis) sum[axis] -= 2 * share * e * term.falloff * truth.offset(pred, k, axis);
    }
    for (int axis = 0; axis < 2; ++axis) dtruth[2 * index + axis] = truth.box ? 0 : sum[axis];
    growth[index] = larger;
  }
}

// The area's gradient is the sum over the points.
template <class A>
__global__ void oks_backward_area_kernel(const A* __restrict__ growth, int64_t points, A* __restrict__ darea,
                                         int64_t count) {
  PYDLX_GRID_STRIDE(row, count) {
    A sum = 0;
    for (int64_t k = 0; k < points; ++k) sum += growth[row * points + k];
    darea[row] = sum;
  }
}

}  // namespace pydlx
