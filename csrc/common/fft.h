// Plans of the batched complex FFT: factors, twiddles and the input permutation. The kernels that use them are in
// fft_simd.h, compiled once per instruction set.
//
// Decimation in time, mixed radix, in place. One "element" is a whole pair of SIMD vectors (the real and imaginary
// parts of as many independent lines as a vector has lanes), so permuted access costs nothing: inputs are written
// straight to their digit-reversed slot, and the outputs stand in natural order. Lengths with a prime factor above
// kMaxRadix go through Bluestein's chirp convolution of a smooth length. Tables are computed in float64.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace pydlx {

// A stage of odd radix R costs about R operations per element, Bluestein's convolution about 100.
constexpr int64_t kMaxRadix = 97;
constexpr double kPi = 3.14159265358979323846;

template <class T>
struct FftStage {
  int64_t radix;  // this stage joins `radix` transforms of length `span`
  int64_t span;
  std::vector<T> twiddles;  // (span, radix - 1, 2): exp(-2 pi i q k / (radix span)) for q = 1 .. radix - 1
  std::vector<T> roots;     // odd radix, h = radix / 2: (h, h, 2): cos and sin of 2 pi p q / radix for p, q = 1 .. h
};

// exp(2 pi i a / n); a is reduced in integers first, so that the angle is accurate for every a.
inline std::complex<double> unit_root(int64_t a, int64_t n) {
  return std::polar(1.0, 2.0 * kPi * double(a % n) / double(n));
}

template <class T>
void append_root(std::vector<T>* table, std::complex<double> root) {
  table->push_back(T(root.real()));
  table->push_back(T(root.imag()));
}

// Radices from the innermost stage outwards: odd primes first (the stage without twiddles saves most there), then a 2,
// then 4s. Empty if n has a prime factor above kMaxRadix.
inline std::vector<int64_t> fft_radices(int64_t n) {
  std::vector<int64_t> radices;
  for (int64_t p = 3; p <= kMaxRadix; p += 2)
    for (; n % p == 0; n /= p) radices.insert(radices.begin(), p);
  int64_t twos = 0;
  for (; n % 2 == 0; n /= 2) ++twos;
  if (n != 1) return {};
  if (twos % 2) radices.push_back(2);
  radices.insert(radices.end(), size_t(twos / 2), 4);
  if (radices.empty()) radices.push_back(1);
  return radices;
}

// The cheapest length >= n, by vector operations per element.
inline int64_t smooth_length(int64_t n) {
  int64_t best = 0;
  double best_cost = 0;
  for (int64_t m = n; m <= n + n / 4 + 8; ++m) {
    const auto radices = fft_radices(m);
    if (radices.empty()) continue;
    double cost = 4;
    for (int64_t r : radices) cost += r <= 5 ? 1 + 1.4 * double(r) : 4 + double(r);
    cost *= double(m);
    if (best == 0 || cost < best_cost) best = m, best_cost = cost;
  }
  return best;
}

template <class T>
struct FftPlan {
  int64_t length = 0;
  std::vector<FftStage<T>> stages;  // innermost first; empty for Bluestein
  std::vector<int32_t> slot;        // where input n must be written

  // Bluestein: X_k = chirp_k * sum_n (chirp_n x_n) conj(chirp_{k-n}), a convolution of the smooth length inner->length.
  std::shared_ptr<const FftPlan> inner;
  std::vector<T> chirp;   // (length, 2): exp(-pi i n^2 / length)
  std::vector<T> filter;  // (inner->length, 2): transform of the conjugate chirp, divided by inner->length

  explicit FftPlan(int64_t n) : length(n), slot(size_t(n)) {
    const auto radices = fft_radices(n);
    if (radices.empty()) {
      plan_bluestein();
    } else {
      plan_stages(radices);
    }
  }

  // Elements (pairs of vectors) of work space that fft() needs besides the data.
  int64_t work_size() const { return inner ? 2 * inner->length : 0; }

 private:
  void plan_stages(const std::vector<int64_t>& radices) {
    int64_t span = 1;
    for (int64_t radix : radices) {
      FftStage<T> stage{radix, span, {}, {}};
      for (int64_t k = 0; k < span; ++k) {
        for (int64_t q = 1; q < radix; ++q) {
          append_root(&stage.twiddles, std::conj(unit_root(q * k, radix * span)));
        }
      }
      for (int64_t p = 1; radix % 2 && 2 * p < radix; ++p)
        for (int64_t q = 1; 2 * q < radix; ++q) append_root(&stage.roots, unit_root(p * q, radix));
      span *= radix;
      stages.push_back(std::move(stage));
    }
    for (int64_t n = 0; n < length; ++n) {
      int64_t rest = n, position = 0;
      for (size_t s = stages.size(); s-- > 0;) {
        position += rest % stages[s].radix * stages[s].span;
        rest /= stages[s].radix;
      }
      slot[size_t(n)] = int32_t(position);
    }
  }

  void plan_bluestein();
};

// The transform of one line in float64, as plain as the definition of a stage: for Bluestein's tables only.
inline std::vector<std::complex<double>> scalar_fft(const FftPlan<double>& plan,
                                                    const std::vector<std::complex<double>>& line) {
  std::vector<std::complex<double>> in(line.size()), out(line.size());
  for (size_t n = 0; n < line.size(); ++n) in[size_t(plan.slot[n])] = line[n];
  for (const auto& stage : plan.stages) {
    const int64_t size = stage.radix * stage.span;
    for (int64_t i = 0; i < plan.length; ++i) {
      const int64_t base = i / size * size + i % stage.span;
      out[size_t(i)] = 0;
      for (int64_t q = 0; q < stage.radix; ++q)
        out[size_t(i)] += in[size_t(base + q * stage.span)] * std::conj(unit_root(q * (i % size), size));
    }
    in.swap(out);
  }
  return in;
}

template <class T>
void FftPlan<T>::plan_bluestein() {
  for (int64_t n = 0; n < length; ++n) slot[size_t(n)] = int32_t(n);
  const int64_t m = smooth_length(2 * length - 1);
  inner = std::make_shared<const FftPlan>(m);
  std::vector<std::complex<double>> kernel(static_cast<size_t>(m));
  for (int64_t n = 0; n < length; ++n) {
    const auto root = unit_root(n * n, 2 * length);
    append_root(&chirp, std::conj(root));
    kernel[size_t(n)] = kernel[size_t(n == 0 ? 0 : m - n)] = root;
  }
  for (const auto& value : scalar_fft(FftPlan<double>(m), kernel)) append_root(&filter, value / double(m));
}

// One shared, immutable object per length, made on first use. Built outside the lock, as plans are made of plans.
template <class Plan>
std::shared_ptr<const Plan> cached_plan(int64_t length) {
  static std::mutex mutex;
  static std::map<int64_t, std::shared_ptr<const Plan>> plans;
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = plans.find(length);
    if (found != plans.end()) return found->second;
  }
  auto plan = std::make_shared<const Plan>(length);
  std::lock_guard<std::mutex> lock(mutex);
  return plans.emplace(length, std::move(plan)).first->second;
}

}  // namespace pydlx
