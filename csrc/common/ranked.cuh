// The highest of what the threads of a block hold.
#pragma once

#include "common/ranked.h"
#include "common/reduce.cuh"

namespace pydlx {

template <class A>
__device__ inline Ranked<A> exchanged(const Ranked<A>& value, int apart) {
  return {exchanged(value.score, apart), exchanged(value.index, apart)};
}

/// Of a block of `threads`, known to all of them; a collective of the block, as join_of_block is.
template <int threads, class A>
__device__ inline Ranked<A> highest_of_block(const Ranked<A>& value, array_t<Ranked<A>, threads / kWarp>& room) {
  return join_of_block<threads>(value, room, [](const Ranked<A>& a, const Ranked<A>& b) { return b.above(a) ? b : a; });
}

}  // namespace pydlx
