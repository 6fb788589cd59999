// Plans of the batched complex FFT on the CPU: factors, twiddles and the input permutation. The loops that use them are
// in fft_simd.h, compiled once per instruction set.
//
// The FFT is mixed-radix decimation in time, in place. One "element" is a pair of SIMD vectors, the real and imaginary
// parts of as many independent lines as a vector has lanes. Permuted access to whole vectors costs nothing, so inputs
// are written directly to their digit-reversed slots and outputs come out in natural order. Lengths with a prime factor
// above kMaxRadix use Bluestein's chirp convolution of a smooth length. Tables are computed in float64.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "common/pages.h"
#include "fft/roots.h"

namespace pydlx {

// A stage of odd radix R costs about R operations per element; Bluestein's convolution costs about 100.
constexpr int64_t kMaxRadix = 97;

template <class T>
struct FftStage {
  int64_t radix;  // this stage combines `radix` transforms of length `span`
  int64_t span;
  Table<T> twiddles;  // (span, radix - 1, 2): exp(-2 pi i q k / (radix span)) for q = 1 .. radix - 1
  Table<T> roots;     // odd radix, h = radix / 2: (h, h, 2): cos and sin of 2 pi p q / radix for p, q = 1 .. h
};

template <class T>
void append_root(Table<T>* table, std::complex<double> root) {
  table->push_back(T(root.real()));
  table->push_back(T(root.imag()));
}

template <class T>
int64_t bytes_of(const Table<T>& table) {
  return int64_t(table.size() * sizeof(T));
}

// Radices from the innermost stage outwards: odd primes first (the innermost stage has no twiddles, which saves most
// for a large radix), then a 2, then 4s. Empty if n has a prime factor above kMaxRadix.
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

// float64 lanes of the widest vectors.
constexpr int64_t kMostLanes = 8;

// The length >= n that is cheapest to transform among the multiples of kMostLanes without prime factors above 7.
inline int64_t smooth_length(int64_t n) {
  int64_t best = 0;
  double best_cost = 0;
  for (int64_t sevens = 1; sevens < 2 * n; sevens *= 7)
    for (int64_t fives = sevens; fives < 2 * n; fives *= 5)
      for (int64_t m = fives; m < 2 * n; m *= 3) {
        int64_t length = m * kMostLanes;
        while (length < n) length *= 2;
        double cost = 4;
        for (int64_t r : fft_radices(length)) cost += r <= 5 ? 1 + 1.4 * double(r) : 4 + double(r);
        cost *= double(length);
        if (best == 0 || cost < best_cost) best = length, best_cost = cost;
      }
  return best;
}

template <class T>
struct FftPlan {
  int64_t length = 0;
  std::vector<FftStage<T>> stages;  // innermost first; empty for Bluestein
  Table<int32_t> slot;              // input n must be written to data[slot[n]]

  // Bluestein: X_k = chirp_k * sum_n (chirp_n x_n) conj(chirp_{k-n}), a convolution of the smooth length inner->length.
  std::unique_ptr<const FftPlan> inner;
  Table<T> chirp;   // (length, 2): exp(-pi i n^2 / length)
  Table<T> filter;  // (inner->length, 2): transform of the conjugate chirp, divided by inner->length

  explicit FftPlan(int64_t n) : length(n), slot{0} {
    const auto radices = fft_radices(n);
    if (radices.empty()) {
      plan_bluestein();
    } else {
      plan_stages(radices);
    }
  }

  // Elements (pairs of vectors) of workspace that fft() needs besides the data.
  int64_t work_size() const { return inner ? 2 * inner->length : 0; }

  int64_t bytes() const {
    int64_t total = bytes_of(slot) + bytes_of(chirp) + bytes_of(filter) + (inner ? inner->bytes() : 0);
    for (const auto& stage : stages) total += bytes_of(stage.twiddles) + bytes_of(stage.roots);
    return total;
  }

 private:
  void plan_stages(const std::vector<int64_t>& radices) {
    const UnitRoots root(length);
    int64_t span = 1;
    for (int64_t radix : radices) {
      FftStage<T> stage{radix, span, {}, {}};
      stage.twiddles.reserve(size_t(2 * span * (radix - 1)));
      const int64_t step = length / (radix * span);
      for (int64_t k = 0; k < span; ++k)
        for (int64_t q = 1; q < radix; ++q) append_root(&stage.twiddles, std::conj(root(q * k * step)));
      for (int64_t p = 1; radix % 2 && 2 * p < radix; ++p)
        for (int64_t q = 1; 2 * q < radix; ++q) append_root(&stage.roots, unit_root(p * q % radix, radix));
      stages.push_back(std::move(stage));
      // The lowest digit of n selects one of the transforms that the outermost stage combines.
      Table<int32_t> inner_slot = std::move(slot);
      slot.clear();
      slot.reserve(size_t(radix * span));
      for (int32_t position : inner_slot)
        for (int64_t q = 0; q < radix; ++q) slot.push_back(int32_t(q * span + position));
      span *= radix;
    }
  }

  void plan_bluestein();
};

// The FFT of a single line, whose length is one of smooth_length(); for Bluestein's tables (line_fft_cpu.cpp).
Table<std::complex<double>> transformed(const Table<std::complex<double>>& line);

template <class T>
void FftPlan<T>::plan_bluestein() {
  slot.resize(size_t(length));
  std::iota(slot.begin(), slot.end(), 0);
  const int64_t m = smooth_length(2 * length - 1);
  inner = std::make_unique<const FftPlan>(m);
  chirp.reserve(size_t(2 * length));
  filter.reserve(size_t(2 * m));
  const UnitRoots root(2 * length);
  Table<std::complex<double>> kernel(static_cast<size_t>(m));
  for (int64_t n = 0; n < length; ++n) {
    const auto turn = root(n * n % (2 * length));
    append_root(&chirp, std::conj(turn));
    kernel[size_t(n)] = kernel[size_t(n == 0 ? 0 : m - n)] = turn;
  }
  for (const auto& value : transformed(kernel)) append_root(&filter, value / double(m));
}

}  // namespace pydlx
