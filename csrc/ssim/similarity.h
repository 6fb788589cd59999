// The formulae of ssim.h at one place, V being a number or a vector of them. Included into the namespace of each
// instruction set and once for CUDA; no include guard.

template <class V, class A>
struct Similarity {
  V mean_s, mean_d, p, q, variance_s, variance_d;  // p and variance_s with their constants, c1 and c2
  V a1, b1, a2, b2;                                // l = a1 / b1, c = a2 / b2
  const SsimFormula<A>& formula;

  // `moments` are measured from the centres of s and d.
  PYDLX_HOST_DEVICE Similarity(const V* moments, const SsimFormula<A>& f, A centre_s, A centre_d) : formula(f) {
    const V zero{}, spread_s = (moments[0] - moments[2] * moments[2]) * f.covariance,
                    spread_d = (moments[1] - moments[3] * moments[3]) * f.covariance;
    // Rounding may leave a variance just below 0. NaN stays.
    variance_s = (spread_s < zero ? zero : spread_s) + f.c2;
    variance_d = spread_d < zero ? zero : spread_d;
    mean_s = moments[2] + centre_s;
    mean_d = moments[3] + centre_d;
    p = mean_s * mean_s + f.c1;
    q = mean_d * mean_d;
    a1 = f.luminance ? V(p - q) : V(zero + A(1));
    b1 = f.luminance ? V(p + q) : V(zero + A(1));
    a2 = variance_s - variance_d;
    b2 = variance_s + variance_d;
  }

  PYDLX_HOST_DEVICE V value() const { return a1 * a2 / (b1 * b2); }

  // The gradient with respect to the four moments, times g.
  PYDLX_HOST_DEVICE void slopes(const V* moments, const V& g, V* to) const {
    const V one = V{} + A(1), by_b1 = one / b1, by_b2 = one / b2;
    const V structure_slope = g * (2 * formula.covariance) * (a1 * by_b1) * (by_b2 * by_b2);
    to[0] = structure_slope * variance_d;
    to[1] = -structure_slope * variance_s;
    to[2] = A(-2) * moments[2] * to[0];
    to[3] = A(-2) * moments[3] * to[1];
    if (!formula.luminance) return;
    const V mean_slope = g * A(4) * (a2 * by_b2) * (by_b1 * by_b1);
    to[2] += mean_slope * q * mean_s;
    to[3] -= mean_slope * p * mean_d;
  }
};

// What the backward filters, in place of the slopes: all four, or three if one image alone needs its gradient
// (side 1 for x, -1 for y).
template <int kMaps, class V, class A>
PYDLX_HOST_DEVICE inline void join_slopes(V* slopes, A side) {
  if (kMaps == 3) slopes[2] += side * slopes[3];
}
