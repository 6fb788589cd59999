// Corner pooling on the CPU: work cutting, registration. The maths is in corner_pool.h, the loops in
// corner_pool_cpu_simd.h.
#include "corner_pool/corner_pool.h"

namespace pydlx {

// Columns that are scanned together, at most.
constexpr int64_t kMaxBundle = 1024;

// The columns of a scan, cut into bundles of neighbours, whole cache lines of them.
struct CornerBundles {
  static constexpr int64_t kLine = 64, kUnits = 16, kKeptElements = 32768;

  CornerScan scan;
  int64_t width, per_block;

  // Bundles for one walk: as wide as they can be with kUnits of them to share among threads, since memory is fastest
  // when it is read in order.
  static CornerBundles wide(const CornerScan& s) { return CornerBundles(s, s.outer * s.inner / kUnits); }

  // Bundles for the two walks of the backward, between which their elements stay in the second-level cache.
  static CornerBundles kept(const CornerScan& s) {
    return CornerBundles(s, kKeptElements / std::max<int64_t>(1, s.length));
  }

  CornerBundles(const CornerScan& s, int64_t columns) : scan(s) {
    width = std::clamp(columns / kLine * kLine, kLine, kMaxBundle);
    per_block = (s.inner + width - 1) / width;
  }

  int64_t total() const { return scan.outer * per_block; }
  int64_t cost() const { return std::min(width, scan.inner) * scan.length; }

  // First element and number of columns.
  std::pair<int64_t, int64_t> operator[](int64_t unit) const {
    const int64_t column = unit % per_block * width;
    return {unit / per_block * scan.length * scan.inner + column, std::min(width, scan.inner - column)};
  }
};

}  // namespace pydlx

#define PYDLX_SIMD_FILE "corner_pool/corner_pool_cpu_simd.h"
#include "common/foreach_simd.h"

namespace pydlx {
namespace {

// Elements that are worth a thread.
constexpr int64_t kGrain = 32768;

Tensor corner_pool(const Tensor& input, int64_t direction) {
  const Tensor x = dense(input);
  const CornerScan scan = corner_scan(x, direction);
  Tensor y = uninitialised_like(x);
  if (y.numel() == 0) return y;
  prefer_large_pages(y);
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    const T* from = input_data<T>(x);
    T* to = output_data<T>(y);
    if (scan.inner == 1) {
      return parallel_for(scan.outer, kGrain / scan.length, [&](int64_t begin, int64_t end) {
        PYDLX_SIMD_CALL(corner_pool_rows<T>)(scan, from, to, begin, end);
      });
    }
    const auto bundles = CornerBundles::wide(scan);
    parallel_for(bundles.total(), kGrain / bundles.cost(), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(corner_pool_columns<T>)(bundles, from, to, begin, end);
    });
  });
  return y;
}

Tensor corner_pool_backward(const Tensor& grad_output, const Tensor& input, int64_t direction) {
  Arguments("_corner_pool_backward", "x", input).check_alike("grad", grad_output);
  const Tensor x = dense(input), grad = in_format(grad_output, is_channels_last(x));
  const CornerScan scan = corner_scan(x, direction);
  Tensor dx = uninitialised_like(x);
  if (dx.numel() == 0) return dx;
  prefer_large_pages(dx);
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    const T *from = input_data<T>(x), *gradient = input_data<T>(grad);
    T* to = output_data<T>(dx);
    if (scan.inner == 1) {
      return parallel_for(scan.outer, kGrain / scan.length, [&](int64_t begin, int64_t end) {
        PYDLX_SIMD_CALL(corner_pool_backward_rows<T>)(scan, gradient, from, to, begin, end);
      });
    }
    const auto bundles = CornerBundles::kept(scan);
    parallel_for(bundles.total(), kGrain / bundles.cost(), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(corner_pool_backward_columns<T>)(bundles, gradient, from, to, begin, end);
    });
  });
  return dx;
}

Tensor corner_pool_pair(const Tensor& vertical, const Tensor& horizontal, bool top_left) {
  Arguments("corner_pool_pair", "vertical", vertical).check_alike("horizontal", horizontal);
  const Tensor a = dense(vertical), b = in_format(horizontal, is_channels_last(a));
  const CornerScan columns = corner_scan(a, top_left ? kTop : kBottom);
  Tensor y = uninitialised_like(a);
  if (y.numel() == 0) return y;
  prefer_large_pages(y);
  dispatch_floating(a.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    const T *from_a = input_data<T>(a), *from_b = input_data<T>(b);
    T* to = output_data<T>(y);
    if (!is_channels_last(a)) {
      return parallel_for(columns.outer, kGrain / (columns.length * columns.inner), [&](int64_t begin, int64_t end) {
        PYDLX_SIMD_CALL(corner_pair_planes<T>)(columns, from_a, from_b, to, begin, end);
      });
    }
    const int64_t width = a.size(3);
    const auto bundles = CornerBundles::kept({a.size(0), a.size(2) * width, a.size(1), columns.from_end});
    parallel_for(bundles.total(), kGrain / bundles.cost(), [&](int64_t begin, int64_t end) {
      PYDLX_SIMD_CALL(corner_pair_pixels<T>)(bundles, width, from_a, from_b, to, begin, end);
    });
  });
  return y;
}

std::tuple<Tensor, Tensor> corner_pool_pair_backward(const Tensor& grad, const Tensor& vertical,
                                                     const Tensor& horizontal, bool top_left) {
  Arguments("_corner_pool_pair_backward", "vertical", vertical).check_alike("horizontal", horizontal);
  return {corner_pool_backward(grad, vertical, top_left ? kTop : kBottom),
          corner_pool_backward(grad, horizontal, top_left ? kLeft : kRight)};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, CPU, m) {
  m.impl("corner_pool", TORCH_BOX(&pydlx::corner_pool));
  m.impl("_corner_pool_backward", TORCH_BOX(&pydlx::corner_pool_backward));
  m.impl("corner_pool_pair", TORCH_BOX(&pydlx::corner_pool_pair));
  m.impl("_corner_pool_pair_backward", TORCH_BOX(&pydlx::corner_pool_pair_backward));
}
