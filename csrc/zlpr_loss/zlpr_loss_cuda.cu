// The zlpr loss on CUDA: launches and registration. The kernels are in zlpr_loss.cuh.
#include "common/launch.cuh"
#include "zlpr_loss/zlpr_loss.cuh"

namespace pydlx {
namespace {

constexpr int kFinishThreads = 128;

struct Cuda {
  using Scope = DeviceScope;
#ifdef __CUDACC__
  static constexpr int64_t kChunk = 4096;
#else
  static constexpr int64_t kChunk = 192;  // low on the emulator, so that small tests have several chunks
#endif

  template <class T, class Label>
  static void forward(const Scope& scope, const ZlprCells<T, Label>& cells, const Tensor& parts) {
    using A = accumulate_t<T>;
    const int64_t chunks = cells.chunks();
    const Tensor memory = uninitialised(parts, {std::max<int64_t>(1, cells.rows * chunks * 4)});
    auto* sums = reinterpret_cast<ZlprSums<A, A>*>(output_data<A>(memory));
    if (chunks > 0) {
      PYDLX_LAUNCH((zlpr_sum_kernel<T, Label>), blocks_for(cells.rows * chunks, kZlprWarps), dim3(kWarp, kZlprWarps), 0,
                   scope.stream(), cells, sums);
    }
    PYDLX_LAUNCH(zlpr_finish_kernel<A>, blocks_for(cells.rows, kFinishThreads), kFinishThreads, 0, scope.stream(),
                 cells.rows, chunks, sums, output_data<A>(parts));
    check_launch("zlpr_loss");
  }

  template <class T, class Label>
  static void backward(const Scope& scope, const ZlprCells<T, Label>& cells, const accumulate_t<T>* grad,
                       const accumulate_t<T>* parts, T* grad_scores) {
    PYDLX_LAUNCH((zlpr_backward_kernel<T, Label>), blocks_for(cells.rows * cells.chunks(), kZlprWarps),
                 dim3(kWarp, kZlprWarps), 0, scope.stream(), cells, grad, parts, grad_scores);
    check_launch("zlpr_loss");
  }
};

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("zlpr_loss", TORCH_BOX(&pydlx::ZlprLossOp<pydlx::Cuda>::forward));
  m.impl("_zlpr_loss_backward", TORCH_BOX(&pydlx::ZlprLossOp<pydlx::Cuda>::backward));
}
