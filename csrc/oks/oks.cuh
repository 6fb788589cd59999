// OKS on CUDA with one thread per similarity or per point's gradient: for ragged groups, and for groups with so few
// detections that tiles (oks_tiles.cuh) would be mostly empty. The maths and the shapes are in oks.h.
//
// Neighbouring threads share a detection and read neighbouring truths, so most reads come from the caches.
#pragma once

#include "common/indexing.cuh"
#include "common/maths.cuh"
#include "oks/oks.h"

namespace pydlx {

// The factor of a squared distance in the exponent of 2. Computed in one place, so that a pair's similarity is the same
// to the bit in every kernel.
template <class A>
__device__ inline A oks_falloff(A steepness, A scale) {
  return steepness * scale * A(kLog2E);
}
template <class A>
__device__ inline A oks_exponent(A dx, A dy, A falloff) {
  return fma(dx, dx, dy * dy) * falloff;
}

template <class A>
__device__ inline A pair_similarity(const OksRows<A>& rows, int64_t pred_row, int64_t truth_row) {
  const OksTruth<A> truth = rows.truth_at(truth_row);
  const A* pred = rows.detection(pred_row);
  A sum = 0;
  for (int64_t k = 0; k < rows.points; ++k) {
    if (!truth.counts(k)) continue;
    const A dx = truth.offset(pred, k, 0), dy = truth.offset(pred, k, 1);
    sum += fast_exp2(oks_exponent(dx, dy, oks_falloff(truth.steepness, rows.scale(k))));
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

// Similarities of ragged groups; a pair's group is found by bisection.
template <class A>
__global__ void oks_ragged_kernel(OksRows<A> rows, const int64_t* __restrict__ pred_offsets,
                                  const int64_t* __restrict__ truth_offsets, const int64_t* __restrict__ pair_offsets,
                                  int64_t groups, int64_t pred_rows, int64_t truth_rows, A* __restrict__ oks,
                                  int64_t pairs) {
  PYDLX_GRID_STRIDE(pair, pairs) {
    int64_t low = 0, high = groups - 1;  // the pair's group is the last one that begins at or before it
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

// The gradient of point k of one detection, a sum over all truths of its group.
template <class A>
__global__ void oks_few_backward_pred_kernel(OksRows<A> rows, OksSizes sizes, const A* __restrict__ grad,
                                             A* __restrict__ dpred, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const int64_t row = index / rows.points, k = index % rows.points;
    const int64_t first_truth = row / sizes.preds * sizes.truths;
    const A* pred = rows.detection(row);
    const A scale = rows.scale(k);
    A sum[2] = {0, 0};
    for (int64_t g = 0; g < sizes.truths; ++g) {
      const OksTruth<A> truth = rows.truth_at(first_truth + g);
      if (truth.count == 0 || !truth.counts(k)) continue;
      const A dx = truth.offset(pred, k, 0), dy = truth.offset(pred, k, 1);
      const A e = fast_exp2(oks_exponent(dx, dy, oks_falloff(truth.steepness, scale)));
      if (e == 0) continue;  // the distance may be infinite
      const A pull = 2 * grad[row * sizes.truths + g] / truth.count * truth.steepness * e;
      sum[0] += pull * dx;
      sum[1] += pull * dy;
    }
    for (int axis = 0; axis < 2; ++axis) dpred[2 * index + axis] = scale * sum[axis];
  }
}

// The gradient of point k of one truth, and that point's term of the area's gradient.
template <class A>
__global__ void oks_few_backward_truth_kernel(OksRows<A> rows, OksSizes sizes, const A* __restrict__ grad,
                                              A* __restrict__ dtruth, A* __restrict__ growth, int64_t count) {
  PYDLX_GRID_STRIDE(index, count) {
    const int64_t row = index / rows.points, k = index % rows.points;
    const int64_t group = row / sizes.truths, g = row % sizes.truths;
    const OksTruth<A> truth = rows.truth_at(row);
    const A scale = rows.scale(k);
    A sum[2] = {0, 0}, larger = 0;
    for (int64_t d = group * sizes.preds; truth.count && truth.counts(k) && d < (group + 1) * sizes.preds; ++d) {
      const A* pred = rows.detection(d);
      const A dx = truth.offset(pred, k, 0), dy = truth.offset(pred, k, 1);
      const A exponent = oks_exponent(dx, dy, oks_falloff(truth.steepness, scale)), e = fast_exp2(exponent);
      if (e == 0) continue;
      const A share = grad[d * sizes.truths + g] / truth.count * truth.steepness * e;
      larger += share * exponent;
      sum[0] -= 2 * share * dx;
      sum[1] -= 2 * share * dy;
    }
    for (int axis = 0; axis < 2; ++axis) dtruth[2 * index + axis] = truth.box ? 0 : scale * sum[axis];
    growth[index] = larger * A(1 / kLog2E);
  }
}

// The area's gradient, as the sum over points or over chunks of points.
template <class A>
__global__ void oks_backward_area_kernel(const A* __restrict__ growth, int64_t chunks, A* __restrict__ darea,
                                         int64_t count) {
  PYDLX_GRID_STRIDE(row, count) {
    A sum = 0;
    for (int64_t i = 0; i < chunks; ++i) sum += growth[row * chunks + i];
    darea[row] = sum;
  }
}

}  // namespace pydlx
