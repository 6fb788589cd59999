// Transforms of both axes of planes on CUDA: by two passes of the kernels for powers of two (rows.cuh, columns.cuh), by
// kernels around torch's two-dimensional Fourier transform (planes.cuh), or axis by axis for sines.
#include <optional>

#include "common/launch.cuh"
#include "dct/planes.cuh"
#include "dct/transforms.h"

namespace pydlx {
namespace {

// Makes both passes on groups of planes that stay in the cache between the passes; the second pass is in place.
Tensor transform_power_planes(const Tensor& x, const DctAxis& down, const DctAxis& across, cudaStream_t stream) {
  const int64_t height = x.size(1), width = x.size(2), plane = height * width;
  const Tensor y = uninitialised_like(x);
  for_cached_planes(x.size(0), plane * int64_t{sizeof(float)}, [&](int64_t first, int64_t count) {
    float* to = output_data<float>(y) + first * plane;
    transform_power_rows(input_data<float>(x) + first * plane, to, count * height, width, across, false, stream);
    transform_power_columns(to, to, count, height, width, down, false, stream);
  });
  return y;
}

template <class T>
class PlaneTransform {
 public:
  PlaneTransform(const Tensor& x, cudaStream_t stream)
      : planes_(x.size(0)), height_(x.size(1)), width_(x.size(2)), stream_(stream) {
    if (shares_lines(width_)) marks_ = torch::stable::new_zeros(x, {planes_}, ScalarType::Byte);
  }

  Tensor forward(const Tensor& x, const DctAxis& down, const DctAxis& across) const {
    Tensor y = uninitialised_like(x);
    order<false>(x, y);
    const Tensor spectrum = made_contiguous(real_fft(y, {1, 2}));
    PYDLX_LAUNCH(cosine_planes_kernel<T>, blocks(parts()), kPlaneThreads, 0, stream_, input_data<Complex<T>>(spectrum),
                 output_data<T>(y), height(), width(), static_cast<unsigned>(parts()), scale(down), scale(across),
                 spoiled());
    return y;
  }

  Tensor back(const Tensor& x, const DctAxis& down, const DctAxis& across) const {
    const auto complex = sizeof(T) == 8 ? ScalarType::ComplexDouble : ScalarType::ComplexFloat;
    const Tensor spectrum = uninitialised(x, {planes_, height_, width_ / 2 + 1}, complex);
    PYDLX_LAUNCH(spectrum_planes_kernel<T>, blocks(parts()), kPlaneThreads, 0, stream_, input_data<T>(x),
                 output_data<Complex<T>>(spectrum), height(), width(), static_cast<unsigned>(parts()), scale(down),
                 scale(across), spoiled());
    const Tensor ordered = made_contiguous(inverse_real_fft(spectrum, {1, 2}, width_));
    Tensor y = uninitialised_like(x);
    order<true>(ordered, y);
    return y;
  }

 private:
  template <bool kBack>
  void order(const Tensor& from, const Tensor& to) const {
    const int64_t parts = (height_ + kOrderedRows - 1) / kOrderedRows;
    const T *x = input_data<T>(from), *y = input_data<T>(to);
    auto kernel = makhoul_planes_kernel<T, kBack, false>;
    if constexpr (sizeof(T) == 4) {
      if (takes_vectors<4>(width_, x, y)) kernel = makhoul_planes_kernel<T, kBack, true>;
    }
    PYDLX_LAUNCH(kernel, blocks(parts), kPlaneThreads, 0, stream_, x, output_data<T>(to), height(), width(),
                 static_cast<unsigned>(parts), spoiled());
  }

  // Blocks per plane of cosine_planes_kernel and spectrum_planes_kernel.
  int64_t parts() const {
    const int64_t groups = (height_ / 2 + kRowFrequencies) / kRowFrequencies;
    return ((width_ / 2 + 1) * groups + kPlaneThreads - 1) / kPlaneThreads;
  }
  unsigned blocks(int64_t parts) const { return static_cast<unsigned>(planes_ * parts); }
  int height() const { return static_cast<int>(height_); }
  int width() const { return static_cast<int>(width_); }
  LineScale<T> scale(const DctAxis& axis) const { return {static_cast<T>(axis.first), static_cast<T>(axis.scale)}; }
  SpoiledLines spoiled() const { return {marks_ ? output_data<uint8_t>(*marks_) : nullptr}; }

  int64_t planes_, height_, width_;
  cudaStream_t stream_;
  std::optional<Tensor> marks_;
};

Tensor transform_axes(const Tensor& x, const DctAxis& down, const DctAxis& across, cudaStream_t stream) {
  const Tensor columns = transform_axis_cuda(x, down, stream);
  const Tensor rows = torch::stable::view(columns, {x.size(0) * x.size(1), x.size(2), 1});
  return torch::stable::view(transform_axis_cuda(rows, across, stream), x.sizes());
}

}  // namespace

Tensor transform_planes_cuda(const Tensor& x, const DctAxis& down, const DctAxis& across, cudaStream_t stream) {
  const int64_t height = x.size(1), width = x.size(2);
  // The kernels of planes.cuh index a plane in 32 bits.
  if (across.type == 1 || height * width > INT32_MAX) return transform_axes(x, down, across, stream);
  if (x.scalar_type() == ScalarType::Float && has_power_rows(width) && has_power_columns(height, width)) {
    const Tensor whole = lies_by_pairs(x.const_data_ptr()) ? x : torch::stable::clone(x);
    return transform_power_planes(whole, down, across, stream);
  }
  Tensor y = x;
  dispatch_full_precision(x.scalar_type(), "dct", [&](auto zero) {
    const PlaneTransform<decltype(zero)> transform(x, stream);
    y = across.type == 2 ? transform.forward(x, down, across) : transform.back(x, down, across);
  });
  return y;
}

}  // namespace pydlx
