// SoftPool on CUDA: choice of kernels, launches and registration. The kernels are in soft_pool*.cuh.
#include <limits>
#include <optional>

#include "common/launch.cuh"
#include "soft_pool/soft_pool.cuh"
#include "soft_pool/soft_pool_pixels.cuh"
#include "soft_pool/soft_pool_rows.cuh"

namespace pydlx {
namespace {

constexpr int kThreads = 256;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// One call. `y` is the output, or in the backward its gradient; without `dx` it is a forward call.
struct SoftPoolCall {
  const SoftPoolShape& shape;
  bool channels_last, straight_through;
  const Tensor &x, &y;
  const Tensor* dx;
  cudaStream_t stream;

  bool backward() const { return dx != nullptr; }

  template <class T>
  T* gradient() const {
    return dx ? output_data<T>(*dx) : nullptr;
  }

  /// Whether x, and dx if given, are aligned for vectors of `size` at multiples of `apart`.
  template <int size, class T>
  bool input_takes_vectors(int64_t apart) const {
    return takes_vectors<size>(apart, input_data<T>(x), static_cast<const T*>(gradient<T>()));
  }

  template <int size, class T>
  bool output_takes_vectors(int64_t apart) const {
    return takes_vectors<size>(apart, input_data<T>(y));
  }
};

// ------------------------------------------------------------------------------- windows with compile-time sizes

/// Windows of kernel x kernel elements every `stride`, or of `depth` such slices every `depth` slices.
template <int depth_, int kernel_, int stride_>
struct KnownWindow {
  static constexpr int depth = depth_, kernel = kernel_, stride = stride_;

  static bool is(const SoftPoolShape& s) {
    bool same = s.kernel[0] == depth && (depth == 1 ? s.out[0] == s.in[0] : s.stride[0] == depth);
    for (int axis = 0; axis < 3; ++axis) {
      same = same && (s.kernel[axis] == 1 || s.dilation[axis] == 1);
      if (axis > 0) same = same && s.kernel[axis] == kernel && s.stride[axis] == stride;
    }
    return same;
  }

  /// Folds the depth into the batch if windows have only one slice.
  static SoftPoolShape folded(SoftPoolShape s) {
    if (depth == 1) s.batch *= s.in[0], s.in[0] = s.out[0] = 1;
    return s;
  }
};

/// Calls body(window) if the call's window is one of the known ones and returns its result: whether it handled the
/// call.
template <class Body>
bool dispatch_window(const SoftPoolShape& s, const Body& body) {
  if (KnownWindow<1, 2, 2>::is(s)) return body(KnownWindow<1, 2, 2>{});
  if (KnownWindow<1, 3, 2>::is(s)) return body(KnownWindow<1, 3, 2>{});
  if (KnownWindow<1, 3, 1>::is(s)) return body(KnownWindow<1, 3, 1>{});
  if (KnownWindow<2, 2, 2>::is(s)) return body(KnownWindow<2, 2, 2>{});
  return false;
}

/// Number of windows along an axis; in the backward, the number of strides that cover the whole axis.
int64_t steps_along(const SoftPoolShape& s, int axis, bool backward) {
  return backward ? ceil_div(s.in[axis] + s.padding[axis], s.stride[axis]) : s.out[axis];
}

/// Number of blocks for this many threads; empty if threads or positions do not fit into 32 bits.
std::optional<unsigned> blocks_of_all(const SoftPoolShape& s, double threads, int block) {
  const int64_t longest = std::max({s.in[0], s.in[1], s.in[2], s.out[0], s.out[1], s.out[2]});
  if (longest >= int64_t{1} << 30 || threads + block > double(kNarrowIndexLimit)) return {};
  return static_cast<unsigned>(ceil_div(static_cast<int64_t>(threads), block));
}

/// Rows of windows per strip in the backward: enough for the repeated rows to be a small part, and few enough for the
/// strips to fill the GPU.
template <class Window>
int64_t strip_rows(int64_t rows, int64_t lanes_of_a_row) {
  if (Window::rows_before == 0) return 1;
#ifdef __CUDACC__
  constexpr int64_t kEnoughLanes = 3 << 16;
#else
  constexpr int64_t kEnoughLanes = 256;
#endif
  int64_t strips = ceil_div(rows, 32 / Window::stride);
  while (strips * lanes_of_a_row < kEnoughLanes && ceil_div(rows, strips) > 2) strips *= 2;
  return ceil_div(rows, std::min(strips, rows));
}

template <class T, class Known>
bool pool_rows(const SoftPoolCall& call, Known) {
  using Window = RowWindow<T, Known::depth, Known::kernel, Known::stride>;
  const SoftPoolShape s = Known::folded(call.shape);
  const bool backward = call.backward();
  const int64_t lanes =
      backward ? ceil_div(s.in[2] + s.padding[2], Window::lane_columns) : ceil_div(s.out[2], Window::lane_windows);
  const int64_t rows = steps_along(s, 1, backward), images = steps_along(s, 0, backward);
  const int64_t lanes_of_a_row = lanes * images * s.batch * s.channels;
  const int64_t strip = backward ? strip_rows<Window>(rows, lanes_of_a_row) : Window::forward_rows;
  const int64_t strips = ceil_div(rows, strip);
  const double count = double(lanes_of_a_row) * double(strips);
  const int new_lanes = kWarp - (backward ? Window::repeated_lanes : 0);
  const auto blocks = blocks_of_all(s, std::ceil(count / new_lanes) * kWarp, kRowThreads);
  if (!blocks) return false;

  SoftPoolRows p{Divisor<int32_t>(lanes), Divisor<int32_t>(strips), Divisor<int32_t>(images)};
  for (int axis = 0; axis < 3; ++axis) {
    p.in[axis] = static_cast<int>(s.in[axis]);
    p.out[axis] = static_cast<int>(s.out[axis]);
    p.padding[axis] = static_cast<int>(s.padding[axis]);
  }
  p.strip_rows = static_cast<int>(strip);
  p.count = static_cast<int32_t>(count);
  p.aligned_input = s.padding[2] == 0 && call.input_takes_vectors<Window::lane_columns, T>(s.in[2]);
  p.aligned_output = call.output_takes_vectors<Window::lane_windows, T>(s.out[2]);
  p.exact = call.straight_through ? 0.0f : 1.0f;
  if (backward) {
    PYDLX_LAUNCH((soft_pool_rows_backward_kernel<T, Window>), *blocks, kRowThreads, 0, call.stream, p,
                 input_data<T>(call.y), input_data<T>(call.x), call.gradient<T>(), call.x.numel(), call.y.numel());
  } else {
    PYDLX_LAUNCH((soft_pool_rows_forward_kernel<T, Window>), *blocks, kRowThreads, 0, call.stream, p,
                 input_data<T>(call.x), output_data<T>(call.y), call.x.numel());
  }
  return true;
}

template <class T, class Known>
bool pool_pixels(const SoftPoolCall& call, Known) {
  using Window = PixelWindow<T, Known::depth, Known::kernel, Known::stride>;
  constexpr bool kApart = Window::kernel == Window::stride;
  constexpr int kSize = Window::channels;
  const SoftPoolShape s = Known::folded(call.shape);
  const bool backward = call.backward();
  if (backward && !kApart) return false;
  if (!call.input_takes_vectors<kSize, T>(s.channels) || !call.output_takes_vectors<kSize, T>(s.channels)) return false;

  const int64_t vectors = s.channels / kSize;
  const int64_t steps[] = {steps_along(s, 0, backward), steps_along(s, 1, backward), steps_along(s, 2, backward)};
  const double count = double(s.batch) * double(steps[0]) * double(steps[1]) * double(steps[2]) * double(vectors);
  const auto blocks = blocks_of_all(s, count, kPixelThreads);
  if (!blocks) return false;

  SoftPoolPixels p{Divisor<int32_t>(vectors), Divisor<int32_t>(steps[2]), Divisor<int32_t>(steps[1]),
                   Divisor<int32_t>(steps[0])};
  for (int axis = 0; axis < 3; ++axis) {
    p.in[axis] = static_cast<int>(s.in[axis]);
    p.out[axis] = static_cast<int>(s.out[axis]);
    p.padding[axis] = static_cast<int>(s.padding[axis]);
  }
  p.channels = s.channels;
  p.count = static_cast<int32_t>(count);
  p.exact = call.straight_through ? 0.0f : 1.0f;
  if (!backward) {
    PYDLX_LAUNCH((soft_pool_pixels_forward_kernel<T, Window>), *blocks, kPixelThreads, 0, call.stream, p,
                 input_data<T>(call.x), output_data<T>(call.y));
  } else if constexpr (kApart) {
    PYDLX_LAUNCH((soft_pool_pixels_backward_kernel<T, Window>), *blocks, kPixelThreads, 0, call.stream, p,
                 input_data<T>(call.y), input_data<T>(call.x), call.gradient<T>());
  }
  return true;
}

// ------------------------------------------------------------------------------------------------------ all windows

/// The largest value of an index, or of an intermediate sum, in the input or the padded output windows.
int64_t largest_index(const SoftPoolShape& s) {
  double padded = double(s.batch) * double(s.channels);  // may exceed 64 bits
  for (int axis = 0; axis < 3; ++axis) {
    padded *= double(std::max(s.in[axis], s.out[axis]) + s.stride[axis] + s.dilation[axis] * s.kernel[axis] +
                     s.padding[axis]);
  }
  return padded < double(kNarrowIndexLimit) ? int64_t(padded) : std::numeric_limits<int64_t>::max();
}

/// Runs the kernels for any window, with `channels` channels per thread.
template <class T, class Index, int channels>
void pool_any(const SoftPoolCall& call) {
  using A = accumulate_t<T>;
  const SoftPoolShape& s = call.shape;
  const SoftPoolKernel<Index> p(s, call.channels_last ? s.channels / channels : 1, call.straight_through);
  const int64_t cells = call.x.numel() / channels, windows = call.y.numel() / channels;
  if (!call.backward()) {
    PYDLX_LAUNCH((soft_pool_forward_kernel<T, Index, channels>), blocks_for(windows, kThreads), kThreads, 0,
                 call.stream, p, input_data<T>(call.x), output_data<T>(call.y), windows);
    return;
  }
  const Tensor workspace = uninitialised(call.x, {3 * call.y.numel()}, wide_dtype(call.x));
  const SoftPoolStatistics<A> statistics(output_data<A>(workspace), call.y.numel());
  PYDLX_LAUNCH((soft_pool_statistics_kernel<T, Index, channels>), blocks_for(windows, kThreads), kThreads, 0,
               call.stream, p, input_data<T>(call.y), input_data<T>(call.x), statistics, windows);
  PYDLX_LAUNCH((soft_pool_gather_kernel<T, Index, channels>), blocks_for(cells, kThreads), kThreads, 0, call.stream, p,
               statistics, input_data<T>(call.x), call.gradient<T>(), cells);
}

template <class T>
void pool(const SoftPoolCall& call) {
  const SoftPoolShape& s = call.shape;
  constexpr bool kWide = sizeof(T) == sizeof(double);
  constexpr int kSize = kWide ? 1 : kVectorSize<T>;
  if constexpr (!kWide) {
    const bool taken = dispatch_window(
        s, [&](auto window) { return call.channels_last ? pool_pixels<T>(call, window) : pool_rows<T>(call, window); });
    if (taken) return;
  }
  const bool vectors = kSize > 1 && call.channels_last && call.input_takes_vectors<kSize, T>(s.channels) &&
                       call.output_takes_vectors<kSize, T>(s.channels);
  dispatch_index(largest_index(s), [&](auto narrow) {
    using Index = decltype(narrow);
    if constexpr (sizeof(Index) == sizeof(int32_t)) {
      if (vectors) return pool_any<T, Index, kSize>(call);
    }
    pool_any<T, Index, 1>(call);
  });
}

Tensor soft_pool(const Tensor& input, const std::vector<int64_t> window, bool ceil_mode, bool straight_through) {
  const SoftPoolShape s = soft_pool_shape(input, window, ceil_mode);
  const DeviceScope scope(input);
  const SoftPoolLayout layout(input);
  Tensor y = layout.new_output(s);
  if (y.numel() == 0) return y;
  const SoftPoolCall call{s, layout.channels_last, straight_through, layout.x, y, nullptr, scope.stream()};
  dispatch_floating(y.scalar_type(), "soft_pool", [&](auto zero) { pool<decltype(zero)>(call); });
  check_launch("soft_pool");
  return y;
}

Tensor soft_pool_backward(const Tensor& grad_output, const Tensor& input, const std::vector<int64_t> window,
                          bool ceil_mode, bool straight_through) {
  const SoftPoolShape s = soft_pool_shape(input, window, ceil_mode);
  const DeviceScope scope(input);
  const SoftPoolLayout layout(input);
  const Tensor grad = layout.gradient(s, grad_output);
  Tensor dx = layout.new_gradient();
  if (dx.numel() == 0) return dx;
  const SoftPoolCall call{s, layout.channels_last, straight_through, layout.x, grad, &dx, scope.stream()};
  dispatch_floating(dx.scalar_type(), "soft_pool", [&](auto zero) { pool<decltype(zero)>(call); });
  check_launch("soft_pool");
  return dx;
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("soft_pool", TORCH_BOX(&pydlx::soft_pool));
  m.impl("_soft_pool_backward", TORCH_BOX(&pydlx::soft_pool_backward));
}
