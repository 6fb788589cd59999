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

/// An unsigned number of as many bits, in the order of is_higher: all ones for NaN, one for both zeros, 0 for none. The
/// bits of a negative number run backwards.
__device__ __forceinline__ uint32_t ordered_key(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f), sign = uint32_t{1} << 31;
  if (score != score) return ~uint32_t{0};
  return bits & sign ? ~bits : bits | sign;
}
__device__ __forceinline__ uint64_t ordered_key(double score) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(score + 0.0)), sign = uint64_t{1} << 63;
  if (score != score) return ~uint64_t{0};
  return bits & sign ? ~bits : bits | sign;
}

template <class A>
using ordered_key_t = decltype(ordered_key(A()));

/// A score's key and its place among those it was taken from; of equal keys the one of the first place is above.
template <class K>
struct Keyed {
  K key;
  int place;

  __device__ bool above(const Keyed& other) const {
    return key > other.key || (key == other.key && place < other.place);
  }
};

/// The highest of a warp's lanes, known to all of them; to be called by whole warps.
template <class K>
__device__ inline Keyed<K> highest_of_warp(const Keyed<K>& value) {
  const K key = largest_of_warp(value.key);
  const unsigned first = largest_of_warp(value.key == key ? ~static_cast<unsigned>(value.place) : 0u);
  return {key, static_cast<int>(~first)};
}

/// The highest first and the highest second of a block of `threads`, known to all of them; a collective of the block.
/// `room` may be that of the call before.
template <int threads, class K>
__device__ inline void highest_two_of_block(Keyed<K>& first, Keyed<K>& second,
                                            array_t<Keyed<K>, 2, threads / kWarp>& room) {
  const int lane = thread_of_block() % kWarp, warp = thread_of_block() / kWarp;
  first = highest_of_warp(first);
  second = highest_of_warp(second);
  __syncthreads();  // what was in the room has been read
  if (lane == 0) {
    room[0][warp] = first;
    room[1][warp] = second;
  }
  __syncthreads();
  const int from = lane < threads / kWarp ? lane : 0;
  first = highest_of_warp(room[0][from]);
  second = highest_of_warp(room[1][from]);
}

}  // namespace pydlx
