// log(1 + sum of exp(x)), computed term by term without overflow. For CPU code and CUDA kernels.
#pragma once

#include <cmath>

#include "common/accumulate.h"

namespace pydlx {

// Terms x have type A, the sum has type S. A NaN term makes the sum NaN and does not change the peak.
template <class A, class S = A>
struct LogSum {
  A peak = 0;  // the largest x so far, including x = 0 for the 1
  S sum = 0;   // sum of exp(x - peak), without the 1

  // Raises the peak to `to`, if that is larger. Must be called before a term above the peak is added.
  PYDLX_HOST_DEVICE void raise(A to) {
    if (!(to > peak)) return;
    sum *= std::exp(S(peak) - S(to));
    peak = to;
  }

  // exp(x - peak) for x <= peak; 1 if both are infinite.
  PYDLX_HOST_DEVICE S term(A x) const { return x == peak ? S(1) : std::exp(S(x) - S(peak)); }

  PYDLX_HOST_DEVICE void add(A x) {
    raise(x);
    sum += term(x);
  }

  PYDLX_HOST_DEVICE void add(const LogSum& other) {
    raise(other.peak);
    sum += other.sum * term(other.peak);
  }

  // log(1 + sum of exp(x)). log1p keeps the digits of small sums, which occur when terms have small weights.
  PYDLX_HOST_DEVICE A value() const {
    return peak > 0 ? peak + A(std::log(sum + std::exp(-S(peak)))) : A(std::log1p(sum));
  }
};

}  // namespace pydlx
