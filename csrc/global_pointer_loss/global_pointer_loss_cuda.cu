// GlobalPointer's loss on CUDA: launches and registration. The kernels are in global_pointer_loss.cuh.
#include "common/launch.cuh"
#include "global_pointer_loss/global_pointer_loss.cuh"

namespace pydlx {
namespace {

constexpr int kTurnsThreads = 128;

template <class A>
void clear(A* numbers, int64_t count, const DeviceScope& scope) {
  if (!numbers || count == 0) return;
  const cudaError_t status = cudaMemsetAsync(numbers, 0, static_cast<size_t>(count) * sizeof(A), scope.stream());
  STD_TORCH_CHECK(status == cudaSuccess, "global_pointer_loss: ", cudaGetErrorString(status));
}

struct Cuda {
  using Scope = DeviceScope;

  static void check_cells(const Tensor&) {}  // reading them would wait for the device; kernels ignore invalid ones

  template <class T>
  static void run(const DeviceScope& scope, const GlobalPointerOperands& operands, const GlobalPointerArrays<T>& arrays,
                  bool backward) {
    using A = accumulate_t<T>;
    const GlobalPointerShape& shape = operands.shape;
    const ScalarType wide = wide_dtype(operands.query);
    const Tensor table = uninitialised(operands.query, {shape.rotary ? shape.length * shape.size : 0}, wide);
    A* turns = shape.rotary ? output_data<A>(table) : nullptr;
    if (table.numel() > 0) {
      PYDLX_LAUNCH(pointer_turns_kernel<A>, blocks_for(table.numel() / 2, kTurnsThreads), kTurnsThreads, 0,
                   scope.stream(), shape, turns);
    }
    const PointerTask<T> task{shape, PointerSides<T>::starts(arrays), turns, arrays.mask, arrays.gold};
    if (backward) {
      differentiate(scope, task, arrays);
    } else {
      sum(scope, operands, task, arrays);
    }
    check_launch("global_pointer_loss");
  }

  static dim3 block() { return dim3(kTileThreads, kTileThreads); }

  template <class T>
  static void sum(const DeviceScope& scope, const GlobalPointerOperands& operands, const PointerTask<T>& task,
                  const GlobalPointerArrays<T>& arrays) {
    using A = accumulate_t<T>;
    const int64_t pieces = task.blocks() * kPointerWarps, count = task.shape.batch * task.shape.types;
    const Tensor memory = uninitialised(operands.query, {count * pieces * 4}, wide_dtype(operands.query));
    auto* sums = reinterpret_cast<PointerSums<A>*>(output_data<A>(memory));
    clear(output_data<A>(memory), memory.numel(), scope);
    const int64_t blocks = task.shape.batch * task.shape.heads * task.blocks();
    if (blocks > 0) {
      PYDLX_LAUNCH(pointer_sum_kernel<T>, static_cast<unsigned>(std::min(blocks, kMaxBlocks)), block(), 0,
                   scope.stream(), task, sums);
    }
    PYDLX_LAUNCH(pointer_finish_kernel<A>, blocks_for(count, kPointerWarps), dim3(kWarp, kPointerWarps), 0,
                 scope.stream(), count, pieces, sums, arrays.parts);
  }

  template <class T>
  static void differentiate(const DeviceScope& scope, PointerTask<T> task, const GlobalPointerArrays<T>& arrays) {
    using A = accumulate_t<T>;
    const int64_t blocks = task.shape.batch * task.shape.heads * task.blocks() * task.chunks();
    const int64_t biases = task.shape.batch * task.shape.types * task.shape.length;
    clear(arrays.grad_start, biases, scope);
    clear(arrays.grad_end, biases, scope);
    for (const PointerSides<T>& sides : {PointerSides<T>::starts(arrays), PointerSides<T>::ends(arrays)}) {
      task.sides = sides;
      PYDLX_LAUNCH(pointer_backward_kernel<T>, static_cast<unsigned>(std::min(blocks, kMaxBlocks)), block(), 0,
                   scope.stream(), task, arrays.grad, static_cast<const A*>(arrays.parts));
    }
  }
};

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("global_pointer_loss", TORCH_BOX(&pydlx::GlobalPointerLossOp<pydlx::Cuda>::forward));
  m.impl("_global_pointer_loss_backward", TORCH_BOX(&pydlx::GlobalPointerLossOp<pydlx::Cuda>::backward));
}
