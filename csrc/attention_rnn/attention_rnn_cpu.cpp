// The attention RNN on the CPU: work cutting and registration. The maths is in attention_rnn.h, the loops in
// attention_rnn_cpu_simd.h.
#include "attention_rnn/attention_rnn.h"

#include <numeric>

#include "common/workspace.h"

namespace pydlx {

// Most examples of a block; each row of weights that is loaded is used for all of them.
constexpr int64_t kMostRows = 8;

}  // namespace pydlx

#define PYDLX_SIMD_FILE "attention_rnn/attention_rnn_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// A small batch is still cut into this many blocks, for as many threads.
constexpr int64_t kFewestBlocks = 4;

int64_t rows_of_block(int64_t batch) {
  return std::clamp<int64_t>((batch + kFewestBlocks - 1) / kFewestBlocks, 1, kMostRows);
}

// The order of the examples: blocks of examples of similar lengths, with long and short blocks alternating, because
// each thread takes a run of consecutive blocks.
std::vector<int64_t> reading_order(const AttentionRnnShape& shape, const int64_t* lengths, int64_t rows) {
  std::vector<int64_t> sorted(static_cast<size_t>(shape.batch));
  std::iota(sorted.begin(), sorted.end(), 0);
  if (!lengths) return sorted;
  std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  // Only the last block may be smaller, so it stays last.
  const int64_t whole = shape.batch / rows;
  std::vector<int64_t> order(sorted);
  for (int64_t i = 0; i < whole; ++i) {
    const int64_t from = i % 2 ? whole - 1 - i / 2 : i / 2;
    std::copy_n(sorted.begin() + from * rows, rows, order.begin() + i * rows);
  }
  return order;
}

struct Cpu {
  struct Scope {
    explicit Scope(const Tensor&) {}
  };

  template <class T>
  static void run(const Scope&, const AttentionRnnOperands& operands, const AttentionRnnArrays<T>& arrays,
                  bool backward) {
    const AttentionRnnShape& shape = operands.shape;
    const int64_t written = shape.batch * shape.steps * (backward ? shape.gradients() : shape.kept());
    prefer_large_pages(backward ? arrays.gradients : arrays.kept, size_t(written) * sizeof(T));
    const Tensor packed =
        uninitialised(operands.queries, {PYDLX_SIMD_CALL(network_numbers<T>)(shape, arrays, backward)});
    T* weights = output_data<T>(packed);
    PYDLX_SIMD_CALL(pack_network<T>)(shape, arrays, backward, weights);
    const int64_t rows = rows_of_block(shape.batch);
    const std::vector<int64_t> order = reading_order(shape, arrays.lengths, rows);
    parallel_for((shape.batch + rows - 1) / rows, 1, [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(read_blocks<T>)(shape, arrays, weights, backward, order.data(), rows, begin, end);
    });
  }
};

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("attention_rnn", TORCH_BOX(&pydlx::AttentionRnnOp<pydlx::Cpu>::forward));
  m.impl("_attention_rnn_backward", TORCH_BOX(&pydlx::AttentionRnnOp<pydlx::Cpu>::backward));
}
