// Batched FFT over SIMD lanes, compiled once per instruction set: no include guard, no standard headers (fft.h and
// the includes of the .cpp come first). An element is a Pair of vectors: lane l of (re, im) belongs to line l.
namespace pydlx {
namespace PYDLX_SIMD {

template <class T>
struct Pair {
  Vec<T> re, im;
};

template <class T>
inline Pair<T> operator+(const Pair<T>& a, const Pair<T>& b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
inline Pair<T> operator-(const Pair<T>& a, const Pair<T>& b) {
  return {a.re - b.re, a.im - b.im};
}
// a * (w[0] + i w[1]), the same factor for every lane.
template <class T>
inline Pair<T> times(const Pair<T>& a, const T* w) {
  return {a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]};
}
template <class T>
inline Pair<T> times_minus_i(const Pair<T>& a) {
  return {a.im, -a.re};
}

// cos and sin of 2 pi p / R as compile-time tables for the odd radices.
template <int R>
struct OddRoots;
#define PYDLX_ODD_ROOTS(R, ...)                              \
  template <>                                                \
  struct OddRoots<R> {                                       \
    static constexpr double value[R / 2][2] = {__VA_ARGS__}; \
  };
PYDLX_ODD_ROOTS(3, {-0.5, 0.86602540378443864676})
PYDLX_ODD_ROOTS(5, {0.30901699437494742410, 0.95105651629515357212}, {-0.80901699437494742410, 0.58778525229247312917})
PYDLX_ODD_ROOTS(7, {0.62348980185873353053, 0.78183148246802980871}, {-0.22252093395631440429, 0.97492791218182360702},
                {-0.90096886790241912624, 0.43388373911755812048})
#undef PYDLX_ODD_ROOTS

// R-point transform of x in registers, for odd R: outputs p and R - p share their products.
template <int R, class T>
struct Butterfly {
  static inline void apply(Pair<T>* x) {
    constexpr int h = R / 2;
    Pair<T> sum[h], difference[h];
    const Pair<T> first = x[0];
    for (int q = 0; q < h; ++q) {
      sum[q] = x[q + 1] + x[R - 1 - q];
      difference[q] = x[q + 1] - x[R - 1 - q];
      x[0] = x[0] + sum[q];
    }
#pragma GCC unroll 8
    for (int p = 1; p <= h; ++p) {
      Pair<T> even = first, odd{};
#pragma GCC unroll 8
      for (int q = 1; q <= h; ++q) {
        const int a = p * q % R;
        const T c = T(OddRoots<R>::value[(a <= h ? a : R - a) - 1][0]);
        const T s = T(OddRoots<R>::value[(a <= h ? a : R - a) - 1][1]) * T(a <= h ? 1 : -1);
        even = {even.re + sum[q - 1].re * c, even.im + sum[q - 1].im * c};
        odd = {odd.re + difference[q - 1].re * s, odd.im + difference[q - 1].im * s};
      }
      x[p] = {even.re + odd.im, even.im - odd.re};
      x[R - p] = {even.re - odd.im, even.im + odd.re};
    }
  }
};

template <class T>
struct Butterfly<1, T> {
  static inline void apply(Pair<T>*) {}
};

template <class T>
struct Butterfly<2, T> {
  static inline void apply(Pair<T>* x) {
    const Pair<T> a = x[0];
    x[0] = a + x[1];
    x[1] = a - x[1];
  }
};

template <class T>
struct Butterfly<4, T> {
  static inline void apply(Pair<T>* x) {
    const Pair<T> a = x[0] + x[2], b = x[0] - x[2], c = x[1] + x[3], d = times_minus_i(x[1] - x[3]);
    x[0] = a + c;
    x[1] = b + d;
    x[2] = a - c;
    x[3] = b - d;
  }
};

// One stage over `count` elements: combines R neighbouring transforms of length `span`, in place.
template <int R, class T>
inline void fft_stage(Pair<T>* data, int64_t count, int64_t span, const T* twiddles) {
  for (Pair<T>* block = data; block < data + count; block += R * span) {
    for (int64_t k = 0; k < span; ++k) {
      Pair<T> x[R];
      x[0] = block[k];
      const T* w = twiddles + k * 2 * (R - 1);
#pragma GCC unroll 16
      for (int q = 1; q < R; ++q) x[q] = times(block[k + q * span], w + 2 * (q - 1));
      Butterfly<R, T>::apply(x);
#pragma GCC unroll 16
      for (int q = 0; q < R; ++q) block[k + q * span] = x[q];
    }
  }
}

// The innermost stage has span 1 and no twiddles.
template <int R, class T>
inline void fft_first_stage(Pair<T>* data, int64_t count) {
  for (Pair<T>* block = data; block < data + count; block += R) {
    Pair<T> x[R];
#pragma GCC unroll 16
    for (int q = 0; q < R; ++q) x[q] = block[q];
    Butterfly<R, T>::apply(x);
#pragma GCC unroll 16
    for (int q = 0; q < R; ++q) block[q] = x[q];
  }
}

template <int R, class T>
void run_stage(Pair<T>* data, int64_t count, const FftStage<T>& stage) {
  if (stage.span == 1) {
    fft_first_stage<R, T>(data, count);
  } else {
    fft_stage<R, T>(data, count, stage.span, stage.twiddles.data());
  }
}

// Outputs p and radix - p of an odd radix, for N values of p at once, accumulated over the sums and differences of
// inputs q and radix - q.
template <int N, class T>
inline void odd_outputs(const Pair<T>& first, const Pair<T>* sum, const Pair<T>* difference, const T* roots, int64_t p,
                        int64_t radix, int64_t span, Pair<T>* out) {
  const int64_t half = radix / 2;
  Pair<T> even[N], odd[N];
  for (int i = 0; i < N; ++i) even[i] = first, odd[i] = Pair<T>{};
  for (int64_t q = 0; q < half; ++q) {
#pragma GCC unroll 2
    for (int i = 0; i < N; ++i) {
      const T* root = roots + 2 * ((p - 1 + i) * half + q);
      even[i] = {even[i].re + sum[q].re * root[0], even[i].im + sum[q].im * root[0]};
      odd[i] = {odd[i].re + difference[q].re * root[1], odd[i].im + difference[q].im * root[1]};
    }
  }
  for (int i = 0; i < N; ++i) {
    out[(p + i) * span] = {even[i].re + odd[i].im, even[i].im - odd[i].re};
    out[(radix - p - i) * span] = {even[i].re - odd[i].im, even[i].im + odd[i].re};
  }
}

// A stage of any odd radix.
template <class T>
void run_odd_stage(Pair<T>* data, int64_t count, const FftStage<T>& stage) {
  const int64_t radix = stage.radix, half = radix / 2, span = stage.span;
  Pair<T> sum[kMaxRadix / 2], difference[kMaxRadix / 2];
  for (Pair<T>* block = data; block < data + count; block += radix * span) {
    for (int64_t k = 0; k < span; ++k) {
      Pair<T>* x = block + k;
      const T* w = stage.twiddles.data() + 2 * k * (radix - 1);
      const Pair<T> first = x[0];
      for (int64_t q = 0; q < half; ++q) {
        const Pair<T> a = times(x[(q + 1) * span], w + 2 * q);
        const Pair<T> b = times(x[(radix - 1 - q) * span], w + 2 * (radix - 2 - q));
        sum[q] = a + b;
        difference[q] = a - b;
        x[0] = x[0] + sum[q];
      }
      int64_t p = 1;
      for (; p < half; p += 2) odd_outputs<2>(first, sum, difference, stage.roots.data(), p, radix, span, x);
      if (p == half) odd_outputs<1>(first, sum, difference, stage.roots.data(), p, radix, span, x);
    }
  }
}

template <class T>
void fft_pass(Pair<T>* data, int64_t count, const FftStage<T>& stage) {
  switch (stage.radix) {
    case 2:
      return run_stage<2, T>(data, count, stage);
    case 3:
      return run_stage<3, T>(data, count, stage);
    case 4:
      return run_stage<4, T>(data, count, stage);
    case 5:
      return run_stage<5, T>(data, count, stage);
    case 7:
      return run_stage<7, T>(data, count, stage);
    case 1:
      return;
    default:
      return run_odd_stage(data, count, stage);
  }
}

// Stages 0 .. last of one block: depth first while the block exceeds the L1 cache, then stage by stage.
template <class T>
void fft_block(Pair<T>* data, const FftPlan<T>& plan, size_t last) {
  constexpr int64_t kCacheElements = 32768 / int64_t(sizeof(Pair<T>));
  const FftStage<T>& stage = plan.stages[last];
  const int64_t count = stage.radix * stage.span;
  if (count <= kCacheElements || last == 0) {
    for (size_t s = 0; s <= last; ++s) fft_pass(data, count, plan.stages[s]);
    return;
  }
  for (int64_t q = 0; q < stage.radix; ++q) fft_block(data + q * stage.span, plan, last - 1);
  fft_pass(data, count, stage);
}

// Forward transform in place; input n is at data[plan.slot[n]], output k at data[k]. For the unscaled inverse the
// caller swaps re and im of inputs and outputs. `work` has plan.work_size() elements.
template <class T>
void fft(Pair<T>* data, Pair<T>* work, const FftPlan<T>& plan) {
  if (!plan.inner) return fft_block(data, plan, plan.stages.size() - 1);
  const FftPlan<T>& inner = *plan.inner;
  const int32_t* slot = inner.slot.data();
  Pair<T>* product = work + inner.length;
  for (int64_t n = 0; n < plan.length; ++n) work[slot[n]] = times(data[n], &plan.chirp[size_t(2 * n)]);
  for (int64_t n = plan.length; n < inner.length; ++n) work[slot[n]] = Pair<T>{};
  fft_block(work, inner, inner.stages.size() - 1);
  for (int64_t k = 0; k < inner.length; ++k) {
    const Pair<T> p = times(work[k], &plan.filter[size_t(2 * k)]);
    product[slot[k]] = {p.im, p.re};
  }
  fft_block(product, inner, inner.stages.size() - 1);
  for (int64_t k = 0; k < plan.length; ++k)
    data[k] = times(Pair<T>{product[k].im, product[k].re}, &plan.chirp[size_t(2 * k)]);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
