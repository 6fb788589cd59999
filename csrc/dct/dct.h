// Discrete cosine and sine transforms along axes of a tensor, with scipy.fft's types, norms and conventions.
//
//     DCT-II   X_k = 2 sum_n x_n cos(pi k (2n + 1) / 2N)
//     DCT-III  y_n = x_0 + 2 sum_{k>0} x_k cos(pi k (2n + 1) / 2N)
//     DST-I    X_k = 2 sum_n x_n sin(pi (n + 1)(k + 1) / (N + 1))
//
// The norm multiplies by 1 (backward), 1 / sqrt(2M) (ortho) or 1 / 2M (forward), with M = N, or N + 1 for DST-I. Ortho
// also makes the matrix orthogonal: DCT-II's X_0 is divided and DCT-III's x_0 multiplied by sqrt(2). The inverse of
// type 2 with norm backward is type 3 with norm forward, and so on, so kernels implement forward transforms only.
//
// The gradient multiplies by the transposed matrix. DCT-II and DCT-III are each other's transpose except for the factor
// of element 0; DST-I is symmetric.
//
// Bytes: for each axis the tensor must be read once and written once.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "common/checks.h"
#include "common/tensor_utils.h"

namespace pydlx {

enum DctNorm : int64_t { kBackward = 0, kOrtho = 1, kForward = 2 };

struct DctCall {
  int64_t type;  // 2 or 3; sine: 1
  bool sine;
  int64_t norm;
  bool adjoint;
};

// The transform of one axis: DCT-II scales its outputs, DCT-III its inputs, by `scale`, and element 0 by `first`.
struct DctAxis {
  int64_t type;  // 2, 3, or 1 for DST-I
  double first, scale;
};

inline DctAxis dct_axis(const DctCall& call, int64_t n) {
  const double period = 2.0 * double(call.sine ? n + 1 : n);
  const double scale = call.norm == kBackward ? 1.0 : call.norm == kOrtho ? 1.0 / std::sqrt(period) : 1.0 / period;
  if (call.sine) return {1, scale, scale};
  const double ortho = call.norm == kOrtho ? std::sqrt(0.5) : 1.0;
  if (call.type == 2) return {call.adjoint ? 3 : 2, scale * ortho * (call.adjoint ? 2.0 : 1.0), scale};
  return {call.adjoint ? 2 : 3, scale / ortho * (call.adjoint ? 0.5 : 1.0), scale};
}

inline DctCall dct_call(const Tensor& x, int64_t type, bool sine, const std::vector<int64_t>& axes, int64_t norm,
                        bool adjoint) {
  STD_TORCH_CHECK(sine ? type == 1 : type == 2 || type == 3,
                  "dct: there are kernels for cosine types 2 and 3 and sine type 1, got type ", type);
  const Arguments arguments("dct", "x", x);
  arguments.check_range("norm", norm, kBackward, kForward);
  for (int64_t axis : axes) {
    arguments.check_range("axes", axis, 0, x.dim() - 1);
    STD_TORCH_CHECK(x.size(axis) > 0, "dct: x must have samples along axis ", axis, ", got none");
  }
  return {type, sine, norm, adjoint};
}

}  // namespace pydlx
