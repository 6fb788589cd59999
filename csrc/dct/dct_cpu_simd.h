// Included once per instruction set by dct_cpu.cpp, which includes every header this needs.
#include "fft/fft_simd.h"

#include "fft/cosine_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

template <class T>
int64_t work_bytes(const LinePlan<T>& plan) {
  return plan.work_size() * int64_t(sizeof(Pair<T>));
}

// Transforms lines [begin, end) from x to y along an axis of plan.length samples, `inner` elements apart.
template <class T>
void dct_lines(const LinePlan<T>& plan, const T* x, T* y, int64_t inner, T first, T scale, int64_t begin, int64_t end) {
  constexpr int64_t G = kGroup<T>;
  const Workspace space(work_bytes(plan));
  Pair<T>* work = space.as<Pair<T>>();
  for (int64_t line = begin; line < end; line += G) {
    Lines<T> lines;
    lines.step = inner;
    lines.count = std::min(G, end - line);
    for (int64_t l = 0; l < G; ++l) {
      const int64_t i = std::min(line + l, end - 1);
      lines.start[l] = i / inner * plan.length * inner + i % inner;
    }
    transform_lines(plan, x, lines, y, lines, first, scale, work);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
