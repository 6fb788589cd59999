// Suppression on CUDA: one block per batch entry, which walks through its rounds. The rules are in nms.h.
#pragma once

#include "common/ranked.cuh"
#include "nms/nms.h"

namespace pydlx {

constexpr int kNmsThreads = 256;

// Intersection over union; 0 where nothing is shared.
template <class A>
__device__ inline A similarity_of(const NmsBoxes<A>& entry, int64_t a, int64_t b) {
  const A *p = entry.boxes + 4 * a, *q = entry.boxes + 4 * b, add = entry.pixel_offset;
  const A width = (p[2] < q[2] ? p[2] : q[2]) - (p[0] > q[0] ? p[0] : q[0]) + add;
  const A height = (p[3] < q[3] ? p[3] : q[3]) - (p[1] > q[1] ? p[1] : q[1]) + add;
  if (!(width > 0 && height > 0) || (entry.labels && entry.labels[a] != entry.labels[b])) return 0;
  const A shared = width * height;
  return shared / ((p[2] - p[0] + add) * (p[3] - p[1] + add) + (q[2] - q[0] + add) * (q[3] - q[1] + add) - shared);
}

// OKS over all points with the mean area.
template <class A>
__device__ inline A similarity_of(const NmsPoses<A>& entry, int64_t a, int64_t b) {
  const A *p = entry.points + a * entry.count * 2, *q = entry.points + b * entry.count * 2;
  const A mean = (entry.area[a] + entry.area[b]) / 2 + A(kOksSpacing);
  A sum = 0;
  for (int64_t k = 0; k < entry.count; ++k) {
    const A dx = p[2 * k] - q[2 * k], dy = p[2 * k + 1] - q[2 * k + 1];
    sum += exp(-(dx * dx + dy * dy) / (8 * mean * entry.sigmas[k] * entry.sigmas[k]));
  }
  return sum / entry.count;
}

template <class A>
__device__ inline A decayed_score(const NmsRule<A>& rule, A score, A s) {
  A result = score;
  if (rule.method == NmsMethod::kGaussian && s == s) {
    result = score * exp(-s * s / rule.sigma);
  } else if (s > rule.threshold) {
    result = rule.method == NmsMethod::kLinear ? score * (1 - s) : -A(INFINITY);
  }
  return rule.drops(result) ? -A(INFINITY) : result;
}

// left (B, n) is room for the scores of what is left, -inf for what is not. Each thread looks after its own rows.
template <class A, class Items>
__global__ void nms_kernel(NmsRule<A> rule, Items all, const A* __restrict__ scores, int64_t batch, int64_t n,
                           A* __restrict__ left, int64_t* __restrict__ order, A* __restrict__ rescored) {
  PYDLX_SHARED(Ranked<A>, candidates, kNmsThreads / kWarp);
  const A gone = -A(INFINITY);
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    const Items entry = nms_entry(all, b, n);
    A* own = left + b * n;
    Ranked<A> best{gone, n};
    for (int64_t i = threadIdx.x; i < n; i += kNmsThreads) {
      const A score = scores[b * n + i];
      own[i] = rule.drops(score) ? gone : score;
      if (Ranked<A>{own[i], i}.above(best)) best = {own[i], i};
    }
    int64_t place = b * n;
    while (true) {
      const Ranked<A> taken = highest_of_block<kNmsThreads>(best, candidates);
      if (taken.score == gone) break;
      if (threadIdx.x == 0) {
        order[place] = taken.index;
        rescored[place] = taken.score;
      }
      ++place;
      best = {gone, n};
      for (int64_t i = threadIdx.x; i < n; i += kNmsThreads) {
        if (own[i] == gone) continue;
        own[i] = i == taken.index ? gone : decayed_score(rule, own[i], similarity_of(entry, taken.index, i));
        if (Ranked<A>{own[i], i}.above(best)) best = {own[i], i};
      }
    }
    for (place += threadIdx.x; place < (b + 1) * n; place += kNmsThreads) {
      order[place] = -1;
      rescored[place] = 0;
    }
  }
}

}  // namespace pydlx
