// Reductions over a warp or block to the highest value, in the order of ranked.h.
#pragma once

#include "common/ranked.h"
#include "common/reduce.cuh"

namespace pydlx {

template <class A>
__device__ inline Ranked<A> exchanged(const Ranked<A>& value, int apart) {
  return {exchanged(value.score, apart), exchanged(value.index, apart)};
}

/// The highest value of a block, returned in every thread. All threads must call it, as for join_of_block.
template <int threads, class A>
__device__ inline Ranked<A> highest_of_block(const Ranked<A>& value, array_t<Ranked<A>, threads / kWarp>& room) {
  return join_of_block<threads>(value, room, [](const Ranked<A>& a, const Ranked<A>& b) { return b.above(a) ? b : a; });
}

/// An unsigned integer of the same size whose order is that of is_higher: NaN maps to all ones, both zeros to the same
/// key, and no number maps to 0. The bits of negative numbers are inverted.
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

/// A score's key and its index; of equal keys the one with the lower index ranks higher.
template <class K>
struct Keyed {
  K key;
  int place;

  __device__ bool above(const Keyed& other) const {
    return key > other.key || (key == other.key && place < other.place);
  }
};

/// The highest value of a warp, returned in every lane. All lanes must call it.
template <class K>
__device__ inline Keyed<K> highest_of_warp(const Keyed<K>& value) {
  const K key = largest_of_warp(value.key);
  const unsigned first = largest_of_warp(value.key == key ? ~static_cast<unsigned>(value.place) : 0u);
  return {key, static_cast<int>(~first)};
}

/// Reduces `first` and `second` over a block, each on its own, to their highest values, returned in every thread. All
/// threads must call it. `room` may be reused from call to call.
template <int threads, class K>
__device__ inline void highest_two_of_block(Keyed<K>& first, Keyed<K>& second,
                                            array_t<Keyed<K>, 2, threads / kWarp>& room) {
  const int lane = thread_of_block() % kWarp, warp = thread_of_block() / kWarp;
  first = highest_of_warp(first);
  second = highest_of_warp(second);
  __syncthreads();  // wait until `room` has been read
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
