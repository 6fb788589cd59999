// Plans of the discrete cosine and sine transforms of real lines on the CPU (scipy.fft's definitions, unscaled). A line
// is the samples along one axis.
//
//   DCT-II   X_k = 2 sum_n x_n cos(pi k (2n + 1) / 2N)
//   DCT-III  y_n = X_0 + 2 sum_{k>0} X_k cos(pi k (2n + 1) / 2N)              (the inverse of DCT-II times 2N)
//   DST-I    S_k = 2 sum_n x_n sin(pi (n + 1)(k + 1) / (N + 1))               (its own inverse times 2(N + 1))
//
// Cosine (Makhoul 1980): with v = (x_0, x_2, x_4, .., x_5, x_3, x_1) and V = FFT(v), X_k = 2 Re(V_k exp(-i pi k / 2N))
// and X_{N-k} = -2 Im(V_k exp(-i pi k / 2N)). Two real lines share one complex FFT of length N as v_a + i v_b, which
// works for odd and even N.
#pragma once

#include <algorithm>
#include <memory>

#include "common/workspace.h"
#include "fft/fft.h"
#include "fft/plan_cache.h"

namespace pydlx {

template <class T>
struct CosinePlan {
  int64_t length;
  FftPlan<T> fft;
  Table<int32_t> order;  // Makhoul's position of sample n
  Table<int32_t> slot;   // the FFT's input position of sample n: fft.slot[order[n]]
  Table<T> twiddles;     // (N/2 + 1, 2): cos and sin of pi k / 2N

  explicit CosinePlan(int64_t n) : length(n), fft(n) {
    order.reserve(size_t(n));
    slot.reserve(size_t(n));
    for (int64_t i = 0; i < n; ++i) {
      order.push_back(int32_t(i % 2 ? n - 1 - i / 2 : i / 2));
      slot.push_back(fft.slot[size_t(order.back())]);
    }
    const UnitRoots root(4 * n);
    twiddles.reserve(size_t(n + 2));
    for (int64_t k = 0; k <= n / 2; ++k) append_root(&twiddles, root(k));
  }

  int64_t work_size() const { return fft.work_size(); }
  int64_t bytes() const { return fft.bytes() + bytes_of(order) + bytes_of(slot) + bytes_of(twiddles); }
};

// DST-I with M = N + 1 intervals.
//   M even, K = M/2: the odd outputs are a DCT-III of length K of the sums x_n + x_{M-n}, the even ones a DST-I with K
//   intervals of the differences x_n - x_{M-n}.
//   M odd: sin(pi n k / M) = (-1)^n sin(pi n (k + M) / M) turns odd outputs into even ones, so one complex FFT of
//   length M, of x_n (1 + i (-1)^n), gives both.
template <class T>
struct SinePlan {
  int64_t intervals;
  std::unique_ptr<const CosinePlan<T>> odd_outputs;  // M even
  std::unique_ptr<const SinePlan> even_outputs;      // M even
  std::unique_ptr<const FftPlan<T>> fft;             // M odd

  explicit SinePlan(int64_t m) : intervals(m) {
    if (m % 2) {
      fft = std::make_unique<const FftPlan<T>>(m);
    } else {
      odd_outputs = std::make_unique<const CosinePlan<T>>(m / 2);
      even_outputs = std::make_unique<const SinePlan>(m / 2);
    }
  }

  int64_t work_size() const {
    return fft ? fft->work_size() : std::max(odd_outputs->work_size(), even_outputs->work_size());
  }
  int64_t bytes() const { return fft ? fft->bytes() : odd_outputs->bytes() + even_outputs->bytes(); }
};

enum class LineKind { kCosine2, kCosine3, kSine1 };

// The plan that transform_lines (cosine_simd.h) takes, for one kind and length of lines.
template <class T>
struct LinePlan {
  LineKind kind;
  int64_t length;
  std::shared_ptr<const CosinePlan<T>> cosine;
  std::shared_ptr<const SinePlan<T>> sine;

  LinePlan(LineKind line_kind, int64_t n) : kind(line_kind), length(n) {
    if (kind == LineKind::kSine1) {
      sine = cached_plan<SinePlan<T>>(n + 1);
    } else {
      cosine = cached_plan<CosinePlan<T>>(n);
    }
  }

  // Elements of workspace: the lines, the FFT's data (one sample more for the sine kind) and the FFT's own workspace.
  int64_t work_size() const { return 2 * (length + 1) + (sine ? sine->work_size() : cosine->work_size()); }
};

}  // namespace pydlx
