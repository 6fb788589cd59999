// Plans of the discrete cosine and sine transforms of real lines (scipy.fft's definitions, unscaled):
//   DCT-II   X_k = 2 sum_n x_n cos(pi k (2n + 1) / 2N)
//   DCT-III  y_n = X_0 + 2 sum_{k>0} X_k cos(pi k (2n + 1) / 2N)              (the inverse of DCT-II times 2N)
//   DST-I    S_k = 2 sum_n x_n sin(pi (n + 1)(k + 1) / (N + 1))               (its own inverse times 2(N + 1))
//
// Cosine (Makhoul 1980): v = (x_0, x_2, x_4, .., x_5, x_3, x_1), X_k = 2 Re(V_k exp(-i pi k / 2N)) with V = FFT(v), and
// X_{N-k} is minus twice the imaginary part. Two real lines share one complex FFT of length N as v_a + i v_b, which
// serves odd and even N alike.
#pragma once

#include <algorithm>
#include <memory>

#include "common/fft.h"
#include "common/plan_cache.h"
#include "common/workspace.h"

namespace pydlx {

template <class T>
struct CosinePlan {
  int64_t length;
  FftPlan<T> fft;
  Table<int32_t> order;  // Makhoul's position of sample n
  Table<int32_t> slot;   // where the FFT wants sample n: fft.slot[order[n]]
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
//   M even, K = M/2: odd outputs are a DCT-III of length K of the sums x_n + x_{M-n}, even ones a DST-I of K intervals
//   of the differences.
//   M odd: sin(pi n k / M) = (-1)^n sin(pi n (k + M) / M) turns odd outputs into even ones, so one complex FFT of
//   length M of x_n (1 + i (-1)^n) holds both.
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

// What transform_lines (cosine_simd.h) needs for lines of one kind and length.
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

  // Elements of work space: the lines, the FFT's data (which for the sine kind hold sample 0, too), the FFT's own.
  int64_t work_size() const { return 2 * (length + 1) + (sine ? sine->work_size() : cosine->work_size()); }
};

}  // namespace pydlx
