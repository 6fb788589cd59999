// Float32 solves by the systems of column frequencies: their steps, for poisson_cuda.cu. Rows are in rows_cuda.cu, the
// systems in columns_cuda.cu.
#pragma once

#include "poisson/right_side.cuh"

namespace pydlx {

/// The right side of some planes, and how many blocks sum a part of each.
RightSide right_side_of(const PoissonProblem& p, const float* rhs, const float* colour);

/// The right side of planes -> the Fourier transforms of their pairs of rows (planes, pairs, W).
Tensor transform_right_side(const RightSide& side, int64_t planes, const Tensor& like, cudaStream_t stream);

/// z as left by the systems -> u.
void transform_back(const RightSide& side, int64_t planes, const Tensor& z, float* u, cudaStream_t stream);

/// Whether there are kernels for the systems of planes of this size and whether float32 solves them to its own
/// accuracy.
bool solves_columns(const PoissonProblem& p);

/// Solves the systems of z (planes, pairs, W), in place.
void solve_columns(const PoissonProblem& p, int64_t planes, const Tensor& z, const MeanOfPlane& mean,
                   cudaStream_t stream);

}  // namespace pydlx
