// The formulae of ssim.h at one place, V being a number or a vector of them. Included into the namespace of each
// instruction set; no include guard. CUDA has a form of its own, in ssim.cuh.

template <class V, class A>
struct Similarity {
  V mean_s, mean_d, p, q, variance_s, variance_d;
  V a1, b1, a2, b2;
  const SsimFormula<A>& formula;

  // `moments` are measured from the centres of s and d.
  PYDLX_HOST_DEVICE Similarity(const V* moments, const SsimFormula<A>& f, A centre_s, A centre_d) : formula(f) {
    const V zero{}, spread_s = (moments[0] - moments[2] * moments[2]) * f.covariance,
                    spread_d = (moments[1] - moments[3] * moments[3]) * f.covariance;
    // Rounding may leave a variance just below 0. NaN stays.
    variance_s = spread_s < zero ? zero : spread_s;
    variance_d = spread_d < zero ? zero : spread_d;
    mean_s = moments[2] + centre_s;
    mean_d = moments[3] + centre_d;
    p = mean_s * mean_s;
    q = mean_d * mean_d;
    a1 = p - q + f.c1;
    b1 = p + q + f.c1;
    a2 = variance_s - variance_d + f.c2;
    b2 = variance_s + variance_d + f.c2;
  }

  PYDLX_HOST_DEVICE V value() const { return formula.luminance ? V(a1 * a2 / (b1 * b2)) : V(a2 / b2); }

  // The gradient with respect to the four moments, times g.
  PYDLX_HOST_DEVICE void slopes(const V* moments, const V& g, V* to) const {
    const V one = V{} + A(1), by_b1 = one / b1, by_b2 = one / b2;
    const V luminance = formula.luminance ? V(a1 * by_b1) : one;
    const V structure_slope = g * luminance * by_b2 * by_b2 * (2 * formula.covariance);
    to[0] = structure_slope * variance_d;
    to[1] = -structure_slope * (variance_s + formula.c2);
    to[2] = A(-2) * moments[2] * to[0];
    to[3] = A(-2) * moments[3] * to[1];
    if (!formula.luminance) return;
    const V mean_slope = g * a2 * by_b2 * by_b1 * by_b1 * A(4);
    to[2] += mean_slope * q * mean_s;
    to[3] -= mean_slope * (p + formula.c1) * mean_d;
  }
};

// What the backward filters, in place of the slopes: all four, or three if one image alone needs its gradient
// (side 1 for x, -1 for y).
template <int kMaps, class V, class A>
PYDLX_HOST_DEVICE inline void join_slopes(V* slopes, A side) {
  if (kMaps == 3) slopes[2] += side * slopes[3];
}
