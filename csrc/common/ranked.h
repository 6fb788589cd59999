// The order in which ops rank numbers: NaN above all numbers, and of equal ones the lower index first.
#pragma once

#include <cstdint>

#include "common/accumulate.h"

namespace pydlx {

template <class A>
PYDLX_HOST_DEVICE bool is_higher(A a, A b) {
  return a > b || (a != a && b == b);
}

// A number and its index.
template <class A>
struct Ranked {
  A score;
  int64_t index;

  PYDLX_HOST_DEVICE bool above(const Ranked& other) const {
    if (is_higher(score, other.score)) return true;
    return !is_higher(other.score, score) && index < other.index;
  }
};

}  // namespace pydlx
