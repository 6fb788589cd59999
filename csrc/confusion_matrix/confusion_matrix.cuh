// Confusion matrix kernel (maths and shapes in confusion_matrix.h).
//
// One thread per pixel, consecutive threads on consecutive pixels; a warp whose pixels are all of one pair, as most of
// a label map's are, adds their number at once. A block counts one image (blockIdx.y): in shared memory if the matrix
// fits, to be added to the result at the end, else in the result itself. The only atomics are integer ones, whose order
// does not matter.
//
// Floor: read both maps once. Logits that lie class by class are read in whole lines; where they lie pixel by pixel,
// the lines of a warp's pixels stay in the first-level cache while its threads walk through the classes.
#pragma once

#include "common/device.cuh"
#include "confusion_matrix/confusion_matrix.h"

namespace pydlx {

// Larger matrices are counted where they are: 48 KiB is what a block may have of shared memory on every GPU.
constexpr int64_t kMostSharedBins = 48 * 1024 / sizeof(unsigned);

using Counter = unsigned long long;

__device__ inline int64_t label_at(const ConfusionMap& map, int64_t at) {
  switch (map.dtype) {
    case ScalarType::UInt16:
      return static_cast<const uint16_t*>(map.data)[at];
    case ScalarType::Short:
      return static_cast<const int16_t*>(map.data)[at];
    case ScalarType::Int:
      return static_cast<const int32_t*>(map.data)[at];
    case ScalarType::Long:
      return static_cast<const int64_t*>(map.data)[at];
    default:  // uint8 and bool
      return static_cast<const uint8_t*>(map.data)[at];
  }
}

// The class of the largest logit: the first of equal ones, the first NaN over any number.
template <class T>
__device__ inline int64_t argmax_at(const ConfusionMap& map, int64_t classes, int64_t image, int64_t pixel) {
  using A = accumulate_t<T>;
  const T* logits = static_cast<const T*>(map.data) + image * map.image_stride + pixel * map.pixel_stride;
  int64_t winner = 0;
  A best = static_cast<A>(logits[0]);
  for (int64_t c = 1; c < classes; ++c) {
    const A a = static_cast<A>(logits[c * map.class_stride]);
    if (a > best || (a != a && best == best)) {
      best = a;
      winner = c;
    }
  }
  return winner;
}

// Most pixels find a smaller place there already, and need no atomic.
__device__ inline void note_first(Counter* place, int64_t at) {
  if (static_cast<Counter>(at) < *static_cast<volatile Counter*>(place)) atomicMin(place, static_cast<Counter>(at));
}

// The number of a pixel's pair, or -1 if it does not count. T is the type of the logits, or void for labels.
template <class T>
__device__ inline int64_t pair_at(const ConfusionTask& task, int64_t image, int64_t pixel, Counter* invalid) {
  const int64_t classes = task.classes(), at = image * task.pixels + pixel;
  const int64_t t = task.target_rule.code(label_at(task.target, at));
  if (t > classes) note_first(invalid, at);
  if (t >= classes) return -1;
  int64_t p;
  if constexpr (std::is_void_v<T>) {
    p = task.pred_rule.code(label_at(task.pred, at));
    if (p > classes) note_first(invalid + 1, at);
    if (p > classes) return -1;
  } else {
    p = argmax_at<T>(task.pred, classes, image, pixel);
  }
  return t * classes + p;
}

// Adds one for every lane's pair, with one atomic where they are all the same. To be called by whole warps.
template <class Table>
__device__ inline void count_pair(int pair, Table* table) {
  const bool same = pair == __shfl_sync(kWholeWarp, pair, 0);
  const bool together = __all_sync(kWholeWarp, same);
  if (pair < 0 || (together && threadIdx.x % warpSize != 0)) return;
  atomicAdd(table + pair, static_cast<Table>(together ? warpSize : 1));
}

template <class T, bool kShared>
__global__ void confusion_kernel(ConfusionTask task, Counter* __restrict__ counts, Counter* __restrict__ invalid) {
  PYDLX_DYNAMIC_SHARED(unsigned, table);
  const int bins = static_cast<int>(task.bins());
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t image = blockIdx.y; image < task.images; image += gridDim.y) {
    Counter* matrix = counts + (task.per_image ? image * task.bins() : 0);
    if constexpr (kShared) {
      for (int i = threadIdx.x; i < bins; i += blockDim.x) table[i] = 0;
      __syncthreads();
    }
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x; first < task.pixels; first += step) {
      const int64_t pixel = first + threadIdx.x;
      const int pair = pixel < task.pixels ? static_cast<int>(pair_at<T>(task, image, pixel, invalid)) : -1;
      if constexpr (kShared) {
        count_pair(pair, table);
      } else {
        count_pair(pair, matrix);
      }
    }
    if constexpr (kShared) {
      __syncthreads();
      for (int i = threadIdx.x; i < bins; i += blockDim.x) {
        if (table[i]) atomicAdd(matrix + i, static_cast<Counter>(table[i]));
      }
      __syncthreads();
    }
  }
}

}  // namespace pydlx
