// Included once per instruction set by line_fft_cpu.cpp, which includes every header this needs.
#include "fft/fft_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// Lane l transforms samples l, l + L, l + 2L, ..; a final stage of radix L combines the lanes. The length must be a
// multiple of kMostLanes.
inline Table<std::complex<double>> transformed(const Table<std::complex<double>>& line) {
  constexpr int64_t L = kVecLanes<double>;
  const auto length = static_cast<int64_t>(line.size()), part = length / L;
  const FftPlan<double> plan(part);
  const Workspace space(part * int64_t(sizeof(Pair<double>)));
  Pair<double>* data = space.as<Pair<double>>();
  for (int64_t n = 0; n < part; ++n) {
    Pair<double>& to = data[plan.slot[size_t(n)]];
    for (int64_t l = 0; l < L; ++l) {
      to.re[l] = line[size_t(n * L + l)].real();
      to.im[l] = line[size_t(n * L + l)].imag();
    }
  }
  fft(data, static_cast<Pair<double>*>(nullptr), plan);

  const UnitRoots root(length);
  Pair<double> roots[L];  // roots[l], lane p: exp(-2 pi i l p / L)
  for (int64_t l = 0; l < L; ++l)
    for (int64_t p = 0; p < L; ++p) {
      const std::complex<double> turn = unit_root(l * p % L, L);
      roots[l].re[p] = turn.real();
      roots[l].im[p] = -turn.imag();
    }
  Table<std::complex<double>> result(line.size());
  for (int64_t k = 0; k < part; ++k) {
    Pair<double> sum{};
    for (int64_t l = 0; l < L; ++l) {
      const std::complex<double> value{data[k].re[l], data[k].im[l]};
      const std::complex<double> turned = product(value, std::conj(root(l * k)));
      const double factor[2] = {turned.real(), turned.imag()};
      sum = sum + times(roots[l], factor);
    }
    for (int64_t p = 0; p < L; ++p) result[size_t(k + p * part)] = {sum.re[p], sum.im[p]};
  }
  return result;
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
