// Cosine transforms of float32 rows of N samples, a power of two, in one pass over memory (maths in dct.h):
//
//     v = Makhoul's order of two rows a, b as a + ib, V = FFT(v), w = exp(-i pi k / 2N)
//     DCT-II     A_k + i B_k = w V_k + conj(w) V_{N-k}
//     DCT-III    V_k = (Y_k - i Y_{N-k}) conj(w) with Y = A + iB, v = inverse FFT(V)
//
// Bytes: a row is read once and written once, by 8 bytes in time and by 4 in frequency. A block of 256 threads takes
// 4096 / N pairs of rows; a row may be transformed in place.
#pragma once

#include <cmath>

#include "dct/line_fft.cuh"

namespace pydlx {

constexpr int kRowThreads = 256;
template <int N>
constexpr int kRowPairs = kRowThreads / kLineThreads<N>;
// Blocks to a multiprocessor that registers should allow.
template <int N>
constexpr int kRowBlocks = N == 64 ? 2 : 3;
constexpr int kRowSlots = kRowPairs<64> * kLineSlots<64>;  // the same for every N

// Factors of number 0 and of the others.
template <class T>
struct LineScale {
  T first, others;
  __device__ T at(int k) const { return k == 0 ? first : others; }
};

// Which real lines of a block are not finite. Two lines that are transformed as one complex line would spoil each
// other, unless they are lines of one plane, whose other axis is transformed as well.
class SpoiledPairs {
 public:
  __device__ SpoiledPairs(bool apart, int* marks, int pair) : apart_(apart), marks_(marks + 2 * pair) {}

  /// A collective of the block, before the first number is looked at.
  __device__ void clear(bool first_thread) {
    if (!apart_) return;
    if (first_thread) marks_[0] = marks_[1] = 0;
    __syncthreads();
  }

  /// The number of line 0 or 1, or 0 in its place where it is not finite.
  __device__ float finite(float value, int line) {
    if (!apart_ || value - value == 0.0f) return value;
    marks_[line] = 1;
    return 0.0f;
  }
  __device__ Complex<float> finite(const Complex<float>& value) { return {finite(value.re, 0), finite(value.im, 1)}; }

  /// What a spoiled line's results are multiplied by, to be asked for after a barrier.
  __device__ float factor(int line) const { return apart_ && marks_[line] ? NAN : 1.0f; }

 private:
  bool apart_;
  int* marks_;
};

/// visit(m, A_k + i B_k), unscaled, for k = t + m N / 16, of two lines whose Fourier transform the threads hold. A
/// collective of the block. visit gets m as a type, as from `unrolled`.
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

/// The way back: v holds scaled numbers Y_k, and then the V_k whose inverse transform the lines are. A collective of
/// the block, after which the room may be written.
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

// Where a thread works: its pair of rows, which may be one at the end, and its part of the line.
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

/// rows (rows, N) of x -> y: DCT-II, or back: DCT-III. `apart`: a row that is not finite leaves the others alone.
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
    // Samples 2n and 2n + 1 lie side by side; the odd one belongs to another thread.
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
