// Cosine and sine transforms on the CPU: one pass over the tensor per axis. The maths is in dct.h and fft/cosine.h,
// the loops in fft/cosine_simd.h and fft/fft_simd.h.
#include "dct/dct.h"

#include <algorithm>
#include <utility>

#include "fft/cosine.h"

#define PYDLX_SIMD_FILE "dct/dct_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

constexpr int64_t kLinesPerTask = 32;  // a multiple of kGroup for every instruction set
constexpr int64_t kElementsPerThread = 65536;

template <class T>
void transform_axis(const DctAxis& axis, int64_t length, int64_t inner, int64_t lines, const T* x, T* y) {
  const LinePlan<T> plan(axis.type == 1   ? LineKind::kSine1
                         : axis.type == 2 ? LineKind::kCosine2
                                          : LineKind::kCosine3,
                         length);
  if (lines <= baseline::kGroup<T> && PYDLX_SIMD_CALL(work_bytes<T>)(plan) > kKeptWorkspaceBytes) {
    return baseline::dct_lines<T>(plan, x, y, inner, T(axis.first), T(axis.scale), 0, lines);
  }
  const int64_t tasks = (lines + kLinesPerTask - 1) / kLinesPerTask;
  parallel_for(tasks, kElementsPerThread / (length * kLinesPerTask), [&](int64_t begin, int64_t end) {
    PYDLX_SIMD_CALL(dct_lines<T>)
    (plan, x, y, inner, T(axis.first), T(axis.scale), begin * kLinesPerTask, std::min(lines, end * kLinesPerTask));
  });
}

Tensor dct(const Tensor& input, int64_t type, bool sine, const std::vector<int64_t> axes, int64_t norm, bool adjoint) {
  const DctCall call = dct_call(input, type, sine, axes, norm, adjoint);
  const Tensor x = made_contiguous(input);
  Tensor y = uninitialised(x, x.sizes());
  if (axes.empty()) return torch::stable::copy_(y, x);
  if (y.numel() == 0) return y;
  dispatch_full_precision(x.scalar_type(), "dct", [&](auto zero) {
    using T = decltype(zero);
    const T* from = input_data<T>(x);
    for (int64_t axis : axes) {
      const int64_t length = x.size(axis);
      int64_t inner = 1;
      for (int64_t i = axis + 1; i < x.dim(); ++i) inner *= x.size(i);
      transform_axis<T>(dct_axis(call, length), length, inner, x.numel() / length, from, output_data<T>(y));
      from = output_data<T>(y);
    }
  });
  return y;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) { m.impl("dct", TORCH_BOX(&pydlx::dct)); }
