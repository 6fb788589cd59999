// Reductions and scans over the threads of a warp or a block. The order of operations is fixed and does not depend on
// scheduling, so results are the same in every run.
#pragma once

#include "common/device.cuh"

namespace pydlx {

/// This thread's linear index in its block, x running fastest, so that a warp is 32 consecutive indices.
__device__ inline int thread_of_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}

/// The value of the lane whose index is this lane's XOR `apart`. Overloaded for structs.
template <class A>
__device__ inline A exchanged(const A& value, int apart) {
  return __shfl_xor_sync(kWholeWarp, value, apart);
}

struct Sum {
  template <class A>
  __device__ A operator()(const A& a, const A& b) const {
    return a + b;
  }
};

/// The larger of two numbers. A NaN in b is ignored but one in a is kept, so values must not be NaN.
struct Largest {
  template <class A>
  __device__ A operator()(const A& a, const A& b) const {
    return b > a ? b : a;
  }
};

/// Joins the values of a warp, returned in every lane. All lanes must call it. `join` must be commutative.
template <class A, class Join>
__device__ inline A join_of_warp(A value, const Join& join) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) value = join(value, exchanged(value, apart));
  return value;
}

template <class A>
__device__ inline A sum_of_warp(A value) {
  return join_of_warp(value, Sum());
}

template <class A>
__device__ inline A largest_of_warp(A value) {
  return join_of_warp(value, Largest());
}
/// One instruction on GPUs that have it.
__device__ inline unsigned largest_of_warp(unsigned value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kWholeWarp, value);
#else
  return join_of_warp(value, Largest());
#endif
}

/// The bitwise OR over the lanes of a warp, returned in every lane. All lanes must call it.
__device__ inline unsigned bits_of_warp(unsigned value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_or_sync(kWholeWarp, value);
#else
  return join_of_warp(value, [](unsigned a, unsigned b) { return a | b; });
#endif
}
__device__ inline uint64_t bits_of_warp(uint64_t value) {
  const unsigned low = bits_of_warp(static_cast<unsigned>(value));
  return static_cast<uint64_t>(bits_of_warp(static_cast<unsigned>(value >> 32))) << 32 | low;
}

/// Inclusive scan over segments of consecutive lanes of a warp; `lane` is this lane's index in its segment. All lanes
/// must call it. `join(before, own)` must be associative, but need not be commutative.
template <class A, class Join>
__device__ inline A scan_of_segment(A value, int lane, const Join& join) {
#pragma unroll
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const A before = __shfl_up_sync(kWholeWarp, value, apart);
    if (lane >= apart) value = join(before, value);
  }
  return value;
}

/// Inclusive scan over all lanes of a warp.
template <class A, class Join>
__device__ inline A scan_of_warp(A value, const Join& join) {
  return scan_of_segment(value, thread_of_block() % kWarp, join);
}

/// Joins the values of a block of `threads` threads (whole warps), returned in every thread. All threads must call it.
/// `room` is shared memory for one value per warp and may be reused from call to call.
template <int threads, class A, class Join>
__device__ inline A join_of_block(A value, array_t<A, threads / kWarp>& room, const Join& join) {
  value = join_of_warp(value, join);
  __syncthreads();  // wait until `room` has been read
  if (thread_of_block() % kWarp == 0) room[thread_of_block() / kWarp] = value;
  __syncthreads();
  value = room[0];
  for (int warp = 1; warp < threads / kWarp; ++warp) value = join(value, room[warp]);
  return value;
}

template <int threads, class A>
__device__ inline A sum_of_block(A value, array_t<A, threads / kWarp>& room) {
  return join_of_block<threads>(value, room, Sum());
}

/// For each lane index, joins the values of that lane in all warps, in the order of the warps, returned in every
/// thread. The block must have (kWarp, parts) threads, and all must call it. `room` may be reused from call to call.
template <int parts, class A, class Join>
__device__ inline A join_of_parts(array_t<A, parts, kWarp>& room, const A& value, const Join& join) {
  __syncthreads();  // wait until `room` has been read
  room[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  A whole = room[0][threadIdx.x];
  for (int part = 1; part < parts; ++part) whole = join(whole, room[part][threadIdx.x]);
  return whole;
}

}  // namespace pydlx
