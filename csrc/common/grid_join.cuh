// Reductions over the blocks of a grid, finished by the last block to arrive, without a second kernel or waiting.
#pragma once

#include "common/device.cuh"
#include "common/reduce.cuh"

namespace pydlx {

/// Joins the values of all threads of `blocks` blocks, numbered from 0, of `threads` threads each. Returns true in all
/// threads of the last block to arrive, with the result in `value`. Which block is last depends on scheduling; the
/// result does not. All threads of the block must call it. `parts` has space for one value per block; `arrived` is 0
/// before and after; A() is the neutral element of `join`. Whatever other blocks wrote before their call is visible to
/// the last block after its call.
template <int threads, class A, class Join>
__device__ inline bool join_of_blocks(A& value, int block, int blocks, A* parts, unsigned* arrived,
                                      array_t<A, threads / kWarp>& room, const Join& join) {
  value = join_of_block<threads>(value, room, join);
  bool last = false;
  if (thread_of_block() == 0) {
    parts[block] = value;
    __threadfence();
    last = atomicAdd(arrived, 1u) == static_cast<unsigned>(blocks - 1);
    if (last) *arrived = 0;
  }
  if (!__syncthreads_or(last)) return false;
  __threadfence();
  value = A();
  for (int k = thread_of_block(); k < blocks; k += threads) value = join(value, __ldcg(parts + k));
  value = join_of_block<threads>(value, room, join);
  return true;
}

}  // namespace pydlx
