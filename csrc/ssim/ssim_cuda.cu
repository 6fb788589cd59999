// Structural similarity on CUDA: launches and registration. The kernels are in ssim.cuh and ssim_backward.cuh.
#include "common/launch.cuh"
#include "ssim/ssim_backward.cuh"

namespace pydlx {
namespace {

// Images whose sides can be counted in 32 bits, with the rows and columns that kernels look beyond them, and so can
// their strips, of at least 16 rows and 100 columns, with the grid's blocks beyond them.
bool is_narrow(const SsimShape& shape) {
  const int64_t strips = shape.planes() * shape.in[0] * (shape.in[1] / 16 + 1) * (shape.in[2] / 100 + 1);
  return std::max({shape.in[0], shape.in[1], shape.in[2]}) <= kNarrowIndexLimit - 64 &&
         strips <= kNarrowIndexLimit - kMaxBlocks;
}

// Calls body(radius) with the radius as a constant, for the windows that have kernels of their own, or -1.
template <class Body>
void dispatch_radius(const SsimShape& shape, const Body& body) {
  if (is_narrow(shape) && shape.radius[2] == 5) return body(std::integral_constant<int, 5>{});
  if (is_narrow(shape) && shape.radius[2] == 3) return body(std::integral_constant<int, 3>{});
  body(std::integral_constant<int, -1>{});
}

// Whether images of this type and window are taken as such, not as volumes of depth 1.
template <class T, int kRadius>
constexpr bool kTakesImages = kRadius >= 0 && !std::is_same_v<T, double>;

// A call, and what its launches have in common.
template <class T>
struct Ssim {
  using A = accumulate_t<T>;
  SsimImages<T> images;
  int64_t blocks_at_once;  // of a kernel of which two run on a multiprocessor
  cudaStream_t stream;

  Ssim(const SsimShape& shape, const SsimOptions& options, const Tensor& x, const Tensor& y, const DeviceScope& scope)
      : images{shape, options.taps<A>(), options.formula<A>(), input_data<T>(x), input_data<T>(y)},
        blocks_at_once(2 * multiprocessors()),
        stream(scope.stream()) {
    images.formula.c2 /= images.formula.covariance;
  }

  const SsimShape& shape() const { return images.shape; }
  bool is_volume() const { return shape().in[0] > 1; }
  int64_t columns_each() const { return SsimRoom<A, kSsimThreads>::results(2 * static_cast<int>(shape().radius[2])); }

  static unsigned grid(const SsimStrips& strips) { return static_cast<unsigned>(std::min(strips.count, kMaxBlocks)); }

  // Blocks of one warm up their columns with 2 radius rows, which cost a good half of what others do.
  SsimStrips strips(const int64_t* size) const {
    return {shape().planes(), size, columns_each(), blocks_at_once, shape().radius[1] + 1};
  }

  template <int kRadius>
  void moments(const SsimStrips& strips, const SsimResults<A>& results) const {
    if constexpr (kTakesImages<T, kRadius>) {
      if (!is_volume()) {
        PYDLX_LAUNCH((ssim_kernel<kRadius, false, T>), grid(strips), kSsimThreads, 0, stream, images, strips, results);
        return;
      }
    }
    PYDLX_LAUNCH((ssim_kernel<kRadius, true, T>), grid(strips), kSsimThreads, 0, stream, images, strips, results);
  }

  template <int kRadius>
  void forward(const Tensor& x, bool map, A* out) const {
    const SsimStrips cut = strips(shape().out);
    const bool is_whole = !map && cut.per_plane() == 1;
    Tensor sums = uninitialised(x, {map || is_whole ? 0 : cut.count}, ScalarType::Double);
    SsimResults<A> results{};
    results.map = map ? out : nullptr;
    results.means = is_whole ? out : nullptr;
    results.sums = map || is_whole ? nullptr : output_data<double>(sums);
    moments<kRadius>(cut, results);
    if (map || is_whole) return;
    PYDLX_LAUNCH(ssim_mean_kernel<A>, static_cast<unsigned>(std::min(shape().planes(), kMaxBlocks)), kSsimThreads, 0,
                 stream, input_data<double>(sums), out, shape().planes(), cut.per_plane(), shape().out_plane());
  }

  // In one pass.
  template <int kRadius, int kMaps>
  void image_backward(const A* grad, bool map, int side, T* dx, T* dy) const {
    const auto kernel = ssim_backward_kernel<kRadius, kMaps, T>;
    const SsimStrips cut(shape().planes(), shape().in, kSsimBackwardColumns<kRadius>, blocks_at_once,
                         3 * shape().radius[1]);
    allow_shared(kernel, kSsimBackwardBytes<kMaps>, "ssim");
    PYDLX_LAUNCH(kernel, static_cast<unsigned>(cut.count), kSsimBackwardThreads, kSsimBackwardBytes<kMaps>, stream,
                 images, cut, grad, map, static_cast<float>(side), dx, dy);
  }

  template <int kRadius>
  void backward(const Tensor& x, const A* grad, bool map, int side, T* dx, T* dy) const {
    if constexpr (kTakesImages<T, kRadius>) {
      if (!is_volume() && side == 0) return image_backward<kRadius, 4>(grad, map, side, dx, dy);
      if (!is_volume()) return image_backward<kRadius, 3>(grad, map, side, dx ? dx : dy, nullptr);
    }
    const int64_t places = shape().planes() * shape().out_plane();
    Tensor slopes = uninitialised(x, {(side == 0 ? 4 : 3) * places}, wide_dtype(x));
    SsimResults<A> results{};
    results.slopes = output_data<A>(slopes);
    results.grad = grad;
    results.grad_is_map = map;
    results.side = side;
    moments<kRadius>(strips(shape().out), results);
    const SsimStrips cut = strips(shape().in);
    PYDLX_LAUNCH((ssim_gradient_kernel<kRadius, T>), grid(cut), kSsimThreads, 0, stream, images, cut,
                 input_data<A>(slopes), side, dx, dy);
  }
};

Tensor ssim(const Tensor& x, const Tensor& y, int64_t window, double sigma, double covariance, double c1, double c2,
            bool luminance, bool map) {
  const SsimOptions options{window, sigma, covariance, c1, c2, luminance, map};
  const SsimShape shape = ssim_shape(x, y, window);
  const DeviceScope scope(x);
  const Tensor first = made_contiguous(x), second = made_contiguous(y);
  Tensor out = uninitialised(x, ssim_output_sizes(x, shape, map), wide_dtype(x));
  if (out.numel() == 0) return out;
  dispatch_pixels(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Ssim<T> call(shape, options, first, second, scope);
    dispatch_radius(shape, [&](auto radius) {
      call.template forward<decltype(radius)::value>(x, map, output_data<accumulate_t<T>>(out));
    });
  });
  check_launch("ssim");
  return out;
}

std::tuple<Tensor, Tensor> ssim_backward(const Tensor& grad_output, const Tensor& x, const Tensor& y, int64_t window,
                                         double sigma, double covariance, double c1, double c2, bool luminance,
                                         bool map, bool wants_x, bool wants_y) {
  const SsimOptions options{window, sigma, covariance, c1, c2, luminance, map};
  const SsimShape shape = ssim_shape(x, y, window);
  const DeviceScope scope(x);
  const Tensor first = made_contiguous(x), second = made_contiguous(y);
  const Tensor grad = ssim_gradient(x, shape, map, grad_output);
  auto [dx, dy] = ssim_new_gradients(x, wants_x, wants_y);
  if (x.numel() == 0 || !(wants_x || wants_y)) return {dx, dy};
  const int side = wants_x && wants_y ? 0 : wants_x ? 1 : -1;
  dispatch_floating(x.scalar_type(), "ssim", [&, &dx = dx, &dy = dy](auto zero) {
    using T = decltype(zero);
    const Ssim<T> call(shape, options, first, second, scope);
    dispatch_radius(shape, [&](auto radius) {
      call.template backward<decltype(radius)::value>(x, input_data<accumulate_t<T>>(grad), map, side,
                                                      wants_x ? output_data<T>(dx) : nullptr,
                                                      wants_y ? output_data<T>(dy) : nullptr);
    });
  });
  check_launch("ssim");
  return {dx, dy};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("ssim", TORCH_BOX(&pydlx::ssim));
  m.impl("_ssim_backward", TORCH_BOX(&pydlx::ssim_backward));
}
