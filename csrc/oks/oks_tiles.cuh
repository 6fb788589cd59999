// OKS on CUDA for groups of one size, and its gradients. The maths and the shapes are in oks.h.
//
// The forward is bound by arithmetic: it computes D G K exponentials per group, each with 2 subtractions, 2 products, a
// fused multiply-add, a power of 2 and an addition. Bytes: the inputs are read once or a few times. Truths are staged
// in shared memory as (x, y, falloff, kind) of each point, so that divisions are done only there, once per tile.
//
//     forward   lanes are detections, a warp has kTruths truths: a point of a truth is read once for 32 or 64
//               detections, and skipped if it does not count
//     d pred    lanes are detections, a warp has kPoints points and loops over all truths
//     d truth   lanes are points, a warp has kTruths truths and loops over all detections; an area's gradient is the
//               sum over points, 32 at a time
//
// Indices of points, detections and truths of a group have 32 bits. The order of sums is fixed, so results are the same
// in every run. In gradients, terms with exp(x) = 0 are skipped, because the exponent and the distance may be infinite.
#pragma once

#include "common/reduce.cuh"
#include "common/vectors.cuh"
#include "oks/oks.cuh"

namespace pydlx {

constexpr int kOksWarps = 8;
constexpr int kOksChunk = 32;  // points staged at a time

// Tile sizes, which fit into 48 KiB of shared memory, and resident blocks per multiprocessor.
template <class A>
struct OksTiling {
  static constexpr int kTruths = 7, kRoom = 64, kDetections = 64, kBlocks = 3, kTruthBlocks = 5;
};
template <>
struct OksTiling<double> {
  static constexpr int kTruths = 3, kRoom = 24, kDetections = 32, kBlocks = 2, kTruthBlocks = 3;
};

// How a truth's point is compared: not at all, as a point, or by the truth's box.
enum OksKind { kHidden, kShown, kBox };

template <class A>
struct alignas(16) OksStaged {
  A x, y, falloff;
  float kind;
};

// Data per truth, for `room` truths.
template <class A, int room>
struct OksTruths {
  int count[room];  // number of points in the mean
  bool is_box[room];
  A steepness[room];
  A box[room][4];  // the region where the distance is 0: low and high ends
};

// Loads truths [first, first + number), one warp per truth; called by all threads of a block.
template <bool kBoxes, class A, int room>
__device__ inline void load_truths(const OksRows<A>& rows, int64_t first, int number, OksTruths<A, room>& to) {
  const int lane = thread_of_block() % kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  for (int g = thread_of_block() / kWarp; g < number; g += warps) {
    const int64_t row = first + g;
    int count = 0;
    const bool* visible = rows.visible + row * rows.points;
    for (int k = lane; k < static_cast<int>(rows.points); k += kWarp) count += visible[k];
    count = sum_of_warp(count);
    if (lane != 0) continue;
    to.is_box[g] = kBoxes && count == 0;
    to.count[g] = to.is_box[g] ? static_cast<int>(rows.points) : count;
    to.steepness[g] = oks_steepness(rows.area[row]);
    for (int axis = 0; kBoxes && axis < 2; ++axis) {
      const A corner = rows.boxes[4 * row + axis], size = rows.boxes[4 * row + axis + 2];
      to.box[g][axis] = corner - size;
      to.box[g][axis + 2] = corner + 2 * size;
    }
  }
}

// Stages points [first_point, first_point + kOksChunk) of the loaded truths; the remaining slots get points that do not
// count.
template <class A, int room>
__device__ inline void stage_points(const OksRows<A>& rows, int64_t first, int number, int first_point,
                                    const OksTruths<A, room>& truths, OksStaged<A> (&to)[room][kOksChunk]) {
  const int points = static_cast<int>(rows.points);
  const A* truth = rows.truth + first * rows.points * 2;
  const bool* visible = rows.visible + first * rows.points;
  for (int i = thread_of_block(); i < room * kOksChunk; i += static_cast<int>(blockDim.x)) {
    const int g = i / kOksChunk, k = first_point + i % kOksChunk, at = g * points + k;
    OksStaged<A> point{0, 0, 0, kHidden};
    if (g < number && k < points) {
      point = {truth[2 * at], truth[2 * at + 1], oks_falloff(truths.steepness[g], rows.scale(k)),
               static_cast<float>(truths.is_box[g] ? kBox
                                  : visible[at]    ? kShown
                                                   : kHidden)};
    }
    to[g][i % kOksChunk] = point;
  }
}

// The signed distance of p from the interval [low, high], 0 inside.
template <class A>
__device__ inline A outside(A p, A low, A high) {
  const A below = p - low, above = p - high;
  return (below > 0 ? 0 : below) + (above < 0 ? 0 : above);
}

// Divides truths evenly among tiles of up to `room` truths.
struct OksShares {
  int all, tiles, size;

  __device__ OksShares(int64_t truths, int room) : all(static_cast<int>(truths)) {
    tiles = (all + room - 1) / room;
    size = (all + tiles - 1) / tiles;
  }
  __device__ int number(int first) const { return max(min(size, all - first), 0); }
};

// A tile has kDet detections per lane and up to kTruths truths per warp.
template <class A, int kDet, bool kBoxes>
__global__ void __launch_bounds__(kOksWarps* kWarp, PYDLX_BLOCKS(OksTiling<A>::kBlocks))
    oks_tile_kernel(OksRows<A> rows, OksSizes sizes, A* __restrict__ oks) {
  constexpr int kTruths = OksTiling<A>::kTruths, kRoom = kOksWarps * kTruths, kTile = kWarp * kDet;
  using Staged = OksStaged<A>[kRoom][kOksChunk];
  using Truths = OksTruths<A, kRoom>;
  using Point = Vector<A, 2>;
  PYDLX_SHARED(Truths, truths_room, 1);
  PYDLX_SHARED(OksStaged<A>, staged, kRoom, kOksChunk);
  PYDLX_SHARED(Point, preds, kOksChunk, kTile + 1);
  static_assert(sizeof(Staged) >= sizeof(A) * kTile * (kRoom + 1), "results do not fit in the place of truths");
  Truths& truths = truths_room[0];
  auto& results = *reinterpret_cast<array_t<A, kTile, kRoom + 1>*>(&staged);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first_pred = static_cast<int>(blockIdx.x) * kTile, points = static_cast<int>(rows.points);
  const int preds_here = min(kTile, static_cast<int>(sizes.preds) - first_pred);
  const OksShares shares(sizes.truths, kRoom);
  for (int64_t part = blockIdx.y; part < sizes.groups * shares.tiles; part += gridDim.y) {
    const int64_t group = part / shares.tiles;
    const int first_truth = static_cast<int>(part % shares.tiles) * shares.size, number = shares.number(first_truth);
    const int64_t row = group * sizes.truths + first_truth, pred_row = group * sizes.preds + first_pred;
    load_truths<kBoxes>(rows, row, number, truths);
    A sum[kTruths][kDet] = {};
    for (int k = 0; k < points; k += kOksChunk) {
      __syncthreads();
      stage_points(rows, row, number, k, truths, staged);
      const A* from = rows.pred + 2 * pred_row * rows.points;
      for (int i = static_cast<int>(threadIdx.x); i < kTile * kOksChunk; i += kOksWarps * kWarp) {
        const int d = i / kOksChunk, point = k + i % kOksChunk, at = d * points + point;
        preds[i % kOksChunk][d] =
            d < preds_here && point < points ? Point{{from[2 * at], from[2 * at + 1]}} : Point{{0, 0}};
      }
      __syncthreads();
      const int end = min(kOksChunk, points - k);
#pragma unroll(kDet > 1 ? 1 : 2)
      for (int i = 0; i < end; ++i) {
        Point p[kDet];
#pragma unroll
        for (int d = 0; d < kDet; ++d) p[d] = preds[i][lane + kWarp * d];
#pragma unroll
        for (int t = 0; t < kTruths; ++t) {
          const OksStaged<A> q = staged[warp + kOksWarps * t][i];
          if (q.kind == kHidden) continue;
#pragma unroll
          for (int d = 0; d < kDet; ++d) {
            A dx = p[d].values[0] - q.x, dy = p[d].values[1] - q.y;
            if (kBoxes && q.kind == kBox) {
              const A* box = truths.box[warp + kOksWarps * t];
              dx = outside(p[d].values[0], box[0], box[2]);
              dy = outside(p[d].values[1], box[1], box[3]);
            }
            sum[t][d] += fast_exp2(oks_exponent(dx, dy, q.falloff));
          }
        }
      }
    }
    __syncthreads();  // wait until truths have been read
#pragma unroll
    for (int t = 0; t < kTruths; ++t) {
      const int g = warp + kOksWarps * t, count = g < number ? truths.count[g] : 0;
#pragma unroll
      for (int d = 0; d < kDet; ++d) results[lane + kWarp * d][g] = count ? sum[t][d] / count : 0;
    }
    __syncthreads();
    for (int d = warp; d < preds_here; d += kOksWarps) {
      A* to = oks + (pred_row + d) * sizes.truths + first_truth;
      for (int g = lane; g < number; g += kWarp) to[g] = results[d][g];
    }
    __syncthreads();  // before the next tile's truths are loaded
  }
}

// A block processes kWarp detections, kOksChunk of their points, and all truths of their group.
template <class A, bool kBoxes>
__global__ void __launch_bounds__(kOksWarps* kWarp, PYDLX_BLOCKS(OksTiling<A>::kBlocks))
    oks_backward_pred_kernel(OksRows<A> rows, OksSizes sizes, const A* __restrict__ grad, A* __restrict__ dpred) {
  constexpr int kPoints = kOksChunk / kOksWarps, kRoom = OksTiling<A>::kRoom;
  using Truths = OksTruths<A, kRoom>;
  PYDLX_SHARED(Truths, truths_room, 1);
  PYDLX_SHARED(OksStaged<A>, staged, kRoom, kOksChunk);
  PYDLX_SHARED(A, weight, kRoom, kWarp + 1);
  Truths& truths = truths_room[0];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t tiles = (sizes.preds + kWarp - 1) / kWarp;
  const int first_point = static_cast<int>(blockIdx.x) * kOksChunk, own_point = first_point + warp * kPoints;
  const int points = static_cast<int>(rows.points), all_truths = static_cast<int>(sizes.truths);
  for (int64_t part = blockIdx.y; part < sizes.groups * tiles; part += gridDim.y) {
    const int64_t group = part / tiles;
    const int first_pred = static_cast<int>(part % tiles) * kWarp;
    const int preds_here = min(kWarp, static_cast<int>(sizes.preds) - first_pred);
    const int64_t pred_row = group * sizes.preds + first_pred;
    const int64_t own = (pred_row + lane) * rows.points + own_point;
    A p[kPoints][2], sum[kPoints][2];
#pragma unroll
    for (int i = 0; i < kPoints; ++i) {
      for (int axis = 0; axis < 2; ++axis) {
        const bool is_there = lane < preds_here && own_point + i < points;
        p[i][axis] = is_there ? rows.pred[2 * (own + i) + axis] : 0;
        sum[i][axis] = 0;
      }
    }
    for (int first = 0; first < all_truths; first += kRoom) {
      const int number = min(kRoom, all_truths - first);
      const int64_t row = group * sizes.truths + first;
      __syncthreads();  // wait until the previous truths have been read
      load_truths<kBoxes>(rows, row, number, truths);
      __syncthreads();
      stage_points(rows, row, number, first_point, truths, staged);
      for (int d = warp; d < preds_here; d += kOksWarps) {
        const A* from = grad + (pred_row + d) * sizes.truths + first;
        for (int g = lane; g < number; g += kWarp) {
          weight[g][d] = truths.count[g] ? 2 * from[g] / truths.count[g] * truths.steepness[g] : 0;
        }
      }
      __syncthreads();
      if (own_point >= points || lane >= preds_here) continue;
#pragma unroll 2
      for (int g = 0; g < number; ++g) {
        const A w = weight[g][lane];
#pragma unroll
        for (int i = 0; i < kPoints; ++i) {
          const OksStaged<A> q = staged[g][warp * kPoints + i];
          if (q.kind == kHidden) continue;
          A dx = p[i][0] - q.x, dy = p[i][1] - q.y;
          if (kBoxes && q.kind == kBox) {
            dx = outside(p[i][0], truths.box[g][0], truths.box[g][2]);
            dy = outside(p[i][1], truths.box[g][1], truths.box[g][3]);
          }
          const A e = fast_exp2(oks_exponent(dx, dy, q.falloff)), pull = w * e;
          if (e == 0) continue;
          sum[i][0] = fma(pull, dx, sum[i][0]);
          sum[i][1] = fma(pull, dy, sum[i][1]);
        }
      }
    }
    if (lane >= preds_here) continue;
#pragma unroll
    for (int i = 0; i < kPoints; ++i) {
      if (own_point + i >= points) break;
      const A scale = rows.scale(own_point + i), found[2] = {scale * sum[i][0], scale * sum[i][1]};
      store_vector<2>(dpred + 2 * (own + i), found);
    }
  }
}

// A block processes kOksChunk points (one per lane) of up to kTruths truths per warp, and all detections of their
// group. growth (rows of truth, chunks of points): the points' terms of the area's gradient.
constexpr int kOksTruthWarps = 4;

template <class A, bool kBoxes>
__global__ void __launch_bounds__(kOksTruthWarps* kWarp, PYDLX_BLOCKS(OksTiling<A>::kTruthBlocks))
    oks_backward_truth_kernel(OksRows<A> rows, OksSizes sizes, const A* __restrict__ grad, A* __restrict__ dtruth,
                              A* __restrict__ growth) {
  constexpr int kTruths = OksTiling<A>::kTruths, kRoom = kOksTruthWarps * kTruths;
  constexpr int kDetections = OksTiling<A>::kDetections;
  constexpr int kSlots = kTruths <= 4 ? 4 : 8;  // slots for a warp's weights, which are read as vectors
  using Truths = OksTruths<A, kRoom>;
  using Point = Vector<A, 2>;
  using Weights = Vector<A, 4>;
  PYDLX_SHARED(Truths, truths_room, 1);
  PYDLX_SHARED(Point, preds, kDetections, kWarp);
  PYDLX_SHARED(Weights, weights, kDetections, kOksTruthWarps, kSlots / 4);
  Truths& truths = truths_room[0];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const OksShares shares(sizes.truths, kRoom);
  const int points = static_cast<int>(rows.points), all_preds = static_cast<int>(sizes.preds);
  const int k = static_cast<int>(blockIdx.x) * kWarp + lane;
  const A scale = k < points ? rows.scale(k) : 0;
  for (int64_t part = blockIdx.y; part < sizes.groups * shares.tiles; part += gridDim.y) {
    const int64_t group = part / shares.tiles;
    const int first_truth = static_cast<int>(part % shares.tiles) * shares.size, number = shares.number(first_truth);
    const int64_t row = group * sizes.truths + first_truth;
    __syncthreads();  // wait until the previous truths have been read
    load_truths<kBoxes>(rows, row, number, truths);
    __syncthreads();
    const A* truth = rows.truth + 2 * row * rows.points;
    A q[kTruths][2], falloff[kTruths], sum[kTruths][2], larger[kTruths];
#pragma unroll
    for (int t = 0; t < kTruths; ++t) {
      const int g = warp + kOksTruthWarps * t;
      const bool is_there = g < number && k < points;
      for (int axis = 0; axis < 2; ++axis) {
        q[t][axis] = is_there ? truth[2 * (g * points + k) + axis] : 0;
        sum[t][axis] = 0;
      }
      falloff[t] = is_there ? oks_falloff(truths.steepness[g], scale) : 0;
      larger[t] = 0;
    }
    for (int first = 0; first < all_preds; first += kDetections) {
      const int preds_here = min(kDetections, all_preds - first);
      const int64_t pred_row = group * sizes.preds + first;
      const A* from = rows.pred + 2 * pred_row * rows.points;
      const A* weight = grad + pred_row * sizes.truths + first_truth;
      __syncthreads();  // wait until the previous detections have been read
      for (int d = warp; d < preds_here; d += kOksTruthWarps) {
        const int at = 2 * (d * points + k);
        preds[d][lane] = k < points ? Point{{from[at], from[at + 1]}} : Point{{0, 0}};
        if (lane < kOksTruthWarps * kSlots) {
          const int slot = lane / kOksTruthWarps;
          weights[d][lane % kOksTruthWarps][slot / 4].values[slot % 4] =
              lane < number ? weight[d * sizes.truths + lane] : 0;
        }
      }
      __syncthreads();
      if (warp >= number) continue;
#pragma unroll 2
      for (int d = 0; d < preds_here; ++d) {
        const Point p = preds[d][lane];
        Weights w[kSlots / 4];
#pragma unroll
        for (int i = 0; i < kSlots / 4; ++i) w[i] = weights[d][warp][i];
#pragma unroll
        for (int t = 0; t < kTruths; ++t) {
          A dx = p.values[0] - q[t][0], dy = p.values[1] - q[t][1];
          const int g = warp + kOksTruthWarps * t;
          if (kBoxes && g < number && truths.is_box[g]) {
            dx = outside(p.values[0], truths.box[g][0], truths.box[g][2]);
            dy = outside(p.values[1], truths.box[g][1], truths.box[g][3]);
          }
          const A x = oks_exponent(dx, dy, falloff[t]), e = fast_exp2(x), share = w[t / 4].values[t % 4] * e;
          if (e == 0) continue;
          larger[t] = fma(share, x, larger[t]);
          sum[t][0] = fma(share, dx, sum[t][0]);
          sum[t][1] = fma(share, dy, sum[t][1]);
        }
      }
    }
#pragma unroll
    for (int t = 0; t < kTruths; ++t) {
      const int g = warp + kOksTruthWarps * t;
      if (g >= number) break;
      const int64_t at = (row + g) * rows.points + k;
      const bool is_box = kBoxes && truths.is_box[g];
      const bool counts = k < points && truths.count[g] && sizes.preds > 0 && (is_box || rows.visible[at]);
      const A each = counts ? truths.steepness[g] / truths.count[g] : 0, pull = -2 * scale * each;
      const bool moves = counts && !is_box;
      const A found[2] = {moves ? pull * sum[t][0] : 0, moves ? pull * sum[t][1] : 0};
      if (k < points) store_vector<2>(dtruth + 2 * at, found);
      const A all = sum_of_warp(counts ? larger[t] * (each * A(1 / kLog2E)) : A(0));
      if (lane == 0) growth[(row + g) * gridDim.x + blockIdx.x] = all;
    }
  }
}

}  // namespace pydlx
