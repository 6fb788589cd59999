// What the blocks of a grid hold, put together by the last of them to arrive: neither a second kernel nor a wait.
#pragma once

#include "common/device.cuh"
#include "common/reduce.cuh"

namespace pydlx {

/// Of `blocks` blocks of `threads` each, which number themselves from 0. Returns true in all threads of the last block
/// to arrive, with the whole in `value`; which block that is depends on the schedule, and the result does not.
/// A collective of the block. `parts` has room for a value of each block; `arrived` is 0 before and after; A() is
/// neutral to `join`. What other blocks wrote before they called this is seen by the last one after it.
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
