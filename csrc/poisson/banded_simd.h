// Factorisation and solution of banded systems, one per lane. Included once per instruction set by poisson_cpu_simd.h.

namespace pydlx {
namespace PYDLX_SIMD {

// The L D L^T factors of a strip of symmetric banded Toeplitz matrices with mirrored (or plain) ends, computed in
// float64 and stored as T: reciprocal pivots and the first subdiagonal of L; the second is outer / pivot. Both converge
// geometrically down the rows, so only `known` rows are stored and later rows use the last of them; the last row of the
// matrix, which differs, is stored separately.
template <class T>
struct StripFactors {
  T* reciprocal;  // (known, S)
  T* lower;       // (known, S)
  T* last_reciprocal;
  T* last_lower;
  T* outer;
  int64_t known;
};

template <class T>
constexpr double kStationary = sizeof(T) == 4 ? 1e-12 : 0.0;

template <class T, int64_t S>
void factor_strip(const ColumnBands* bands, int64_t height, bool dirichlet, StripFactors<T>* out) {
  double diagonal[S], inner[S], outer[S], end[S];
  double pivot[S], pivot_before[S], lower[S];
  const double mirror = dirichlet ? 0.0 : 1.0;
  for (int64_t c = 0; c < S; ++c) {
    diagonal[c] = bands[c].diagonal;
    inner[c] = bands[c].inner;
    outer[c] = bands[c].outer;
    end[c] = mirror * (bands[c].inner + (height == 1 ? bands[c].outer : 0.0));
    pivot[c] = diagonal[c] + end[c];
    pivot_before[c] = 1;
    lower[c] = 0;
    out->outer[c] = T(outer[c]);
    out->reciprocal[c] = T(1 / pivot[c]);
    out->lower[c] = 0;
  }
  // Row i from rows i - 1 and i - 2. The mirrored outer band is added to the first and the last coupling.
  const auto step = [&](int64_t i, bool last) {
    int moving = 0;
    for (int64_t c = 0; c < S; ++c) {
      const double far = i > 1 ? outer[c] : 0.0;
      double coupling = inner[c] - far * lower[c];
      if (i == 1) coupling += mirror * outer[c];
      if (last) coupling += mirror * outer[c];
      const double next_lower = coupling / pivot[c];
      double next = diagonal[c] - next_lower * coupling - far * far / pivot_before[c];
      if (last) next += end[c];
      const double moved = next - pivot[c];
      const double bound = kStationary<T> * next;
      moving |= (moved > bound) | (moved < -bound);
      pivot_before[c] = pivot[c];
      pivot[c] = next;
      lower[c] = next_lower;
    }
    return moving != 0;
  };
  const auto keep = [&](T* reciprocal, T* subdiagonal) {
    for (int64_t c = 0; c < S; ++c) {
      reciprocal[c] = pivot[c] == 0 ? T(0) : T(1 / pivot[c]);
      subdiagonal[c] = T(lower[c]);
    }
  };
  out->known = 1;
  bool moving = true;
  for (int64_t i = 1; i + 1 < height && moving; ++i) {
    moving = step(i, false) || i < 4;
    keep(out->reciprocal + i * S, out->lower + i * S);
    out->known = i + 1;
  }
  if (height > 1) {
    step(height - 1, true);
  } else {
    for (int64_t c = 0; c < S; ++c) pivot[c] += end[c];
  }
  keep(out->last_reciprocal, out->last_lower);
}

template <class V, class T>
inline V get(const T* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof(V));
  return value;
}
template <class V, class T>
inline void put(T* to, const V& value) {
  __builtin_memcpy(to, &value, sizeof(V));
}

// Solves the strip: forward substitution z_i = x_i - lower_i z_{i-1} - outer r_{i-2} z_{i-2}, then back substitution
// u_i = r_i z_i - lower_{i+1} u_{i+1} - outer r_i u_{i+2}. z is packed (height, S); x and u may be the same array.
template <class V, class T, int64_t S, bool kOuter>
void sweep_strip(const StripFactors<T>& f, int64_t height, const T* x, T* u, int64_t stride, T* z) {
  constexpr int64_t W = int64_t(sizeof(V) / sizeof(T)), N = S / W;
  constexpr int64_t kAhead = 8;
  const int64_t cap = f.known - 1, last = height - 1;
  V near[N] = {}, far[N] = {};
  for (int64_t i = 0; i < height; ++i) {
    const T* lower = i == last ? f.last_lower : f.lower + std::min(i, cap) * S;
    const T* before = f.reciprocal + std::min(std::max<int64_t>(i - 2, 0), cap) * S;
    for (int64_t n = 0; n < N; ++n) {
      if (i + kAhead < height) __builtin_prefetch(x + (i + kAhead) * stride + n * W);
      V value = get<V>(x + i * stride + n * W) - get<V>(lower + n * W) * near[n];
      if constexpr (kOuter) {
        value -= get<V>(f.outer + n * W) * get<V>(before + n * W) * far[n];
        far[n] = near[n];
      }
      near[n] = value;
      put(z + i * S + n * W, value);
    }
  }
  for (int64_t n = 0; n < N; ++n) near[n] = far[n] = V{};
  for (int64_t i = last; i >= 0; --i) {
    const T* reciprocal = i == last ? f.last_reciprocal : f.reciprocal + std::min(i, cap) * S;
    const T* lower = i + 1 >= last ? f.last_lower : f.lower + std::min(i + 1, cap) * S;
    for (int64_t n = 0; n < N; ++n) {
      const V r = get<V>(reciprocal + n * W);
      V value = get<V>(z + i * S + n * W) * r - get<V>(lower + n * W) * near[n];
      if constexpr (kOuter) {
        value -= get<V>(f.outer + n * W) * r * far[n];
        far[n] = near[n];
      }
      near[n] = value;
      put(u + i * stride + n * W, value);
    }
  }
}

// Reciprocal pivots r_i and multipliers w_i = -e r_i of a strip of complex symmetric tridiagonal matrices, with
// separate real and imaginary parts. The matrices' real part is L, which is positive, so no pivoting is needed.
template <class T>
struct ComplexFactors {
  T* rows;  // (known, 4, S): re r, im r, re w, im w
  T* last;  // (4, S)
  int64_t known;
};

template <class T, int64_t S>
void factor_complex_strip(const ColumnBands* bands, int64_t height, ComplexFactors<T>* out) {
  double re[S], im[S];
  const auto keep = [&](T* row) {
    for (int64_t c = 0; c < S; ++c) {
      const double square = re[c] * re[c] + im[c] * im[c], inverse = square == 0 ? 0.0 : 1 / square;
      const double r = re[c] * inverse, i = -im[c] * inverse;
      row[c] = T(r);
      row[S + c] = T(i);
      row[2 * S + c] = T(-bands[c].inner * r + bands[c].imaginary_inner * i);
      row[3 * S + c] = T(-bands[c].inner * i - bands[c].imaginary_inner * r);
    }
  };
  for (int64_t c = 0; c < S; ++c) {
    re[c] = bands[c].diagonal + bands[c].inner;
    im[c] = bands[c].imaginary_diagonal + bands[c].imaginary_inner;
  }
  // p_i = d - e^2 / p_{i-1}
  const auto step = [&] {
    int moving = 0;
    for (int64_t c = 0; c < S; ++c) {
      const double e = bands[c].inner, f = bands[c].imaginary_inner;
      const double square = re[c] * re[c] + im[c] * im[c];
      const double q = (e * e - f * f) / square, t = 2 * e * f / square;
      const double next_re = bands[c].diagonal - (q * re[c] + t * im[c]);
      const double next_im = bands[c].imaginary_diagonal - (t * re[c] - q * im[c]);
      const double moved = (next_re - re[c]) * (next_re - re[c]) + (next_im - im[c]) * (next_im - im[c]);
      moving |= moved > kStationary<T> * kStationary<T> * square;
      re[c] = next_re;
      im[c] = next_im;
    }
    return moving != 0;
  };
  keep(out->rows);
  out->known = 1;
  bool moving = true;
  for (int64_t i = 1; i + 1 < height && moving; ++i) {
    moving = step();
    keep(out->rows + i * 4 * S);
    out->known = i + 1;
  }
  if (height > 1) step();
  for (int64_t c = 0; c < S; ++c) {
    re[c] += bands[c].inner;
    im[c] += bands[c].imaginary_inner;
  }
  keep(out->last);
}

// u = the real part of the solution for the right-hand side x + i weight y. z is packed (height, 2, S); x and u may be
// the same array.
template <class V, class T, int64_t S>
void sweep_complex_strip(const ComplexFactors<T>& f, int64_t height, T weight, const T* x, const T* y, T* u,
                         int64_t stride, T* z) {
  constexpr int64_t W = int64_t(sizeof(V) / sizeof(T)), N = S / W;
  constexpr int64_t kAhead = 8;
  const auto factors = [&](int64_t i) { return i == height - 1 ? f.last : f.rows + std::min(i, f.known - 1) * 4 * S; };
  V re[N] = {}, im[N] = {};
  for (int64_t i = 0; i < height; ++i) {
    const T* w = factors(std::max<int64_t>(i - 1, 0)) + 2 * S;
    for (int64_t n = 0; n < N; ++n) {
      if (i + kAhead < height) {
        __builtin_prefetch(x + (i + kAhead) * stride + n * W);
        __builtin_prefetch(y + (i + kAhead) * stride + n * W);
      }
      const V a = get<V>(w + n * W), b = get<V>(w + S + n * W);
      const V next = get<V>(x + i * stride + n * W) + a * re[n] - b * im[n];
      im[n] = get<V>(y + i * stride + n * W) * weight + a * im[n] + b * re[n];
      re[n] = next;
      put(z + 2 * i * S + n * W, re[n]);
      put(z + (2 * i + 1) * S + n * W, im[n]);
    }
  }
  for (int64_t n = 0; n < N; ++n) re[n] = im[n] = V{};
  for (int64_t i = height - 1; i >= 0; --i) {
    const T* row = factors(i);
    for (int64_t n = 0; n < N; ++n) {
      const V r = get<V>(row + n * W), s = get<V>(row + S + n * W);
      const V a = get<V>(row + 2 * S + n * W), b = get<V>(row + 3 * S + n * W);
      const V p = get<V>(z + 2 * i * S + n * W), q = get<V>(z + (2 * i + 1) * S + n * W);
      const V next = p * r - q * s + (a * re[n] - b * im[n]);
      im[n] = p * s + q * r + (a * im[n] + b * re[n]);
      re[n] = next;
      put(u + i * stride + n * W, re[n]);
    }
  }
}

// The factored systems of S neighbouring columns, in a workspace of work_size elements. V is the vector type to use.
template <class V, class T, int64_t S>
struct ColumnSolver {
  const PoissonProblem& p;
  StripFactors<T> real{};
  ComplexFactors<T> complex{};
  T* z;

  static int64_t work_size(int64_t height) { return (6 * height + 4) * S; }

  ColumnSolver(const PoissonProblem& problem, const ColumnBands* bands, T* work) : p(problem), z(work + 4 * S) {
    T* tables = z + 2 * p.height * S;
    if (p.formulation == kPaper) {
      complex = {tables, work, 0};
      factor_complex_strip<T, S>(bands, p.height, &complex);
    } else {
      real = {tables, tables + p.height * S, work, work + S, work + 2 * S, 0};
      factor_strip<T, S>(bands, p.height, p.dirichlet, &real);
    }
  }

  // Solves in place in x, with `stride` elements between rows; for `paper` also with y, which is scaled by sqrt(beta).
  void solve(T* x, const T* y, int64_t stride) const {
    switch (p.formulation) {
      case kPaper:
        return sweep_complex_strip<V, T, S>(complex, p.height, T(std::sqrt(p.beta)), x, y, x, stride, z);
      case kScreened:
        return sweep_strip<V, T, S, true>(real, p.height, x, x, stride, z);
      default:
        return sweep_strip<V, T, S, false>(real, p.height, x, x, stride, z);
    }
  }
};

}  // namespace PYDLX_SIMD
}  // namespace pydlx
