// Code shared by hard and soft suppression on CUDA: sorting rows by descending score, and the similarity of two rows.
// The rules are in nms.h.
//
// A row's rank by score is the number of rows that rank above it, which many blocks count in parallel: n^2 comparisons
// in one deterministic launch, a tenth of the cost of suppression itself. Boxes are then copied in order of rank, so
// that the other kernels read them contiguously; poses are not copied.
#pragma once

#include <cstring>

#include "common/indexing.cuh"
#include "common/maths.cuh"
#include "common/ranked.cuh"
#include "common/vectors.cuh"
#include "nms/nms.h"

namespace pydlx {

template <class A>
constexpr A kUnit = std::numeric_limits<A>::epsilon();

// Decides without a division whether the rounded quotient shared / both is above a threshold. It is if the exact
// quotient is above the midpoint between the threshold and the next larger number, or is that midpoint and rounds up
// because the threshold is odd. Near the midpoint the remainder, shared - threshold * both, is exact.
template <class A>
struct NmsLimit {
  A threshold, half;  // half the distance to the next larger number
  bool is_odd = false;

  explicit NmsLimit(A threshold_) : threshold(threshold_) {
    const A next = std::nextafter(threshold, std::numeric_limits<A>::infinity());
    half = (next - threshold) / 2;
    unsigned char lowest;  // the lowest byte: machines with a GPU are little-endian
    std::memcpy(&lowest, &threshold, 1);
    is_odd = lowest & 1;
  }

  __device__ bool is_below(A shared, A both) const {
    const A rest = fma(-threshold, both, shared), middle = half * both;
    if (threshold < 0) return rest > 0;
    return rest > middle || (is_odd && rest == middle);
  }
};

// Boxes in order of descending score.
template <class A>
struct BoxesByScore {
  struct Item {
    A low[2], high[2], size;
    int64_t label;
  };
  // A region that contains the box; a box that overlaps this one also overlaps the region.
  struct Reach {
    A low[2], high[2];
  };

  NmsBoxes<A> given;
  Vector<A, 4>* boxes;
  int64_t* labels;  // or null

  __device__ BoxesByScore entry(int64_t b, int64_t n) const {
    return {nms_entry(given, b, n), boxes + b * n, labels ? labels + b * n : nullptr};
  }

  __device__ void prepare(int) const {}

  // Copies a row to its rank `place`.
  __device__ void put(int row, int place) const {
    for (int i = 0; i < 4; ++i) boxes[place].values[i] = given.boxes[int64_t{4} * row + i];
    if (labels) labels[place] = given.labels[row];
  }

  __device__ Item at(int place) const {
    const Vector<A, 4> box = boxes[place];
    const A *x = box.values, add = given.pixel_offset;
    return {{x[0], x[1]}, {x[2], x[3]}, (x[2] - x[0] + add) * (x[3] - x[1] + add), labels ? labels[place] : 0};
  }

  // The box at a rank, for comparison with taken boxes. A box with NaN becomes empty, so that its similarity is 0.
  __device__ Item other_at(int place) const {
    Item item = at(place);
    if (item.size != item.size) item.high[0] = item.high[1] = -A(INFINITY);
    return item;
  }

  // Whether the boxes overlap, and the area of their intersection.
  __device__ bool meet(const Item& p, const Item& q, A& shared) const {
    const A width = min(p.high[0], q.high[0]) - max(p.low[0], q.low[0]) + given.pixel_offset;
    const A height = min(p.high[1], q.high[1]) - max(p.low[1], q.low[1]) + given.pixel_offset;
    shared = width * height;
    return width > 0 && height > 0 && p.label == q.label;
  }

  // Intersection over union of a taken box and another.
  __device__ A similarity(const Item& p, const Item& q) const {
    A shared;
    return meet(p, q, shared) ? shared / (p.size + q.size - shared) : A(0);
  }

  __device__ bool more_alike_than(const NmsLimit<A>& limit, const Item& p, const Item& q) const {
    A shared;
    return meet(p, q, shared) ? limit.is_below(shared, p.size + q.size - shared) : 0 > limit.threshold;
  }

  // The region, rounded outwards, so that every box that overlaps this one overlaps it.
  __device__ Reach reach_of(const Item& item) const {
    const A add = max(given.pixel_offset, A(0));
    Reach reach;
    for (int axis = 0; axis < 2; ++axis) {
      reach.low[axis] = item.low[axis] - (add + 4 * kUnit<A> * (add + fabs(item.low[axis])));
      reach.high[axis] = item.high[axis] + (add + 4 * kUnit<A> * (add + fabs(item.high[axis])));
    }
    return reach;
  }

  __device__ static bool touches(const Reach& reach, const Item& item) {
    return reach.low[0] < item.high[0] && item.low[0] < reach.high[0] && reach.low[1] < item.high[1] &&
           item.low[1] < reach.high[1];
  }
};

// Poses in order of descending score.
template <class A>
struct PosesByScore {
  struct Item {
    const A* points;
    A area;
  };
  struct Reach {};

  NmsPoses<A> given;
  const int* rows;
  A* scale;  // log2(e) / (8 sigma^2), per point

  __device__ PosesByScore entry(int64_t b, int64_t n) const { return {nms_entry(given, b, n), rows + b * n, scale}; }

  // Computes `scale`; called by all threads of one block.
  __device__ void prepare(int threads) const {
    for (int64_t k = thread_of_block(); k < given.count; k += threads) {
      scale[k] = A(kLog2E) / (8 * given.sigmas[k] * given.sigmas[k]);
    }
  }

  __device__ void put(int, int) const {}

  __device__ Item at(int place) const {
    const int64_t row = rows[place];
    return {given.points + row * given.count * 2, given.area[row]};
  }
  __device__ Item other_at(int place) const { return at(place); }

  // OKS over all points, with the mean of both areas.
  __device__ A similarity(const Item& p, const Item& q) const { return sum_of_points(p, q) / given.count; }

  __device__ A sum_of_points(const Item& p, const Item& q) const {
    const A steepness = -1 / ((p.area + q.area) / 2 + A(kOksSpacing));
    A sum = 0;
    for (int64_t k = 0; k < given.count; ++k) {
      const A dx = p.points[2 * k] - q.points[2 * k], dy = p.points[2 * k + 1] - q.points[2 * k + 1];
      sum += fast_exp2((dx * dx + dy * dy) * (steepness * scale[k]));
    }
    return sum;
  }

  __device__ bool more_alike_than(const NmsLimit<A>& limit, const Item& p, const Item& q) const {
    return sum_of_points(p, q) > limit.threshold * given.count;
  }

  __device__ Reach reach_of(const Item&) const { return {}; }
  __device__ static bool touches(const Reach&, const Item&) { return true; }
};

// ------------------------------------------------------------------------------------------------ sorting by score

// Warps of a block, which share the comparisons of its kWarp rows, and scores that are staged in shared memory at a
// time.
constexpr int kSortParts = 8, kSortStage = 1024;

// Sorts rows and their scores by descending score, NaN first, ties by row.
template <class A, class Items>
__global__ void __launch_bounds__(kWarp* kSortParts)
    nms_sort_kernel(const A* __restrict__ scores, int64_t batch, int n, Items all, int* __restrict__ rows,
                    A* __restrict__ falling) {
  constexpr int kShare = kSortStage / kSortParts;
  PYDLX_SHARED(ordered_key_t<A>, keys, kSortStage);
  PYDLX_SHARED(int, room, kSortParts, kWarp);
  if (blockIdx.x == 0 && blockIdx.y == 0) all.prepare(kWarp * kSortParts);
  for (int64_t b = blockIdx.y; b < batch; b += gridDim.y) {
    const A* given = scores + b * n;
    const int row = static_cast<int>(blockIdx.x * kWarp + threadIdx.x);
    const A score = row < n ? given[row] : A(0);
    const ordered_key_t<A> key = ordered_key(score);
    int before = 0;
    for (int first = 0; first < n; first += kSortStage) {
      __syncthreads();  // wait until the previously staged keys have been compared
      const int staged = min(kSortStage, n - first);
      for (int i = thread_of_block(); i < staged; i += kWarp * kSortParts) keys[i] = ordered_key(given[first + i]);
      __syncthreads();
      const int begin = static_cast<int>(threadIdx.y) * kShare, end = min(begin + kShare, staged);
#pragma unroll 4
      for (int i = begin; i < end; ++i) before += keys[i] > key || (keys[i] == key && first + i < row);
    }
    const int place = join_of_parts<kSortParts>(room, before, Sum());
    if (row >= n || threadIdx.y != 0) continue;
    rows[b * n + place] = row;
    falling[b * n + place] = score;
    all.entry(b, n).put(row, place);
  }
}

// ------------------------------------------------------------------------------------------------ results

// Pads the results of batch entry b after the `taken` rows; called by all threads of a block.
template <class A>
__device__ inline void fill_up(const NmsResult<A>& to, int64_t b, int n, int taken) {
  for (int place = taken + static_cast<int>(threadIdx.x); place < n; place += static_cast<int>(blockDim.x)) {
    to.order[b * n + place] = -1;
    to.rescored[b * n + place] = 0;
  }
  if (threadIdx.x == 0) to.taken[b] = taken;
}

}  // namespace pydlx
