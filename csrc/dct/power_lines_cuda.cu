// Launches of the cosine transforms of lines of 2^k samples; the kernels are in rows.cuh and columns.cuh.
#include "common/launch.cuh"
#include "dct/columns.cuh"
#include "dct/rows.cuh"
#include "dct/transforms.h"

namespace pydlx {
namespace {

constexpr int kLeastSamples = 64, kMostSamples = 4096;

LineScale<float> line_scale(const DctAxis& axis) {
  return {static_cast<float>(axis.first), static_cast<float>(axis.scale)};
}

template <int N, bool kBack>
void launch_rows(const float* x, float* y, int64_t rows, const DctAxis& axis, bool apart, cudaStream_t stream) {
  const int64_t blocks = (rows + 2 * kRowPairs<N> - 1) / (2 * kRowPairs<N>);
  PYDLX_LAUNCH((cosine_rows_kernel<N, kBack>), static_cast<unsigned>(blocks), kRowThreads, 0, stream, x, y, rows,
               line_scale(axis), apart);
}

template <int N, bool kBack>
void launch_columns(const float* x, float* y, int64_t planes, int64_t width, const DctAxis& axis, bool apart,
                    cudaStream_t stream) {
  const auto kernel = cosine_columns_kernel<N, kBack>;
  allow_shared(kernel, kColumnBytes<N>, "dct");
  const int64_t tiles = (width / 2 + kColumnLanes<N> - 1) / kColumnLanes<N>;
  PYDLX_LAUNCH(kernel, static_cast<unsigned>(planes * tiles), kColumnThreads<N>, kColumnBytes<N>, stream, x, y,
               static_cast<int>(width), static_cast<int>(tiles), line_scale(axis), apart);
}

}  // namespace

bool has_power_rows(int64_t n) {
  return dispatch_power<kLeastSamples, kMostSamples>(n, [](auto) {});
}

bool has_power_columns(int64_t n, int64_t width) {
  int64_t bytes = 0;
  return width % 2 == 0 && width <= INT32_MAX &&
         dispatch_power<kLeastSamples, kMostSamples>(n,
                                                     [&](auto size) { bytes = kColumnBytes<decltype(size)::value>; }) &&
         bytes <= most_shared_bytes();
}

void transform_power_rows(const float* x, float* y, int64_t rows, int64_t n, const DctAxis& axis, bool apart,
                          cudaStream_t stream) {
  dispatch_power<kLeastSamples, kMostSamples>(n, [&](auto size) {
    constexpr int N = decltype(size)::value;
    if (axis.type == 2) return launch_rows<N, false>(x, y, rows, axis, apart, stream);
    launch_rows<N, true>(x, y, rows, axis, apart, stream);
  });
}

void transform_power_columns(const float* x, float* y, int64_t planes, int64_t n, int64_t width, const DctAxis& axis,
                             bool apart, cudaStream_t stream) {
  dispatch_power<kLeastSamples, kMostSamples>(n, [&](auto size) {
    constexpr int N = decltype(size)::value;
    if (axis.type == 2) return launch_columns<N, false>(x, y, planes, width, axis, apart, stream);
    launch_columns<N, true>(x, y, planes, width, axis, apart, stream);
  });
}

}  // namespace pydlx
