// The row passes before and after the systems of columns.cuh, which treat two rows as one complex row. The pass before
// computes the right side y (right_side.cuh) and the float64 sums for the mean. Rows of 256 .. 4096 samples, a power of
// two, are also transformed in these passes (dct/line_fft.cuh); others are transformed by torch between these kernels.
//
// Bytes per element: before, rhs and colour are read (neighbouring rows, if there is a filter, from the cache) and one
// element is written, 12; after, 8. Consecutive threads have consecutive columns.
#pragma once

#include "dct/dct.cuh"
#include "dct/rows.cuh"
#include "poisson/right_side.cuh"

namespace pydlx {

constexpr int kPackThreads = 256;
constexpr int kPackRows = 8;  // rows per block in the kernels without a transform

/// Packs y to z (planes, pairs, W): pairs of rows as complex rows in Makhoul's order.
__global__ __launch_bounds__(kPackThreads) void pack_rows_kernel(RightSide p, Complex<float>* __restrict__ z) {
  const unsigned plane = blockIdx.x / p.parts;
  const int first = static_cast<int>(blockIdx.x - plane * p.parts) * kPackRows;
  Complex<float>* to = z + (static_cast<int64_t>(plane) * p.pairs + first / 2) * p.width;
  PlainSums sums;
  for (int j = static_cast<int>(threadIdx.x); j < p.width; j += kPackThreads) {
    float y[kPackRows];
    right_side<kPackRows>(p, plane, first, j, &sums, [&](int n, float value) { y[n] = value; });
    const int position = makhoul_position(j, p.width);
#pragma unroll
    for (int n = 0; n < kPackRows; n += 2) {
      if (first + n < p.height) to[static_cast<int64_t>(n / 2) * p.width + position] = {y[n], y[n + 1]};
    }
  }
  if (p.partials != nullptr) {
    store_sums<kPackThreads>(sums.rhs, sums.magnitude, sums.colour, p.partials + blockIdx.x);
  }
}

/// Unpacks z to u (planes, H, W); of p only the sizes are used.
__global__ __launch_bounds__(kPackThreads) void unpack_rows_kernel(RightSide p, const Complex<float>* __restrict__ z,
                                                                   float* __restrict__ u) {
  const unsigned plane = blockIdx.x / p.parts;
  const int first = static_cast<int>(blockIdx.x - plane * p.parts) * kPackRows;
  const Complex<float>* from = z + (static_cast<int64_t>(plane) * p.pairs + first / 2) * p.width;
  float* to = u + (static_cast<int64_t>(plane) * p.height + first) * p.width;
  for (int j = static_cast<int>(threadIdx.x); j < p.width; j += kPackThreads) {
    const float sign = p.alternate && j % 2 == 1 ? -1.0f : 1.0f;
    const int position = makhoul_position(j, p.width);
#pragma unroll
    for (int n = 0; n < kPackRows; n += 2) {
      if (first + n >= p.height) break;
      const Complex<float> value = from[static_cast<int64_t>(n / 2) * p.width + position];
      to[static_cast<int64_t>(n) * p.width + j] = sign * value.re;
      if (first + n + 1 < p.height) to[static_cast<int64_t>(n + 1) * p.width + j] = sign * value.im;
    }
  }
}

// A thread's pair of rows, within its block's plane.
template <int N>
struct PlanePair {
  unsigned plane;
  int first, line, t, pair;  // first: pair of the block

  __device__ explicit PlanePair(unsigned parts)
      : plane(blockIdx.x / parts),
        first(static_cast<int>(blockIdx.x - plane * parts) * kRowPairs<N>),
        line(static_cast<int>(threadIdx.x) / kLineThreads<N>),
        t(static_cast<int>(threadIdx.x) % kLineThreads<N>),
        pair(first + line) {}
};

/// Computes the Fourier transform of z from rhs and colour, in one pass.
template <int N>
__global__ __launch_bounds__(kRowThreads, PYDLX_BLOCKS(3)) void pack_power_rows_kernel(RightSide p,
                                                                                       Complex<float>* __restrict__ z) {
  constexpr int rows = kRowPairs<N> < 2 ? 2 : 4;  // rows of a column that are summed in float32
  PYDLX_SHARED(Complex<float>, rooms, kRowSlots);
  const PlanePair<N> at(p.parts);
  PlainSums sums;
#pragma unroll 1
  for (int j = static_cast<int>(threadIdx.x); j < N; j += kRowThreads) {
    const int place = slot<1>(makhoul_position(j, N));
#pragma unroll 1
    for (int pair = 0; pair < kRowPairs<N>; pair += rows / 2) {
      float y[rows];
      right_side<rows>(p, at.plane, 2 * (at.first + pair), j, &sums, [&](int n, float value) { y[n] = value; });
#pragma unroll
      for (int n = 0; n < rows; n += 2) rooms[(pair + n / 2) * kLineSlots<N> + place] = {y[n], y[n + 1]};
    }
  }
  __syncthreads();
  Complex<float>* room = rooms + at.line * kLineSlots<N>;
  Complex<float> v[kHeld];
  take_line<N, 1>(v, at.t, room);
  __syncthreads();
  transform_line<N, 1, false>(v, at.t, room);
  if (at.pair < p.pairs) {
    Complex<float>* to = z + (static_cast<int64_t>(at.plane) * p.pairs + at.pair) * N + at.t;
#pragma unroll
    for (int m = 0; m < kHeld; ++m) to[m * kLineThreads<N>] = v[m];
  }
  if (p.partials != nullptr) {
    store_sums<kRowThreads>(sums.rhs, sums.magnitude, sums.colour, p.partials + blockIdx.x);
  }
}

/// Computes u from the Fourier transform of z, in one pass.
template <int N>
__global__ __launch_bounds__(kRowThreads,
                             PYDLX_BLOCKS(3)) void unpack_power_rows_kernel(RightSide p,
                                                                            const Complex<float>* __restrict__ z,
                                                                            float* __restrict__ u) {
  PYDLX_SHARED(Complex<float>, rooms, kRowSlots);
  const PlanePair<N> at(p.parts);
  Complex<float>* room = rooms + at.line * kLineSlots<N>;
  Complex<float> v[kHeld];
  const Complex<float>* from = z + (static_cast<int64_t>(at.plane) * p.pairs + at.pair) * N + at.t;
#pragma unroll
  for (int m = 0; m < kHeld; ++m) {
    v[m] = at.pair < p.pairs ? from[m * kLineThreads<N>] : Complex<float>{0.0f, 0.0f};
  }
  transform_line<N, 1, true>(v, at.t, room);
  put_line<N, 1>(v, at.t, room);
  __syncthreads();
  if (at.pair >= p.pairs) return;
  const float sign = p.alternate ? -1.0f : 1.0f;
  float* const to = u + (static_cast<int64_t>(at.plane) * p.height + 2 * at.pair) * N;
  const bool two = 2 * at.pair + 1 < p.height;
#pragma unroll
  for (int m = 0; m < kHeld / 2; ++m) {
    const int n = at.t + m * kLineThreads<N>;
    const Complex<float> even = v[m], odd = room[mirrored_slot<N, 1>(at.t + 1, m)];
    reinterpret_cast<Complex<float>*>(to)[n] = {even.re, sign * odd.re};
    if (two) reinterpret_cast<Complex<float>*>(to + N)[n] = {even.im, sign * odd.im};
  }
}

}  // namespace pydlx
