// Row transforms and sums over rows. Included once per instruction set by poisson_cpu_simd.h.

namespace pydlx {
namespace PYDLX_SIMD {

inline Vec<double> magnitude_of(const Vec<double>& value) {
  const Vec<double> opposite = -value;
  return value > opposite ? value : opposite;
}

// The float64 sums of a row and of its absolute values, in a fixed order.
template <class T>
inline RowSums row_sums(const T* row, int64_t n) {
  constexpr int64_t L = kVecLanes<double>, kChains = 4;
  typedef T Part __attribute__((vector_size(L * sizeof(T))));
  Vec<double> sum[kChains] = {}, magnitude[kChains] = {};
  int64_t j = 0;
  for (; j + L * kChains <= n; j += L * kChains) {
    for (int64_t k = 0; k < kChains; ++k) {
      Part part;
      __builtin_memcpy(&part, row + j + k * L, sizeof(part));
      const Vec<double> value = __builtin_convertvector(part, Vec<double>);
      sum[k] += value;
      magnitude[k] += magnitude_of(value);
    }
  }
  RowSums total{};
  for (; j < n; ++j) {
    total.sum += row[j];
    total.magnitude += row[j] < 0 ? -row[j] : row[j];
  }
  for (int64_t k = 0; k < kChains; ++k) {
    for (int64_t l = 0; l < L; ++l) {
      total.sum += sum[k][l];
      total.magnitude += magnitude[k][l];
    }
  }
  return total;
}

// The exact columns of the spectra of R rows, in float64; `basis` is (kExactColumns, n).
template <int64_t R, class T>
inline void exact_columns(const T* rows, int64_t pitch, const double* basis, int64_t n, double* out) {
  constexpr int64_t L = kVecLanes<double>, J = kExactColumns;
  typedef T Part __attribute__((vector_size(L * sizeof(T))));
  Vec<double> sum[R][J] = {};
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    for (int64_t r = 0; r < R; ++r) {
      Part part;
      __builtin_memcpy(&part, rows + r * pitch + i, sizeof(part));
      const Vec<double> value = __builtin_convertvector(part, Vec<double>);
      for (int64_t j = 0; j < J; ++j) sum[r][j] += value * load(basis + j * n + i);
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t j = 0; j < J; ++j) {
      double total = 0;
      for (int64_t l = 0; l < L; ++l) total += sum[r][j][l];
      for (int64_t k = i; k < n; ++k) total += rows[r * pitch + k] * basis[j * n + k];
      out[r * J + j] = total;
    }
  }
}

// The same for any number of rows, four at a time so that the basis is read less often.
template <class T>
void exact_columns(const T* rows, int64_t count, const double* basis, int64_t n, double* out) {
  int64_t r = 0;
  for (; r + 4 <= count; r += 4) exact_columns<4>(rows + r * n, n, basis, n, out + r * kExactColumns);
  for (; r < count; ++r) exact_columns<1>(rows + r * n, n, basis, n, out + r * kExactColumns);
}

// out = rhs + beta colour, or for `screened` rhs + beta G colour, the 3 x 3 Gaussian with mirrored borders. `above` and
// `below` are the neighbouring rows of colour.
template <class T>
inline void combine_row(const T* rhs, const T* colour, const T* above, const T* below, int64_t n,
                        const PoissonProblem& p, T* out) {
  if (p.formulation != kScreened) {
    const T beta = T(p.beta);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) out[j] = rhs[j] + beta * colour[j];
    return;
  }
  const T centre = T(p.centre), side = T(p.side), beta_centre = T(p.beta * p.centre), beta_side = T(p.beta * p.side);
  const auto column = [&](int64_t j) { return centre * colour[j] + side * (above[j] + below[j]); };
#pragma omp simd
  for (int64_t j = 1; j < n - 1; ++j)
    out[j] = rhs[j] + beta_centre * column(j) + beta_side * (column(j - 1) + column(j + 1));
  out[0] = rhs[0] + beta_centre * column(0) + beta_side * (column(0) + column(n > 1 ? 1 : 0));
  if (n > 1) out[n - 1] = rhs[n - 1] + beta_centre * column(n - 1) + beta_side * (column(n - 1) + column(n - 2));
}

// Computes the spectra of rows [begin, end) of rhs, combined with colour unless that is null, and the wanted sums. Rows
// are numbered through all planes; `basis` is that of exact_columns.
template <class T>
void forward_rows(const PoissonProblem& p, const LinePlan<T>& plan, const T* rhs, const T* colour, T* spectrum,
                  const PlaneSums& sums, const double* basis, int64_t begin, int64_t end) {
  constexpr int64_t G = kGroup<T>;
  const int64_t h = p.height, w = p.width;
  const int64_t pitch = w + 64 / int64_t(sizeof(T));  // not a power of two, so that rows map to different cache sets
  const Workspace space(plan.work_size() * int64_t(sizeof(Pair<T>)) + G * pitch * int64_t(sizeof(T)));
  Pair<T>* work = space.as<Pair<T>>();
  T* combined = reinterpret_cast<T*>(work + plan.work_size());
  for (int64_t row = begin; row < end; row += G) {
    Lines<T> from, to;
    from.step = to.step = 1;
    from.count = to.count = std::min(G, end - row);
    for (int64_t l = 0; l < G; ++l) {
      const int64_t i = std::min(row + l, end - 1);
      to.start[l] = i * w;
      from.start[l] = colour ? (i - row) * pitch : i * w;
    }
    if (sums.exact_rhs) exact_columns(rhs + row * w, to.count, basis, w, sums.exact_rhs + row * kExactColumns);
    if (sums.exact_colour && colour)
      exact_columns(colour + row * w, to.count, basis, w, sums.exact_colour + row * kExactColumns);
    for (int64_t i = row; i < row + to.count; ++i) {
      const T* image = rhs + i * w;
      if (sums.rhs) sums.rhs[i] = row_sums(image, w);
      if (!colour) continue;
      const T* c = colour + i * w;
      if (sums.colour) sums.colour[i] = row_sums(c, w);
      combine_row(image, c, i % h ? c - w : c, i % h + 1 < h ? c + w : c, w, p, combined + (i - row) * pitch);
    }
    transform_lines(plan, colour ? combined : rhs, from, spectrum, to, T(1), T(1), work);
  }
}

template <class T>
void inverse_rows(const LinePlan<T>& plan, T* x, T scale, int64_t begin, int64_t end) {
  constexpr int64_t G = kGroup<T>;
  const Workspace space(plan.work_size() * int64_t(sizeof(Pair<T>)));
  Pair<T>* work = space.as<Pair<T>>();
  for (int64_t row = begin; row < end; row += G) {
    Lines<T> lines;
    lines.step = 1;
    lines.count = std::min(G, end - row);
    for (int64_t l = 0; l < G; ++l) lines.start[l] = std::min(row + l, end - 1) * plan.length;
    transform_lines(plan, x, lines, x, lines, scale, scale, work);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
