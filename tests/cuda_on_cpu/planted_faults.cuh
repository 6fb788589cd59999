#pragma once

// Small kernels that test the emulator: right ones, which must give the same result under every schedule, and wrong
// ones, each with one fault that must be detected. All are valid CUDA: nvcc compiles this file too.

#include "common/indexing.cuh"
#include "common/launch.cuh"

namespace planted {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kThreads = 128;  // per block, unless a kernel says otherwise
constexpr int kWarps = kThreads / 32;
constexpr int kTile = 16;

// Right kernels.

__device__ inline float warp_sum(float value) {
  for (int delta = 16; delta > 0; delta /= 2) value += __shfl_down_sync(kAllLanes, value, delta);
  return value;
}

/// y[block] = sum of the block's part of x.
template <typename T>
__global__ void __launch_bounds__(kThreads) block_sum(const T* x, T* y, int64_t count) {
  PYDLX_SHARED(T, of_warp, kWarps);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const T sum = warp_sum(i < count ? x[i] : T(0));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    T total = 0;
    for (int warp = 0; warp < kWarps; ++warp) total += of_warp[warp];
    y[blockIdx.x] = total;
  }
}

/// y[i] = x[0] + ... + x[i] within each block (Hillis and Steele, 1986).
__global__ void block_scan(const int* x, int* y) {
  PYDLX_DYNAMIC_SHARED(int, sums);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  sums[threadIdx.x] = x[i];
  __syncthreads();
  for (unsigned reach = 1; reach < blockDim.x; reach *= 2) {
    const int before = threadIdx.x >= reach ? sums[threadIdx.x - reach] : 0;
    __syncthreads();
    sums[threadIdx.x] += before;
    __syncthreads();
  }
  y[i] = sums[threadIdx.x];
}

/// y = transpose of the rows x columns matrix x, in blocks of kTile x kTile threads.
__global__ void transpose(const int* x, int* y, int64_t rows, int64_t columns) {
  PYDLX_SHARED(int, tile, kTile, kTile + 1);
  int64_t row = static_cast<int64_t>(blockIdx.y) * kTile + threadIdx.y;
  int64_t column = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = x[row * columns + column];
  __syncthreads();
  row = static_cast<int64_t>(blockIdx.y) * kTile + threadIdx.x;
  column = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.y;
  if (row < rows && column < columns) y[column * rows + row] = tile[threadIdx.x][threadIdx.y];
}

/// y[5 i ... 5 i + 4]: what lane i gets from each kind of shuffle in segments of `width` lanes, and from votes in half
/// warps.
__global__ void shuffles(int* y, int width) {
  const int lane = static_cast<int>(threadIdx.x);
  int* mine = y + 5 * lane;
  mine[0] = __shfl_sync(kAllLanes, lane, 3, width);
  mine[1] = __shfl_up_sync(kAllLanes, lane, 1, width);
  mine[2] = __shfl_down_sync(kAllLanes, lane, 2, width);
  mine[3] = __shfl_xor_sync(kAllLanes, lane, 5, width);
  // The halves of the warp vote separately.
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  mine[4] =
      __popc(__ballot_sync(half, lane < 20)) + 100 * __any_sync(half, lane == 31) + 1000 * __all_sync(half, lane > 9);
}

/// y[0 .. 3] = number of threads with x > 0, whether all have it, whether any has it, the maximum of x; y[4 .. 11] =
/// the histogram of x modulo 8.
__global__ void block_votes(const int* x, int* y) {
  const int value = x[threadIdx.x];
  const int count = __syncthreads_count(value > 0);
  const int all = __syncthreads_and(value > 0);
  const int any = __syncthreads_or(value > 0);
  if (threadIdx.x == 0) {
    y[0] = count;
    y[1] = all;
    y[2] = any;
  }
  atomicMax(&y[3], value);
  atomicAdd(&y[4 + (value & 7)], 1);
}

/// y = 2 x, for any grid size.
__global__ void twice(const int* x, int* y, int64_t count) { PYDLX_GRID_STRIDE(i, count) y[i] = 2 * x[i]; }

/// y[i] = i through `count` ints of dynamic shared memory, more than a kernel has unless it opts in.
__global__ void large_shared(int* y, int count) {
  PYDLX_DYNAMIC_SHARED(int, values);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) values[count - 1 - i] = i;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    y[i] = count - 1 - values[i];
  }
}

// Faults.

/// Writes one element past the end of y when count is no multiple of the block size.
__global__ void global_overrun(int* y, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i <= count) y[i] = 1;
}

__global__ void shared_overrun(int* y) {
  PYDLX_SHARED(int, left, kThreads);
  PYDLX_SHARED(int, right, kThreads);
  int* neighbour = left + threadIdx.x + 1;  // outside of the array for the last thread
  right[threadIdx.x] = 1;
  *neighbour = 2;
  __syncthreads();
  y[threadIdx.x] = left[threadIdx.x] + right[threadIdx.x];
}

/// Reads past a local array, after the fiber has been suspended and resumed.
__global__ void local_overrun(int* y, int size) {
  PYDLX_SHARED(const int*, first, kThreads);
  const int values[4] = {1, 2, 3, 4};
  first[threadIdx.x] = values;
  __syncthreads();
  int sum = 0;
  for (int i = 0; i <= size; ++i) sum += first[threadIdx.x][i];
  y[threadIdx.x] = sum;
}

__global__ void misaligned_vector(const float* x, float* y) {
  const float4 v = *reinterpret_cast<const float4*>(x + 1);
  y[threadIdx.x] = v.x + v.y + v.z + v.w;
}

/// y[i] = x[i + 1], cyclic in the block; no barrier between the write and the read of the neighbour.
__global__ void missing_barrier(const int* x, int* y) {
  PYDLX_SHARED(int, values, kThreads);
  values[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = values[(threadIdx.x + 1) % kThreads];
}

/// The same within one warp, whose lanes do not run in lock-step.
__global__ void missing_warp_barrier(const int* x, int* y) {
  PYDLX_SHARED(int, values, 32);
  values[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = values[(threadIdx.x + 1) % 32];
}

/// Each block adds its left neighbour's result, without waiting for it.
__global__ void block_order(int* y) { y[blockIdx.x + 1] = y[blockIdx.x] + 1; }

__global__ void uninitialised_shared(float* y) {
  PYDLX_SHARED(float, values, kThreads);
  y[blockIdx.x * kThreads + threadIdx.x] = values[threadIdx.x];
  values[threadIdx.x] = 1.0f;  // without poison, the next block would read this
}

/// Half of the threads of block 1 never reach the barrier.
__global__ void divergent_barrier(int* y) {
  if (blockIdx.x == 1 && threadIdx.x >= 64) return;
  __syncthreads();
  y[threadIdx.x] = 1;
}

/// All threads reach a barrier, but not the same one.
__global__ void different_barriers(int* y) {
  if (threadIdx.x < 64) {
    __syncthreads();
    y[threadIdx.x] = 1;
  } else {
    __syncthreads();
    y[threadIdx.x] = 2;
  }
}

/// The mask names all lanes, the branch only half of them.
__global__ void divergent_shuffle(int* y) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x % 2 == 0) value = __shfl_xor_sync(kAllLanes, value, 2);
  y[threadIdx.x] = value;
}

__global__ void lane_not_in_mask(int* y) { y[threadIdx.x] = __shfl_sync(0x0000ffffu, y[threadIdx.x], 0); }

__global__ void trap(int* y) {
  if (y[threadIdx.x] == 0) __trap();
}

}  // namespace planted
