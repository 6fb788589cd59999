// Closed-form Poisson solves on CUDA by transforms of both axes (maths in poisson.h), so that every frequency is solved
// by a division. Used for float64, for weights too small for the float32 systems of columns.cuh, and for planes with
// more rows than those support:
//
//     official   (B + beta C) / (l + beta G)        l_ij = s_i + s_j,  s = 4 sin^2(theta / 2), to avoid cancellation
//     screened   (B + beta G C) / (l + beta G^2)    G_ij = g_i g_j,    g = centre + 2 side - side s
//     paper      (l B + beta G C) / (l^2 + beta G^2)
//
// with B and C the transforms of rhs and colour. Bytes per float32 element: rhs and colour are read and u is written
// (12), besides three transforms.
#pragma once

#include "common/complex.cuh"
#include "common/indexing.cuh"
#include "poisson/plane_sums.cuh"

namespace pydlx {

constexpr int kSumThreads = 256;
constexpr int kSumBlocks = 64;  // per plane

// Block (b, plane) sums every kSumBlocks-th segment of its plane, in an order that does not depend on the GPU. With
// `combined` it also writes rhs + beta colour.
template <class T>
__global__ void plane_sums_kernel(const T* __restrict__ rhs, const T* __restrict__ colour, T* __restrict__ combined,
                                  T beta, int64_t area, int64_t planes, PlanePartial* __restrict__ partials) {
  for (int64_t plane = blockIdx.y; plane < planes; plane += gridDim.y) {
    double sum = 0, magnitude = 0, colour_sum = 0;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x; i < area;
         i += static_cast<int64_t>(kSumBlocks) * kSumThreads) {
      const int64_t at = plane * area + i;
      const T b = rhs[at], c = colour ? colour[at] : T(0);
      sum += b;
      magnitude += fabs(static_cast<double>(b));
      colour_sum += c;
      if (combined) combined[at] = b + beta * c;
    }
    store_sums<kSumThreads>(sum, magnitude, colour_sum, partials + plane * kSumBlocks + blockIdx.x);
  }
}

// 4 sin^2 of pi * numerator / denominator.
template <class T>
__device__ inline T four_sine_squared(int64_t numerator, int64_t denominator) {
  T c, s;
  cosine_and_sine(static_cast<T>(numerator) / static_cast<T>(denominator), &c, &s);
  return T(4) * s * s;
}

template <class T>
struct PoissonKernel {
  PoissonProblem problem;
  double epsilon;
  T beta, centre, side;
  T scale;  // the normalisation of the two inverse transforms
};

// Divides a spectrum by the operator's eigenvalues, in place. `colour` is the spectrum of colour, or null if colour has
// already been added to rhs.
template <class T>
__global__ void divide_kernel(PoissonKernel<T> p, T* __restrict__ spectrum, const T* __restrict__ colour,
                              const PlanePartial* __restrict__ partials, int64_t count) {
  const int64_t h = p.problem.height, w = p.problem.width;
  const int64_t shift = p.problem.dirichlet ? 1 : 0;
  PYDLX_GRID_STRIDE(index, count) {
    const int64_t j = index % w, i = index / w % h;
    if (i + j == 0 && !p.problem.dirichlet) {
      PlanePartial sums{{0, 0}, 0};
      for (int64_t k = 0; k < kSumBlocks; ++k) {
        const PlanePartial part = partials[index / (w * h) * kSumBlocks + k];
        sums.rhs.sum += part.rhs.sum;
        sums.rhs.magnitude += part.rhs.magnitude;
        sums.colour += part.colour;
      }
      // Element 0 of the inverse transforms is the mean itself.
      spectrum[index] = static_cast<T>(solution_mean(p.problem, sums.rhs, sums.colour, p.epsilon));
      continue;
    }
    const T s_i = four_sine_squared<T>(i + shift, 2 * (h + shift));
    const T s_j = four_sine_squared<T>(j + shift, 2 * (w + shift));
    const T centre = p.centre + T(2) * p.side;
    const T l = s_i + s_j, g = (centre - p.side * s_i) * (centre - p.side * s_j);
    const T b = spectrum[index], c = colour ? colour[index] : T(0);
    T u;
    if (p.problem.formulation == kPaper) {
      // Divide numerator and denominator by l, the larger term, so that l^2 cannot underflow.
      u = (b + p.beta * g * c / l) / (l + p.beta * g * g / l);
    } else if (p.problem.formulation == kScreened) {
      u = (b + p.beta * g * c) / (l + p.beta * g * g);
    } else {
      u = (b + p.beta * c) / (l + p.beta * g);
    }
    spectrum[index] = u * p.scale;
  }
}

}  // namespace pydlx
