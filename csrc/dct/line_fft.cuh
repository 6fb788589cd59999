// Fourier transforms of complex float32 lines of N = 64 .. 4096 samples, a power of two, in registers of one block:
//
//     V_k = sum_n v_n exp(-2 pi i n k / N)         or with exp(+...), both unscaled
//
// N / 16 threads share a line; thread t holds samples t + m N / 16, m = 0 .. 15, before and after. The Stockham
// algorithm makes passes of radix 16, 16 (for N above 256) and the remaining factor, with an exchange in shared memory
// between passes. A pass costs about 11 operations per sample, a transform of 1024 samples about 35. Global memory is
// not used.
//
// In shared memory, sample n of line c of `lanes` adjacent lines is at slot(n) + c. One slot in 17 is unused, so that
// accesses of stride 1 and of stride 16 are both free of bank conflicts.
#pragma once

#include <utility>

#include "common/complex.cuh"

namespace pydlx {

constexpr int kHeld = 16;  // samples a thread holds

template <int N>
constexpr int kLineThreads = N / kHeld;
template <int N>
constexpr int kLineSlots = N + N / 16;

/// Calls body(std::integral_constant<int, n>()) if n is a power of two from `least` to `most`, which are powers of two;
/// returns whether it did.
template <int least, int most, class Body>
bool dispatch_power(int64_t n, const Body& body) {
  if (n == least) return body(std::integral_constant<int, least>()), true;
  if constexpr (least < most) return dispatch_power<2 * least, most>(n, body);
  return false;
}

template <int lanes>
__device__ __forceinline__ int slot(int n) {
  return (n + (n >> 4)) * lanes;
}

/// The slots of samples t + m N / 16 and of N - t - m N / 16. If the step is a multiple of 17 slots, all are at
/// constant offsets from one address.
template <int N, int lanes>
__device__ __forceinline__ int held_slot(int t, int m) {
  constexpr int T = kLineThreads<N>;
  return T % 16 == 0 ? slot<lanes>(t) + m * slot<lanes>(T) : slot<lanes>(t + m * T);
}
template <int N, int lanes>
__device__ __forceinline__ int mirrored_slot(int t, int m) {
  constexpr int T = kLineThreads<N>;
  return T % 16 == 0 ? slot<lanes>(N - t) - m * slot<lanes>(T) : slot<lanes>(N - t - m * T);
}

template <class Body, int... indices>
__device__ __forceinline__ void unrolled(const Body& body, std::integer_sequence<int, indices...>) {
  (body(std::integral_constant<int, indices>()), ...);
}

/// Calls body(0) .. body(count - 1), unrolled, where the index is a compile-time constant: decltype(i)::value.
template <int count, class Body>
__device__ __forceinline__ void unrolled(const Body& body) {
  unrolled(body, std::make_integer_sequence<int, count>());
}

// Sine and cosine at compile time, for |angle| <= pi.
__host__ __device__ constexpr double constant_cosine(double angle) {
  double term = 1, sum = 1;
  for (int k = 1; k < 20; ++k) {
    term *= -angle * angle / double((2 * k - 1) * (2 * k));
    sum += term;
  }
  return sum;
}
__host__ __device__ constexpr double constant_sine(double angle) {
  double term = angle, sum = angle;
  for (int k = 1; k < 20; ++k) {
    term *= -angle * angle / double((2 * k) * (2 * k + 1));
    sum += term;
  }
  return sum;
}

/// a exp(-2 pi i part / whole), or with kBack a exp(+2 pi i part / whole).
template <int part, int whole, bool kBack>
__device__ __forceinline__ Complex<float> turned(const Complex<float>& a) {
  constexpr int k = part % whole;
  if constexpr (k == 0) {
    return a;
  } else if constexpr (4 * k == whole) {
    return kBack ? Complex<float>{-a.im, a.re} : Complex<float>{a.im, -a.re};
  } else if constexpr (2 * k == whole) {
    return {-a.re, -a.im};
  } else {
    constexpr double angle = 6.283185307179586476925 * (2 * k > whole ? k - whole : k) / whole;
    constexpr float c = float(constant_cosine(angle));
    constexpr float s = float(kBack ? constant_sine(angle) : -constant_sine(angle));
    return {a.re * c - a.im * s, a.re * s + a.im * c};
  }
}

template <bool kBack>
__device__ __forceinline__ void transform_four(Complex<float>& a, Complex<float>& b, Complex<float>& c,
                                               Complex<float>& d) {
  const Complex<float> p = a + c, q = a - c, r = b + d, s = turned<1, 4, kBack>(b - d);
  a = p + r, b = q + s, c = p - r, d = q - s;
}

// Transforms R numbers in registers; inputs and outputs are in natural order.
template <int R, bool kBack>
__device__ __forceinline__ void transform_registers(Complex<float> (&v)[R]) {
  static_assert(R == 2 || R == 4 || R == 8 || R == 16);
  if constexpr (R == 2) {
    const Complex<float> a = v[0], b = v[1];
    v[0] = a + b, v[1] = a - b;
  } else if constexpr (R == 4) {
    transform_four<kBack>(v[0], v[1], v[2], v[3]);
  } else if constexpr (R == 8) {
    Complex<float> even[4] = {v[0], v[2], v[4], v[6]}, odd[4] = {v[1], v[3], v[5], v[7]};
    transform_four<kBack>(even[0], even[1], even[2], even[3]);
    transform_four<kBack>(odd[0], odd[1], odd[2], odd[3]);
    unrolled<4>([&](auto i) {
      constexpr int k = decltype(i)::value;
      const Complex<float> x = turned<k, 8, kBack>(odd[k]);
      v[k] = even[k] + x, v[k + 4] = even[k] - x;
    });
  } else {
    for (int i = 0; i < 4; ++i) transform_four<kBack>(v[i], v[i + 4], v[i + 8], v[i + 12]);
    // Now v[i + 4 k] is element k of the transform of v[i], v[i + 4], v[i + 8], v[i + 12].
    Complex<float> y[16];
    unrolled<4>([&](auto quarter) {
      constexpr int k = decltype(quarter)::value;
      Complex<float> x[4];
      unrolled<4>([&](auto i) {
        x[decltype(i)::value] = turned<decltype(i)::value * k, 16, kBack>(v[decltype(i)::value + 4 * k]);
      });
      transform_four<kBack>(x[0], x[1], x[2], x[3]);
      for (int l = 0; l < 4; ++l) y[k + 4 * l] = x[l];
    });
    for (int n = 0; n < 16; ++n) v[n] = y[n];
  }
}

// v[r] *= w^r, with few powers of w in registers at a time.
template <int R>
__device__ __forceinline__ void multiply_by_powers(Complex<float> (&v)[R], const Complex<float>& w) {
  if constexpr (R == 2) {
    v[1] = product(v[1], w);
  } else {
    const Complex<float> w2 = product(w, w), w3 = product(w2, w), w4 = product(w2, w2);
    v[1] = product(v[1], w), v[2] = product(v[2], w2), v[3] = product(v[3], w3);
    Complex<float> far = w4;
#pragma unroll
    for (int r = 4; r < R; r += 4) {
      if (r > 4) far = product(far, w4);
      v[r] = product(v[r], far);
      v[r + 1] = product(v[r + 1], product(far, w));
      v[r + 2] = product(v[r + 2], product(far, w2));
      v[r + 3] = product(v[r + 3], product(far, w3));
    }
  }
}

/// Writes the samples that thread t holds to shared memory, or reads them.
template <int N, int lanes>
__device__ __forceinline__ void put_line(const Complex<float> (&v)[kHeld], int t, Complex<float>* room) {
#pragma unroll
  for (int m = 0; m < kHeld; ++m) room[held_slot<N, lanes>(t, m)] = v[m];
}
template <int N, int lanes>
__device__ __forceinline__ void take_line(Complex<float> (&v)[kHeld], int t, const Complex<float>* room) {
#pragma unroll
  for (int m = 0; m < kHeld; ++m) v[m] = room[held_slot<N, lanes>(t, m)];
}

// One Stockham pass of radix R, which combines transforms of `done` samples.
template <int N, int lanes, int R, int done, bool kBack>
__device__ __forceinline__ void transform_pass(Complex<float> (&v)[kHeld], int t, Complex<float>* room) {
  constexpr int groups = kHeld / R;
  constexpr bool last = done * R == N;
  static_assert(last || groups == 1);
  Complex<float> base{1.0f, 0.0f};
  if constexpr (done > 1) base = turn((kBack ? 2.0f : -2.0f) * float(t % done) / float(done * R));
  unrolled<groups>([&](auto group) {
    constexpr int q = decltype(group)::value;
    Complex<float> x[R];
#pragma unroll
    for (int r = 0; r < R; ++r) x[r] = v[q + groups * r];
    if constexpr (done > 1) multiply_by_powers(x, turned<q, kHeld, kBack>(base));
    transform_registers<R, kBack>(x);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if constexpr (last) {
        v[q + groups * r] = x[r];
      } else {
        room[slot<lanes>(t / done * done * R + t % done + r * done)] = x[r];
      }
    }
  });
  if constexpr (!last) {
    __syncthreads();
    take_line<N, lanes>(v, t, room);
    __syncthreads();
  }
}

/// The whole transform. All threads of the block must call it. `room` may be written before and after without a
/// barrier.
template <int N, int lanes, bool kBack>
__device__ __forceinline__ void transform_line(Complex<float> (&v)[kHeld], int t, Complex<float>* room) {
  static_assert(N >= 32 && N <= 4096 && (N & (N - 1)) == 0);
  transform_pass<N, lanes, 16, 1, kBack>(v, t, room);
  if constexpr (N <= 256) {
    transform_pass<N, lanes, N / 16, 16, kBack>(v, t, room);
  } else {
    transform_pass<N, lanes, 16, 16, kBack>(v, t, room);
    transform_pass<N, lanes, N / 256, 256, kBack>(v, t, room);
  }
}

}  // namespace pydlx
