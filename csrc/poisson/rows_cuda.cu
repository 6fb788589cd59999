// Launches of the row passes before and after the systems of column frequencies (rows.cuh).
#include "common/launch.cuh"
#include "dct/transforms.h"
#include "poisson/rows.cuh"
#include "poisson/solve_parts.h"

namespace pydlx {
namespace {

// Rows with a power of two in this range as width are transformed in the same pass.
constexpr int kLeastWidth = 256, kMostWidth = 4096;

}  // namespace

RightSide right_side_of(const PoissonProblem& p, const float* rhs, const float* colour) {
  RightSide side{};
  side.rhs = rhs, side.colour = colour;
  side.height = static_cast<int>(p.height), side.width = static_cast<int>(p.width);
  side.pairs = (side.height + 1) / 2;
  int rows = kPackRows;
  dispatch_power<kLeastWidth, kMostWidth>(p.width, [&](auto size) { rows = 2 * kRowPairs<decltype(size)::value>; });
  side.parts = static_cast<unsigned>((side.height + rows - 1) / rows);
  side.formulation = p.formulation;
  side.beta = static_cast<float>(p.beta);
  side.centre = static_cast<float>(p.centre), side.side = static_cast<float>(p.side);
  side.alternate = p.dirichlet;
  return side;
}

Tensor transform_right_side(const RightSide& side, int64_t planes, const Tensor& like, cudaStream_t stream) {
  const Tensor z = uninitialised(like, {planes, side.pairs, side.width}, ScalarType::ComplexFloat);
  auto* to = output_data<Complex<float>>(z);
  const auto blocks = static_cast<unsigned>(planes * side.parts);
  const bool done = dispatch_power<kLeastWidth, kMostWidth>(side.width, [&](auto size) {
    PYDLX_LAUNCH(pack_power_rows_kernel<decltype(size)::value>, blocks, kRowThreads, 0, stream, side, to);
  });
  if (done) return z;
  PYDLX_LAUNCH(pack_rows_kernel, blocks, kPackThreads, 0, stream, side, to);
  return made_contiguous(complex_fft(z, {2}, false));
}

void transform_back(const RightSide& side, int64_t planes, const Tensor& z, float* u, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(planes * side.parts);
  const bool done = dispatch_power<kLeastWidth, kMostWidth>(side.width, [&](auto size) {
    PYDLX_LAUNCH(unpack_power_rows_kernel<decltype(size)::value>, blocks, kRowThreads, 0, stream, side,
                 input_data<Complex<float>>(z), u);
  });
  if (done) return;
  const Tensor rows = made_contiguous(complex_fft(z, {2}, true));
  PYDLX_LAUNCH(unpack_rows_kernel, blocks, kPackThreads, 0, stream, side, input_data<Complex<float>>(rows), u);
}

}  // namespace pydlx
