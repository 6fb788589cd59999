// log(1 + sum of exp(x)), of which the terms come one after another. Used by CPU code and by CUDA kernels.
#pragma once

#include <cmath>

#include "common/accumulate.h"

namespace pydlx {

// Terms are x of type A, their sum is kept in S. NaN among them makes the sum NaN and leaves the peak alone.
template <class A, class S = A>
struct LogSum {
  A peak = 0;  // the largest term; the 1 is a term of 0
  S sum = 0;   // of exp(x - peak), without the 1

  // To be called before terms are added that are larger than all before.
  PYDLX_HOST_DEVICE void raise(A to) {
    if (!(to > peak)) return;
    sum *= std::exp(S(peak) - S(to));
    peak = to;
  }

  // exp(x - peak) of an x that is not above the peak; 1 where both are infinite.
  PYDLX_HOST_DEVICE S term(A x) const { return x == peak ? S(1) : std::exp(S(x) - S(peak)); }

  PYDLX_HOST_DEVICE void add(A x) {
    raise(x);
    sum += term(x);
  }

  PYDLX_HOST_DEVICE void add(const LogSum& other) {
    raise(other.peak);
    sum += other.sum * term(other.peak);
  }

  // Small sums keep their digits; those of weighted terms may be far smaller than their peak.
  PYDLX_HOST_DEVICE A value() const {
    return peak > 0 ? peak + A(std::log(sum + std::exp(-S(peak)))) : A(std::log1p(sum));
  }
};

}  // namespace pydlx
