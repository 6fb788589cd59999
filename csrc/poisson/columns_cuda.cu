// Launches of the systems of column frequencies (columns.cuh) and of the corrections for Dirichlet borders (edges.cuh).
#include "common/launch.cuh"
#include "poisson/columns.cuh"
#include "poisson/edges.cuh"
#include "poisson/solve_parts.h"

namespace pydlx {
namespace {

// Rows per thread, column frequencies l per block (each with W - l), and most threads per block.
template <int rows_, int lanes_, int threads_>
struct Shape {
  static constexpr int rows = rows_, lanes = lanes_, threads = threads_;
  static constexpr int most_rows = threads / lanes * rows;
};
using LowShape = Shape<16, 4, 256>;
using HighShape = Shape<32, 4, 512>;

// Below these weights the lowest column frequencies amplify float32 rounding errors too much. Then every frequency is
// solved separately, from transforms of both rhs and colour, so that errors in an image of 0 to 255 are below 0.002
// (measured up to 1024 rows). `paper` squares L, so its limit is larger: the square root of its weight is what compares
// with the others' weight.
constexpr double kLeastBeta = 1e-3, kLeastBetaOfPaper = 0.1;

template <class Filter, class S>
void launch_columns(const ColumnsCall& call, int64_t planes, const Tensor& z, const MeanOfPlane& mean,
                    const Edges& edges, cudaStream_t stream) {
  constexpr int step = S::lanes >= kWarp ? 1 : kWarp / S::lanes;  // chunks that make up whole warps
  const int chunks = ((call.height + S::rows - 1) / S::rows + step - 1) / step * step;
  // As many resident blocks per multiprocessor as registers allow without spills.
  constexpr int blocks = S::threads > 256 ? 1 : Filter::kSecondOrder ? 2 : 3;
  const auto kernel = solve_columns_kernel<Filter, S::rows, S::lanes, S::threads, blocks>;
  PYDLX_LAUNCH(kernel, static_cast<unsigned>(planes * call.tiles), chunks * S::lanes,
               (ColumnRoom<Filter, S::lanes>::bytes(chunks)), stream, call, output_data<Complex<float>>(z), mean,
               edges);
}

// If 1 - beta g side > 0 for all columns, `official` is a first-order filter with 0 < r < 1.
bool is_first_order(const PoissonProblem& p) {
  const double gain = std::max(p.centre + 2 * p.side, -(p.centre - 2 * p.side));
  return p.formulation == kOfficial && p.beta * p.side * gain < 0.9;
}

class Columns {
 public:
  Columns(const PoissonProblem& p, int64_t planes, cudaStream_t stream)
      : problem_(p), planes_(planes), stream_(stream), low_(p.height <= LowShape::most_rows) {
    const int lanes = low_ ? LowShape::lanes : HighShape::lanes;
    call_ = {static_cast<int>(p.height),
             static_cast<int>(p.width),
             static_cast<int>((p.height + 1) / 2),
             (static_cast<int>(p.width) / 2 + lanes) / lanes,
             p.formulation,
             static_cast<float>(p.beta),
             static_cast<float>(p.centre),
             static_cast<float>(p.side)};
  }

  void solve(const Tensor& z, const MeanOfPlane& mean, const Edges& edges) const {
    if (problem_.dirichlet) return launch<FirstOrder<true>>(z, mean, edges);
    if (is_first_order(problem_)) return launch<FirstOrder<false>>(z, mean, edges);
    launch<SecondOrder>(z, mean, edges);
  }

  // The charges of the first and the last column that turn the basis's borders into Dirichlet borders, (planes, 2, H).
  Tensor charges(const Tensor& z) const {
    const int64_t lines = 2 * planes_, height = problem_.height;
    const auto fresh = [&](int64_t parts) { return uninitialised(z, {lines, parts, height}, ScalarType::Float); };
    const Tensor edges = fresh(call_.tiles), sums = fresh(1), spectrum = fresh(1);
    solve(z, {}, {output_data<float>(edges), nullptr});
    const auto blocks = static_cast<unsigned>((height + kWarp - 1) / kWarp);
    const EdgeLines p{call_.height, call_.width, call_.tiles, blocks, call_.beta};
    const dim3 block(kWarp, kEdgeParts);
    const auto grid = static_cast<unsigned>(lines * blocks);
    PYDLX_LAUNCH(sum_edges_kernel, grid, block, 0, stream_, p, input_data<float>(edges), output_data<float>(sums));
    PYDLX_LAUNCH(transform_edges_kernel, grid, block, 0, stream_, p, input_data<float>(sums),
                 output_data<float>(spectrum), true);
    PYDLX_LAUNCH(transform_edges_kernel, grid, block, 0, stream_, p, input_data<float>(spectrum),
                 output_data<float>(sums), false);
    return sums;
  }

 private:
  template <class Filter>
  void launch(const Tensor& z, const MeanOfPlane& mean, const Edges& edges) const {
    if (low_) return launch_columns<Filter, LowShape>(call_, planes_, z, mean, edges, stream_);
    launch_columns<Filter, HighShape>(call_, planes_, z, mean, edges, stream_);
  }

  const PoissonProblem& problem_;
  int64_t planes_;
  cudaStream_t stream_;
  bool low_;
  ColumnsCall call_;
};

}  // namespace

bool solves_columns(const PoissonProblem& p) {
  if (p.height > HighShape::most_rows || p.width > (1 << 24) || p.width < 2) return false;
  return p.dirichlet || p.beta >= (p.formulation == kPaper ? kLeastBetaOfPaper : kLeastBeta);
}

void solve_columns(const PoissonProblem& p, int64_t planes, const Tensor& z, const MeanOfPlane& mean,
                   cudaStream_t stream) {
  const Columns columns(p, planes, stream);
  if (!p.dirichlet) return columns.solve(z, mean, {});
  const Tensor charges = columns.charges(z);
  columns.solve(z, {}, {nullptr, input_data<float>(charges)});
}

}  // namespace pydlx
