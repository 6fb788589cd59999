// Cosine transforms of float32 rows of N samples, a power of two, in one pass over memory (maths in dct.h). With v two
// rows a + ib in Makhoul's order, V = FFT(v) and w = exp(-i pi k / 2N):
//
//     DCT-II     A_k + i B_k = w V_k + conj(w) V_{N-k}
//     DCT-III    V_k = (Y_k - i Y_{N-k}) conj(w) with Y = A + iB, v = inverse FFT(V)
//
// Bytes: each element is read once and written once, in accesses of 8 bytes on the side of the samples and of 4 bytes
// on the side of the frequencies. A block of 256 threads transforms 4096 / N pairs of rows. Rows may be transformed in
// place.
#pragma once

#include <cmath>

#include "dct/line_fft.cuh"

namespace pydlx {

constexpr int kRowThreads = 256;
template <int N>
constexpr int kRowPairs = kRowThreads / kLineThreads<N>;
// Resident blocks per multiprocessor to limit registers for.
template <int N>
constexpr int kRowBlocks = N == 64 ? 2 : 3;
constexpr int kRowSlots = kRowPairs<64> * kLineSlots<64>;  // the same for every N

// The factors of element 0 and of the others.
template <class T>
struct LineScale {
  T first, others;
  __device__ T at(int k) const { return k == 0 ? first : others; }
};

// Marks real lines of a block that have NaN or infinity, which would spread to the other line of their complex line.
// With `apart` such lines are handled separately; it is not needed for planes whose other axis is transformed as well,
// since that spreads NaN over the plane anyway.
class SpoiledPairs {
 public:
  __device__ SpoiledPairs(bool apart, int* marks, int pair) : apart_(apart), marks_(marks + 2 * pair) {}

  /// Clears the marks. All threads of the block must call it, before the first use of `finite`.
  __device__ void clear(bool first_thread) {
    if (!apart_) return;
    if (first_thread) marks_[0] = marks_[1] = 0;
    __syncthreads();
  }

  /// Returns an element of line 0 or 1; if it is not finite, marks the line and returns 0.
  __device__ float finite(float value, int line) {
    if (!apart_ || value - value == 0.0f) return value;
    marks_[line] = 1;
    return 0.0f;
  }
  __device__ Complex<float> finite(const Complex<float>& value) { return {finite(value.re, 0), finite(value.im, 1)}; }

  /// The factor of a line's results: NaN if it is marked, else 1. Valid after a barrier.
  __device__ float factor(int line) const { return apart_ && marks_[line] ? NAN : 1.0f; }

 private:
  bool apart_;
  int* marks_;
};

/// Calls visit(m, A_k + i B_k), unscaled, for k = t + m N / 16, given that the threads hold the Fourier transform of
/// the two lines. All threads of the block must call it. m is a compile-time constant, as in `unrolled`.
template <int N, int lanes, class Visit>
__device__ __forceinline__ void each_cosine_number(const Complex<float> (&v)[kHeld], int t, Complex<float>* room,
                                                   const Visit& visit) {
  put_line<N, lanes>(v, t, room);
  __syncthreads();
  const Complex<float> base = turn(-float(t) / float(2 * N));
  unrolled<kHeld>([&](auto held) {
    constexpr int m = decltype(held)::value;
    const Complex<float> w = turned<m, 4 * kHeld, false>(base);
    const Complex<float> mirrored = room[m == 0 && t == 0 ? 0 : mirrored_slot<N, lanes>(t, m)];
    visit(held, product(w, v[m]) + product_conjugate(mirrored, w));
  });
}

/// The reverse: replaces the scaled Y_k in v by the V_k whose inverse transform gives the lines. All threads of the
/// block must call it. `room` may be written afterwards without a barrier.
template <int N, int lanes>
__device__ __forceinline__ void make_spectrum(Complex<float> (&v)[kHeld], int t, Complex<float>* room) {
  put_line<N, lanes>(v, t, room);
  __syncthreads();
  const Complex<float> base = turn(-float(t) / float(2 * N));
  unrolled<kHeld>([&](auto held) {
    constexpr int m = decltype(held)::value;
    const Complex<float> mirrored = m == 0 && t == 0 ? Complex<float>{0.0f, 0.0f} : room[mirrored_slot<N, lanes>(t, m)];
    v[m] = product_conjugate({v[m].re + mirrored.im, v[m].im - mirrored.re}, turned<m, 4 * kHeld, false>(base));
  });
  __syncthreads();
}

// A thread's pair of rows (the last pair may be a single row) and its index t within the line.
template <int N>
struct RowPair {
  int pair, t;
  int64_t row;
  bool one, two;

  __device__ explicit RowPair(int64_t rows)
      : pair(static_cast<int>(threadIdx.x) / kLineThreads<N>),
        t(static_cast<int>(threadIdx.x) % kLineThreads<N>),
        row((static_cast<int64_t>(blockIdx.x) * kRowPairs<N> + pair) * 2),
        one(row < rows),
        two(row + 1 < rows) {}
};

/// Transforms the rows (rows, N) of x to y: DCT-II, or with kBack DCT-III. With `apart`, NaN or infinity in a row does
/// not affect other rows.
template <int N, bool kBack>
__global__ __launch_bounds__(kRowThreads, PYDLX_BLOCKS(kRowBlocks<N>)) void cosine_rows_kernel(const float* x, float* y,
                                                                                               int64_t rows,
                                                                                               LineScale<float> scale,
                                                                                               bool apart) {
  constexpr int T = kLineThreads<N>;
  PYDLX_SHARED(Complex<float>, all_rooms, kRowSlots);
  PYDLX_SHARED(int, marks, 2 * kRowPairs<N>);
  const RowPair<N> at(rows);
  const int t = at.t;
  Complex<float>* room = all_rooms + at.pair * kLineSlots<N>;
  const float *first = x + at.row * N, *second = first + N;
  float *to_first = y + at.row * N, *to_second = to_first + N;
  SpoiledPairs spoiled(apart, marks, at.pair);
  spoiled.clear(t == 0);
  Complex<float> v[kHeld];

  if constexpr (!kBack) {
    // Samples 2n and 2n + 1 are adjacent and loaded together, but the odd one belongs to another thread.
#pragma unroll
    for (int m = 0; m < kHeld / 2; ++m) {
      const int n = t + m * T;
      const Complex<float> zero{0.0f, 0.0f};
      const auto a = at.one ? reinterpret_cast<const Complex<float>*>(first)[n] : zero;
      const auto b = at.two ? reinterpret_cast<const Complex<float>*>(second)[n] : zero;
      v[m] = spoiled.finite({a.re, b.re});
      room[mirrored_slot<N, 1>(t + 1, m)] = spoiled.finite({a.im, b.im});
    }
    __syncthreads();
#pragma unroll
    for (int m = kHeld / 2; m < kHeld; ++m) v[m] = room[held_slot<N, 1>(t, m)];
    __syncthreads();
    transform_line<N, 1, false>(v, t, room);
    const float factor_a = spoiled.factor(0), factor_b = spoiled.factor(1);
    each_cosine_number<N, 1>(v, t, room, [&](auto held, const Complex<float>& number) {
      constexpr int m = decltype(held)::value;
      const int k = t + m * T;
      if (at.one) to_first[k] = number.re * scale.at(m == 0 ? t : 1) * factor_a;
      if (at.two) to_second[k] = number.im * scale.at(m == 0 ? t : 1) * factor_b;
    });
  } else {
#pragma unroll
    for (int m = 0; m < kHeld; ++m) {
      const int k = t + m * T;
      v[m] = spoiled.finite(
          {at.one ? first[k] * scale.at(m == 0 ? t : 1) : 0.0f, at.two ? second[k] * scale.at(m == 0 ? t : 1) : 0.0f});
    }
    make_spectrum<N, 1>(v, t, room);
    transform_line<N, 1, true>(v, t, room);
    put_line<N, 1>(v, t, room);
    __syncthreads();
    const float factor_a = spoiled.factor(0), factor_b = spoiled.factor(1);
#pragma unroll
    for (int m = 0; m < kHeld / 2; ++m) {
      const int n = t + m * T;
      const Complex<float> even = v[m], odd = room[mirrored_slot<N, 1>(t + 1, m)];
      if (at.one) reinterpret_cast<Complex<float>*>(to_first)[n] = {even.re * factor_a, odd.re * factor_a};
      if (at.two) reinterpret_cast<Complex<float>*>(to_second)[n] = {even.im * factor_b, odd.im * factor_b};
    }
  }
}

}  // namespace pydlx
