// Cosine transforms of float32 columns of N samples, a power of two, in one pass over memory: the transforms of
// rows.cuh along the middle axis of (planes, N, width), for even width. Two neighbouring columns form the complex line
// a + ib. A block transforms lanes<N> adjacent lines, so it accesses memory in pieces of 32 bytes (N above 512) to 128.
// Columns may be transformed in place.
//
// Bytes: each element is read once and written once, 8 per element. N = 2048 and 4096 need 70 and 139 KB of shared
// memory, which not every GPU has.
#pragma once

#include "dct/rows.cuh"

namespace pydlx {

template <int N>
constexpr int kColumnLanes = N <= 128   ? 16
                             : N <= 512 ? 8
                                        : 4;
template <int N>
constexpr int kColumnThreads = kLineThreads<N> * kColumnLanes<N>;
template <int N>
constexpr int kColumnBytes = kLineSlots<N> * kColumnLanes<N> * static_cast<int>(sizeof(Complex<float>));
// Resident blocks per multiprocessor to limit registers for.
template <int N>
constexpr int kColumnBlocks = N <= 1024   ? 768 / kColumnThreads<N>
                              : N == 2048 ? 2
                                          : 1;

/// Transforms the columns of x to y: DCT-II, or with kBack DCT-III. The block index is plane * tiles + tile.
template <int N, bool kBack>
__global__ __launch_bounds__(kColumnThreads<N>, PYDLX_BLOCKS(kColumnBlocks<N>)) void cosine_columns_kernel(
    const float* x, float* y, int width, int tiles, LineScale<float> scale, bool apart) {
  constexpr int T = kLineThreads<N>, lanes = kColumnLanes<N>;
  PYDLX_DYNAMIC_SHARED(Complex<float>, all_rooms);
  PYDLX_SHARED(int, marks, 2 * lanes);
  const int lane = static_cast<int>(threadIdx.x) % lanes, t = static_cast<int>(threadIdx.x) / lanes;
  const unsigned plane = blockIdx.x / static_cast<unsigned>(tiles);
  const int tile = static_cast<int>(blockIdx.x - plane * static_cast<unsigned>(tiles));
  const int pitch = width / 2, column = tile * lanes + lane;
  const bool inside = column < pitch;
  Complex<float>* room = all_rooms + lane;
  const int64_t start = static_cast<int64_t>(plane) * N * pitch + column;
  const auto* from = reinterpret_cast<const Complex<float>*>(x) + start;
  auto* to = reinterpret_cast<Complex<float>*>(y) + start;
  SpoiledPairs spoiled(apart, marks, lane);
  spoiled.clear(t == 0);
  Complex<float> v[kHeld];
  const auto sample = [&](int m) {  // the row of the plane that Makhoul's order puts at this thread's m-th sample
    const int n = t + m * T;
    return static_cast<int64_t>(m < kHeld / 2 ? 2 * n : 2 * (N - 1 - n) + 1) * pitch;
  };
  const auto number = [&](int m) {
    return inside ? from[static_cast<int64_t>(t + m * T) * pitch] : Complex<float>{0, 0};
  };

  if constexpr (!kBack) {
#pragma unroll
    for (int m = 0; m < kHeld; ++m) {
      v[m] = inside ? from[sample(m)] : Complex<float>{0.0f, 0.0f};
      v[m] = spoiled.finite(v[m]);
    }
    transform_line<N, lanes, false>(v, t, room);
    const float factor_a = spoiled.factor(0), factor_b = spoiled.factor(1);
    each_cosine_number<N, lanes>(v, t, room, [&](auto held, const Complex<float>& number) {
      constexpr int m = decltype(held)::value;
      const int64_t k = t + m * T;
      const float factor = scale.at(m == 0 ? t : 1);
      if (inside) to[k * pitch] = {number.re * factor * factor_a, number.im * factor * factor_b};
    });
  } else {
#pragma unroll
    for (int m = 0; m < kHeld; ++m) {
      const float factor = scale.at(m == 0 ? t : 1);
      const Complex<float> value = number(m);
      v[m] = spoiled.finite({value.re * factor, value.im * factor});
    }
    make_spectrum<N, lanes>(v, t, room);
    transform_line<N, lanes, true>(v, t, room);
    const float factor_a = spoiled.factor(0), factor_b = spoiled.factor(1);
#pragma unroll
    for (int m = 0; m < kHeld; ++m) {
      if (inside) to[sample(m)] = {v[m].re * factor_a, v[m].im * factor_b};
    }
  }
}

}  // namespace pydlx
