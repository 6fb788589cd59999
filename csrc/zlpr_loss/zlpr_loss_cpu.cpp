// The zlpr loss on the CPU: work cutting and registration. The maths is in zlpr_loss.h, the loops in
// zlpr_loss_cpu_simd.h.
#include "zlpr_loss/zlpr_loss.h"

#include "common/workspace.h"

#define PYDLX_SIMD_FILE "zlpr_loss/zlpr_loss_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The least number of elements per thread.
constexpr int64_t kGrain = 16384;

struct Cpu {
  static constexpr int64_t kChunk = 16384;

  struct Scope {
    explicit Scope(const Tensor&) {}
  };

  template <class T, class Label>
  static void forward(const Scope&, const ZlprCells<T, Label>& cells, const Tensor& parts) {
    using A = accumulate_t<T>;
    const int64_t chunks = std::max<int64_t>(1, cells.chunks());
    std::vector<ZlprSums<A, double>> sums(static_cast<size_t>(cells.rows * chunks));
    parallel_for(cells.rows * chunks, kGrain / std::clamp<int64_t>(cells.cells, 1, cells.chunk),
                 [&](int64_t begin, int64_t end) {
                   PYDLX_SIMD_CALL(sum_chunks<T, Label>)(cells, chunks, sums.data(), begin, end);
                 });
    A* to = output_data<A>(parts);
    for (int64_t row = 0; row < cells.rows; ++row) {
      ZlprSums<A, double> all = sums[row * chunks];
      for (int64_t i = 1; i < chunks; ++i) all.add(sums[row * chunks + i]);
      to[2 * row] = all.labels.value();
      to[2 * row + 1] = all.others.value();
    }
  }

  template <class T, class Label>
  static void backward(const Scope&, const ZlprCells<T, Label>& cells, const accumulate_t<T>* grad,
                       const accumulate_t<T>* parts, T* grad_scores) {
    const int64_t chunks = cells.chunks();
    parallel_for(cells.rows * chunks, kGrain / std::min(cells.cells, cells.chunk), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(chunk_gradients<T, Label>)(cells, chunks, grad, parts, grad_scores, begin, end);
    });
  }
};

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("zlpr_loss", TORCH_BOX(&pydlx::ZlprLossOp<pydlx::Cpu>::forward));
  m.impl("_zlpr_loss_backward", TORCH_BOX(&pydlx::ZlprLossOp<pydlx::Cpu>::backward));
}
