// Roots of unity in float64, for the tables of the transforms.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

namespace pydlx {

constexpr double kPi = 3.14159265358979323846;

// a b. The operator of std::complex also handles infinities, which takes several times as long.
inline std::complex<double> product(const std::complex<double>& a, const std::complex<double>& b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

// exp(2 pi i a / n) for a in [0, n). The angle is first reduced to [0, pi / 4] in integer arithmetic, so that sine and
// cosine are accurate to the last digit or two.
inline std::complex<double> unit_root(int64_t a, int64_t n) {
  const int64_t octant = 8 * a / n, past = 8 * a - octant * n;
  const bool mirrored = octant % 2;
  const double angle = kPi / 4 * (double(mirrored ? n - past : past) / double(n));
  const double c = std::cos(angle), s = mirrored ? -std::sin(angle) : std::sin(angle);
  switch ((octant + 1) / 2 % 4) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

// All n-th roots of unity, each computed as the product of an entry of a coarse and one of a fine table, both with
// about sqrt(n) entries.
class UnitRoots {
 public:
  explicit UnitRoots(int64_t n) {
    while ((int64_t{1} << 2 * shift_) < n) ++shift_;
    const int64_t step = int64_t{1} << shift_;
    for (int64_t a = 0; a < n; a += step) coarse_.push_back(unit_root(a, n));
    for (int64_t a = 0; a < step && a < n; ++a) fine_.push_back(unit_root(a, n));
  }

  // exp(2 pi i a / n) for a in [0, n).
  std::complex<double> operator()(int64_t a) const {
    return product(coarse_[size_t(a >> shift_)], fine_[size_t(a & ((int64_t{1} << shift_) - 1))]);
  }

 private:
  int shift_ = 0;
  std::vector<std::complex<double>> coarse_, fine_;
};

}  // namespace pydlx
