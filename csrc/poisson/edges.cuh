// Dirichlet borders on the left and right, computed with basis functions that vanish half a sample outside of the edge:
// these need a transform of length W instead of 2 (W + 1). In that basis the operator's diagonal is 3 + s instead of
// 2 + s at the first and the last column. With A the operator in the basis and e0, e1 the unit vectors of those
// columns,
//
//     (A - e0 e0' - e1 e1') u = rhs    so    u = A^-1 (rhs + e0 q0 + e1 q1),  q the first and last column of u itself
//
// A sine transform along the columns decouples the rows, and even and odd basis functions do not interact. For row
// frequency k, with mu = screening + 4 sin^2(pi k / 2(H + 1)), r < 1 the root of r + 1/r = 2 + mu, and d the value of
// A^-1 rhs at the edge (twice the sum over its even or its odd basis functions), the charge q is
//
//     q = d (1 + r)(1 +- r^W) / (1 +- r^(W+1))      + for the symmetric functions, - for the antisymmetric ones
//
// The sine transforms of 2 lines per plane are computed directly, with H^2 multiplications; H is at most a few
// thousand.
#pragma once

#include "common/complex.cuh"
#include "common/reduce.cuh"

namespace pydlx {

constexpr int kEdgeParts = 8;  // parts of a sum, one per warp

struct EdgeLines {
  int height, width, tiles;
  unsigned blocks;  // blocks per line, of 32 elements each
  float screening;
};

// A thread's element of a line, for grids of lines * blocks.
struct EdgeNumber {
  unsigned line;
  int number;
  __device__ explicit EdgeNumber(unsigned blocks)
      : line(blockIdx.x / blocks), number(static_cast<int>((blockIdx.x - line * blocks) * kWarp + threadIdx.x)) {}
};

/// Twice the sums over the tiles: edges (lines, tiles, H) -> sums (lines, H). Blocks of (32, kEdgeParts).
__global__ __launch_bounds__(kWarp* kEdgeParts) void sum_edges_kernel(EdgeLines p, const float* __restrict__ edges,
                                                                      float* __restrict__ sums) {
  PYDLX_SHARED(float, room, kEdgeParts, kWarp);
  const EdgeNumber at(p.blocks);
  float sum = 0;
  if (at.number < p.height) {
    for (int tile = static_cast<int>(threadIdx.y); tile < p.tiles; tile += kEdgeParts) {
      sum += edges[(static_cast<int64_t>(at.line) * p.tiles + tile) * p.height + at.number];
    }
  }
  sum = join_of_parts<kEdgeParts>(room, sum, Sum());
  if (threadIdx.y == 0 && at.number < p.height) sums[static_cast<int64_t>(at.line) * p.height + at.number] = 2 * sum;
}

// The factor q / d of the formula above, times the scale of the sine transforms.
__device__ inline float charge_factor(const EdgeLines& p, int frequency, bool odd_waves) {
  const float n = float(p.height + 1), s = sinpif(float(frequency) / (2.0f * n)), mu = p.screening + 4.0f * s * s;
  const float t = mu / (sqrtf(mu + 0.25f * mu * mu) + 0.5f * mu), log_r = log1pf(-t), w = float(p.width);
  const bool symmetric = odd_waves == (p.width % 2 == 0);
  const float ratio = symmetric ? (1.0f + expf(w * log_r)) / (1.0f + expf((w + 1.0f) * log_r))
                                : expm1f(w * log_r) / expm1f((w + 1.0f) * log_r);
  return ratio * (2.0f - t) * 2.0f / n;
}

/// y_k = sum_i x_i sin(pi i k / (H + 1)) for each line, i and k from 1 to H; with `charge` times charge_factor.
__global__ __launch_bounds__(kWarp* kEdgeParts) void transform_edges_kernel(EdgeLines p, const float* __restrict__ x,
                                                                            float* __restrict__ y, bool charge) {
  constexpr int kTurns = 32;  // rotations by the same angle before sine and cosine are computed exactly again
  PYDLX_SHARED(float, room, kEdgeParts, kWarp);
  const EdgeNumber at(p.blocks);
  const int n = p.height + 1, k = at.number + 1, length = (p.height + kEdgeParts - 1) / kEdgeParts;
  const int first = static_cast<int>(threadIdx.y) * length, stop = min(p.height, first + length);
  const float* line = x + static_cast<int64_t>(at.line) * p.height;
  float sum = 0;
  if (k <= p.height) {
    const Complex<float> step = turn(float(k) / float(n));
    for (int start = first; start < stop; start += kTurns) {
      Complex<float> w = turn(float(static_cast<int64_t>(start + 1) * k % (2 * n)) / float(n));
      for (int i = start; i < min(stop, start + kTurns); ++i) {
        sum = fmaf(line[i], w.im, sum);
        w = product(w, step);
      }
    }
  }
  sum = join_of_parts<kEdgeParts>(room, sum, Sum());
  if (threadIdx.y != 0 || k > p.height) return;
  y[static_cast<int64_t>(at.line) * p.height + at.number] = charge ? sum * charge_factor(p, k, at.line % 2 == 1) : sum;
}

}  // namespace pydlx
