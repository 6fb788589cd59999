// The steps of float32 solves by systems of column frequencies, for poisson_cuda.cu. rows_cuda.cu implements the row
// passes, columns_cuda.cu the systems.
#pragma once

#include "poisson/right_side.cuh"

namespace pydlx {

/// The parameters of the right side of some planes, including the number of blocks per plane.
RightSide right_side_of(const PoissonProblem& p, const float* rhs, const float* colour);

/// Computes the right side of planes and the Fourier transforms of its pairs of rows, (planes, pairs, W).
Tensor transform_right_side(const RightSide& side, int64_t planes, const Tensor& like, cudaStream_t stream);

/// Transforms z, the solution of the systems, back to u.
void transform_back(const RightSide& side, int64_t planes, const Tensor& z, float* u, cudaStream_t stream);

/// Whether there are kernels for planes of this size, and float32 is accurate enough for the systems.
bool solves_columns(const PoissonProblem& p);

/// Solves the systems of z (planes, pairs, W), in place.
void solve_columns(const PoissonProblem& p, int64_t planes, const Tensor& z, const MeanOfPlane& mean,
                   cudaStream_t stream);

}  // namespace pydlx
