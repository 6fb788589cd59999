// The right side y of a solve, combined from rhs and colour before the transform, so that one transform suffices:
//
//     official   rhs + beta colour        screened   rhs + beta G colour        paper   L rhs + beta G colour
//
// with L and G (poisson.h) mirrored at the edges; the sums for the mean are computed in the same pass. For Dirichlet
// borders the basis sin(pi (l + 1)(2j + 1) / 2W) is the cosine basis with every second sample negated.
#pragma once

#include "poisson/plane_sums.cuh"

namespace pydlx {

struct RightSide {
  const float *rhs, *colour;  // colour: null for none
  int height, width, pairs;
  unsigned parts;  // blocks per plane
  Formulation formulation;
  float beta, centre, side;
  bool alternate;
  PlanePartial* partials;  // (planes, parts), or null
};

struct PlainSums {
  double rhs = 0, magnitude = 0, colour = 0;
};

// Reads column j of an image and its neighbours in one row; pixels outside of the image are mirrored.
class ImageColumn {
 public:
  __device__ ImageColumn(const float* plane, int height, int width, int j)
      : plane_(plane), last_(height - 1), width_(width), j_(j), left_(max(j - 1, 0)), right_(min(j + 1, width - 1)) {}

  __device__ void look(int i, bool beside_too = true) {
    const float* row = plane_ + static_cast<int64_t>(min(max(i, 0), last_)) * width_;
    here = row[j_];
    if (beside_too) beside = row[left_] + row[right_];
  }

  float here, beside = 0;

 private:
  const float* plane_;
  int last_, width_, j_, left_, right_;
};

/// Calls put(n, y) for the right side of column j in rows first .. first + kRows - 1; y is 0 below the plane.
template <int kRows, class Put>
__device__ inline void right_side(const RightSide& p, int64_t plane, int first, int j, PlainSums* sums,
                                  const Put& put) {
  const int64_t start = plane * p.height * p.width;
  const float sign = p.alternate && j % 2 == 1 ? -1.0f : 1.0f;
  const float* rhs = p.rhs + start;
  const float* colour = p.colour == nullptr ? nullptr : p.colour + start;
  float rhs_sum = 0, magnitude = 0, colour_sum = 0;
  if (colour == nullptr || p.formulation == kOfficial) {
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      const int64_t at = static_cast<int64_t>(first + n) * p.width + j;
      const bool inside = first + n < p.height;
      const float b = inside ? rhs[at] : 0.0f, c = inside && colour != nullptr ? colour[at] : 0.0f;
      rhs_sum += b, magnitude += fabsf(b), colour_sum += c;
      put(n, sign * fmaf(p.beta, c, b));
    }
  } else {
    const bool paper = p.formulation == kPaper;
    ImageColumn b(rhs, p.height, p.width, j), c(colour, p.height, p.width, j);
    const auto blurred = [&] { return fmaf(p.side, c.beside, p.centre * c.here); };
    b.look(first - 1, false), c.look(first - 1);
    float above = b.here, blurred_above = blurred();
    b.look(first, paper), c.look(first);
    float here = b.here, beside = b.beside, blurred_here = blurred();
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      const bool inside = first + n < p.height;
      const float own_colour = c.here;
      b.look(first + n + 1, paper), c.look(first + n + 1);
      const float blurred_below = blurred();
      const float left = paper ? (4.0f * here - beside) - (above + b.here) : here;
      const float right = fmaf(p.side, blurred_above + blurred_below, p.centre * blurred_here);
      if (inside) rhs_sum += here, magnitude += fabsf(here), colour_sum += own_colour;
      put(n, inside ? fmaf(p.beta, right, left) : 0.0f);
      above = here, here = b.here, beside = b.beside;
      blurred_above = blurred_here, blurred_here = blurred_below;
    }
  }
  sums->rhs += rhs_sum, sums->magnitude += magnitude, sums->colour += colour_sum;
}

}  // namespace pydlx
