// What the threads of a warp or a block hold, put together: sums, maxima, running ones. Every result has one order of
// its own, whatever the schedule, so that it is the same at every run.
#pragma once

#include "common/device.cuh"

namespace pydlx {

/// This thread's number in its block, x running fastest: warps are 32 in a row.
__device__ inline int thread_of_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}

/// The value of the lane whose number differs from this one's in the bits of `apart`. Overloaded for structs.
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

/// The larger one; NaN takes no part.
struct Largest {
  template <class A>
  __device__ A operator()(const A& a, const A& b) const {
    return b > a ? b : a;
  }
};

/// Of the lanes of a warp, known to all of them; to be called by whole warps. `join` is the same either way round.
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
/// By one instruction, where the GPU has it.
__device__ inline unsigned largest_of_warp(unsigned value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kWholeWarp, value);
#else
  return join_of_warp(value, Largest());
#endif
}

/// The bits that are set in any lane, known to all of them; to be called by whole warps.
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

/// Each lane's own value joined to those of the lanes below it in its segment, neighbouring lanes of a warp of which it
/// is number `lane`; to be called by whole warps. `join(before, own)` must be associative, but may take heed of the
/// order.
template <class A, class Join>
__device__ inline A scan_of_segment(A value, int lane, const Join& join) {
#pragma unroll
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const A before = __shfl_up_sync(kWholeWarp, value, apart);
    if (lane >= apart) value = join(before, value);
  }
  return value;
}

/// The same over all lanes.
template <class A, class Join>
__device__ inline A scan_of_warp(A value, const Join& join) {
  return scan_of_segment(value, thread_of_block() % kWarp, join);
}

/// Of a block of `threads`, whole warps, known to all of them. A collective of the block; `room`, shared memory for a
/// value of each warp, may be that of the call before.
template <int threads, class A, class Join>
__device__ inline A join_of_block(A value, array_t<A, threads / kWarp>& room, const Join& join) {
  value = join_of_warp(value, join);
  __syncthreads();  // what was in the room has been read
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

/// Of the warps of a block in each lane, in the order of the warps and known to all, for blocks of (kWarp, parts)
/// threads. A collective of the block; `room` may be that of the call before.
template <int parts, class A, class Join>
__device__ inline A join_of_parts(array_t<A, parts, kWarp>& room, const A& value, const Join& join) {
  __syncthreads();  // what was in the room has been read
  room[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  A whole = room[0][threadIdx.x];
  for (int part = 1; part < parts; ++part) whole = join(whole, room[part][threadIdx.x]);
  return whole;
}

}  // namespace pydlx
