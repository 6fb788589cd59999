// What hard and soft suppression share on CUDA: rows by falling score, and how much two of them resemble each other.
// The rules are in nms.h.
//
// A row's place by falling score is the number of rows before it, which many blocks count at once: n^2 comparisons, a
// tenth of what suppression itself costs, in one launch and in one order at every run. Boxes are copied to their
// places, so that all that follows reads them in a row; poses stay where they are.
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

// Tells whether shared / both, rounded, is above a threshold, without a division. It is where the quotient itself is
// above the middle of the threshold and the next number, or on that middle and rounded to this number because it is
// even. Near there the rest of the division, shared - threshold * both, is exact.
template <class A>
struct NmsLimit {
  A threshold, half;  // half the way to the next number
  bool is_odd = false;

  explicit NmsLimit(A threshold_) : threshold(threshold_) {
    const A next = std::nextafter(threshold, std::numeric_limits<A>::infinity());
    half = (next - threshold) / 2;
    unsigned char lowest;  // of a little-endian machine, as all with a GPU are
    std::memcpy(&lowest, &threshold, 1);
    is_odd = lowest & 1;
  }

  __device__ bool is_below(A shared, A both) const {
    const A rest = fma(-threshold, both, shared), middle = half * both;
    if (threshold < 0) return rest > 0;
    return rest > middle || (is_odd && rest == middle);
  }
};

// Boxes by falling score.
template <class A>
struct BoxesByScore {
  struct Item {
    A low[2], high[2], size;
    int64_t label;
  };
  // What a box must reach into to meet another: at least all of its own.
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

  // Copies a row to its place.
  __device__ void put(int row, int place) const {
    for (int i = 0; i < 4; ++i) boxes[place].values[i] = given.boxes[int64_t{4} * row + i];
    if (labels) labels[place] = given.labels[row];
  }

  __device__ Item at(int place) const {
    const Vector<A, 4> box = boxes[place];
    const A *x = box.values, add = given.pixel_offset;
    return {{x[0], x[1]}, {x[2], x[3]}, (x[2] - x[0] + add) * (x[3] - x[1] + add), labels ? labels[place] : 0};
  }

  // To be compared with boxes taken. NaN is less like any box than a number is: its similarity is 0.
  __device__ Item other_at(int place) const {
    Item item = at(place);
    if (item.size != item.size) item.high[0] = item.high[1] = -A(INFINITY);
    return item;
  }

  // Whether boxes share an area, and how large it is.
  __device__ bool meet(const Item& p, const Item& q, A& shared) const {
    const A width = min(p.high[0], q.high[0]) - max(p.low[0], q.low[0]) + given.pixel_offset;
    const A height = min(p.high[1], q.high[1]) - max(p.low[1], q.low[1]) + given.pixel_offset;
    shared = width * height;
    return width > 0 && height > 0 && p.label == q.label;
  }

  // Intersection over union of a box taken and another.
  __device__ A similarity(const Item& p, const Item& q) const {
    A shared;
    return meet(p, q, shared) ? shared / (p.size + q.size - shared) : A(0);
  }

  __device__ bool more_alike_than(const NmsLimit<A>& limit, const Item& p, const Item& q) const {
    A shared;
    return meet(p, q, shared) ? limit.is_below(shared, p.size + q.size - shared) : 0 > limit.threshold;
  }

  // Rounded outwards, so that no box that meets this one is outside.
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

// Poses by falling score.
template <class A>
struct PosesByScore {
  struct Item {
    const A* points;
    A area;
  };
  struct Reach {};

  NmsPoses<A> given;
  const int* rows;
  A* scale;  // log2(e) / (8 sigma^2) of each point

  __device__ PosesByScore entry(int64_t b, int64_t n) const { return {nms_entry(given, b, n), rows + b * n, scale}; }

  // By all threads of one block.
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

  // OKS over all points with the mean area.
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

// ------------------------------------------------------------------------------------------------ by falling score

// Parts of a block that share the comparisons of its kWarp rows, and scores that are staged at a time.
constexpr int kSortParts = 8, kSortStage = 1024;

// Rows by falling score, NaN first, and those scores; of equal scores the first row comes first.
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
      __syncthreads();  // the keys staged before have been compared
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

// ------------------------------------------------------------------------------------------------------- both ends

// Fills up what no row was taken for; by all threads of a block, of entry b.
template <class A>
__device__ inline void fill_up(const NmsResult<A>& to, int64_t b, int n, int taken) {
  for (int place = taken + static_cast<int>(threadIdx.x); place < n; place += static_cast<int>(blockDim.x)) {
    to.order[b * n + place] = -1;
    to.rescored[b * n + place] = 0;
  }
  if (threadIdx.x == 0) to.taken[b] = taken;
}

}  // namespace pydlx
