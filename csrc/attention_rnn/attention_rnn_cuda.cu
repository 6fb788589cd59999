// The attention RNN on CUDA: launches and registration. The kernels are in attention_rnn.cuh.
#include "attention_rnn/attention_rnn.cuh"
#include "common/launch.cuh"

namespace pydlx {
namespace {

// Dynamic shared memory that needs no request.
#ifdef __CUDACC__
constexpr int64_t kSharedBytes = 48 * 1024;
#else
constexpr int64_t kSharedBytes = 1024;  // low on the emulator, so that small tests take both paths
#endif

struct Cuda {
  using Scope = DeviceScope;

  template <class T>
  static void run(const Scope& scope, const AttentionRnnOperands& operands, const AttentionRnnArrays<T>& arrays,
                  bool backward) {
    const int64_t numbers = RnnWork<T>::numbers(operands.shape), bytes = numbers * int64_t(sizeof(T));
    const auto blocks = static_cast<unsigned>(std::min(operands.shape.batch, kMaxBlocks));
    const bool fits = bytes <= kSharedBytes;
    const auto shared = static_cast<unsigned>(fits ? bytes : 0);
    const Tensor own = uninitialised(operands.queries, {fits ? 0 : int64_t{blocks} * numbers});
    T* own_memory = fits ? nullptr : output_data<T>(own);
    if (backward) {
      PYDLX_LAUNCH(attention_rnn_backward_kernel<T>, blocks, kRnnThreads, shared, scope.stream(), operands.shape,
                   arrays, own_memory);
    } else {
      PYDLX_LAUNCH(attention_rnn_kernel<T>, blocks, kRnnThreads, shared, scope.stream(), operands.shape, arrays,
                   own_memory);
    }
    check_launch("attention_rnn");
  }
};

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("attention_rnn", TORCH_BOX(&pydlx::AttentionRnnOp<pydlx::Cuda>::forward));
  m.impl("_attention_rnn_backward", TORCH_BOX(&pydlx::AttentionRnnOp<pydlx::Cuda>::backward));
}
