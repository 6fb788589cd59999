// GlobalPointer's loss on the CPU: work cutting and registration. The maths is in global_pointer_loss.h, the loops in
// global_pointer_loss_cpu_simd.h.
#include "global_pointer_loss/global_pointer_loss.h"

#include "common/workspace.h"
#include "global_pointer_loss/head.h"

#define PYDLX_SIMD_FILE "global_pointer_loss/global_pointer_loss_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// The least number of positions per thread when computing the rotations.
constexpr int64_t kTurnsGrain = 64;

struct Cpu {
  struct Scope {
    explicit Scope(const Tensor&) {}
  };

  static void check_cells(const Tensor& cells) {
    const auto* numbers = input_data<int64_t>(cells);
    const int64_t count = cells.size(1);
    STD_TORCH_CHECK(std::is_sorted(numbers, numbers + count) && std::is_sorted(numbers + count, numbers + 2 * count),
                    "global_pointer_loss: cells must be sorted in each row");
  }

  template <class T>
  static void run(const Scope&, const GlobalPointerOperands& operands, const GlobalPointerArrays<T>& arrays,
                  bool backward) {
    using A = accumulate_t<T>;
    const GlobalPointerShape& shape = operands.shape;
    const int64_t rows = shape.rotary ? shape.length : 1;
    const Tensor table =
        uninitialised(operands.query, {rows, PYDLX_SIMD_CALL(vector_width<A>)(shape)}, wide_dtype(operands.query));
    A* turns = output_data<A>(table);
    parallel_for(rows, kTurnsGrain,
                 [&](int64_t begin, int64_t end) { PYDLX_SIMD_CALL(fill_turns<A>)(shape, turns, begin, end); });
    // Ordered by head, then item: items differ in length, so each thread should get several of them.
    parallel_for(shape.heads * shape.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t number = begin; number < end; ++number) {
        run(shape, arrays, turns, number % shape.batch, number / shape.batch, backward);
      }
    });
  }

  // Runs one head of one item.
  template <class T>
  static void run(const GlobalPointerShape& shape, const GlobalPointerArrays<T>& arrays, const accumulate_t<T>* turns,
                  int64_t item, int64_t head, bool backward) {
    using A = accumulate_t<T>;
    const HeadCells cells(shape, arrays, item, head);
    const int64_t types = shape.types_of_head();
    std::vector<HeadSums<A>> sums(backward ? 0 : static_cast<size_t>(types));
    PYDLX_SIMD_CALL(run_head<T>)(shape, arrays, cells, turns, item, head, backward ? nullptr : sums.data());
    A* parts = arrays.parts + 2 * (item * shape.types + head * types);
    for (const HeadSums<A>& sum : sums) {
      *parts++ = sum.gold.value();
      *parts++ = sum.others.value();
    }
  }
};

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("global_pointer_loss", TORCH_BOX(&pydlx::GlobalPointerLossOp<pydlx::Cpu>::forward));
  m.impl("_global_pointer_loss_backward", TORCH_BOX(&pydlx::GlobalPointerLossOp<pydlx::Cpu>::backward));
}
