// SoftPool of channels-last tensors for windows with compile-time sizes (maths in soft_pool_window.cuh): `kernel` x
// `kernel` pixels every `stride` rows and columns, or `depth` such slices every `depth` slices.
//
// A thread has 16 bytes of channels (8 for 16-bit types if windows have more than 4 pixels) of one window or, in the
// backward, of the pixels from the start of one window to that of the next. Threads are ordered along channels, then
// along rows. The pixels stay in registers in their original type and are replaced there by their gradients. The
// backward supports only windows that do not overlap.
//
// Bytes: the forward reads x and writes y once, the backward reads x and grad and writes dx once. Pixels that windows
// share come from the cache.
#pragma once

#include "common/indexing.cuh"
#include "common/vectors.cuh"
#include "soft_pool/soft_pool.h"
#include "soft_pool/soft_pool_window.cuh"

namespace pydlx {

constexpr int kPixelThreads = 128;
constexpr int kPixelBlocks = 4;  // resident blocks per multiprocessor that registers allow without spills

/// The windows of one kernel, for elements of type T.
template <class T, int depth_, int kernel_, int stride_>
struct PixelWindow {
  static constexpr int depth = depth_, kernel = kernel_, stride = stride_;
  static constexpr int cells = depth * kernel * kernel;
  // Channels per thread; more would need too many registers.
  static constexpr int channels = cells > 4 ? 4 : kVectorSize<T>;
};

/// Sizes, and the order of threads: over the vectors of a pixel, then along its row, down the slice, through the
/// volume.
struct SoftPoolPixels {
  Divisor<int32_t> vectors, columns, rows, slices;  // of a pixel; of windows
  int in[3], out[3], padding[3];
  int64_t channels;
  int32_t count;  // number of threads
  float exact;    // 0 if straight-through, else 1
};

/// The channels and the window of one thread.
template <class T, class Window>
struct PixelPlace {
  static constexpr int kChannels = Window::channels;
  using Pixel = Vector<T, kChannels>;

  const SoftPoolPixels& p;
  int at[3];  // the window's coordinates
  int64_t image;
  int64_t channel;

  __device__ PixelPlace(const SoftPoolPixels& shape, int32_t index) : p(shape) {
    const int32_t column = p.vectors.quotient(index), row = p.columns.quotient(column), slice = p.rows.quotient(row);
    channel = int64_t{p.vectors.remainder(index)} * kChannels;
    at[2] = p.columns.remainder(column);
    at[1] = p.rows.remainder(row);
    at[0] = p.slices.remainder(slice);
    image = p.slices.quotient(slice);
  }

  __device__ bool in_output() const { return at[0] < p.out[0] && at[1] < p.out[1] && at[2] < p.out[2]; }

  /// The offset of the window's output, or of its gradient.
  __device__ int64_t output() const {
    return (((image * p.out[0] + at[0]) * p.out[1] + at[1]) * p.out[2] + at[2]) * p.channels + channel;
  }

  /// Calls visit(index in the window, offset in the tensor) for the pixels of the window that are not padding, and
  /// padding(index in the window) for the others.
  template <class Visit, class Padding>
  __device__ __forceinline__ void for_each_cell(const Visit& visit, const Padding& padding) const {
    constexpr int kernel = Window::kernel;
    const int d = at[0] * Window::depth - p.padding[0], h = at[1] * Window::stride - p.padding[1];
    const int w = at[2] * Window::stride - p.padding[2];
    const int64_t first = (((image * p.in[0] + d) * p.in[1] + h) * p.in[2] + w) * p.channels + channel;
    const int64_t line = p.in[2] * p.channels, plane = p.in[1] * line;
#pragma unroll
    for (int i = 0; i < Window::cells; ++i) {
      const int kd = i / (kernel * kernel), kh = i / kernel % kernel, kw = i % kernel;
      if (inside(d + kd, 0) && inside(h + kh, 1) && inside(w + kw, 2)) {
        visit(i, first + kd * plane + kh * line + kw * p.channels);
      } else {
        padding(i);
      }
    }
  }

  __device__ __forceinline__ bool inside(int position, int axis) const {
    return position >= 0 && position < p.in[axis];
  }

  __device__ void read(const T* x, Pixel (&pixels)[Window::cells]) const {
    for_each_cell([&](int i, int64_t offset) { pixels[i] = *reinterpret_cast<const Pixel*>(x + offset); },
                  [&](int i) {
                    for (T& value : pixels[i].values) value = static_cast<T>(-INFINITY);
                  });
  }

  __device__ int cells_inside() const {
    int count = 0;
    for_each_cell([&](int, int64_t) { ++count; }, [](int) {});
    return count;
  }
};

/// Extracts one channel of the window's pixels.
template <class T, int channels, int cells>
__device__ __forceinline__ void take_channel(const Vector<T, channels> (&pixels)[cells], int channel,
                                             accumulate_t<T> (&to)[cells]) {
#pragma unroll
  for (int i = 0; i < cells; ++i) to[i] = static_cast<accumulate_t<T>>(pixels[i].values[channel]);
}

template <class T, class Window>
__global__ void __launch_bounds__(kPixelThreads, PYDLX_BLOCKS(kPixelBlocks))
    soft_pool_pixels_forward_kernel(SoftPoolPixels p, const T* __restrict__ x, T* __restrict__ y) {
  using A = accumulate_t<T>;
  using Place = PixelPlace<T, Window>;
  const auto index = static_cast<int32_t>(blockIdx.x * kPixelThreads + threadIdx.x);
  if (index >= p.count) return;
  const Place place(p, index);
  typename Place::Pixel pixels[Window::cells];
  place.read(x, pixels);
  A values[Place::kChannels];
#pragma unroll
  for (int k = 0; k < Place::kChannels; ++k) {
    A cells[Window::cells];
    take_channel(pixels, k, cells);
    values[k] = SoftPoolWindow<A, Window::cells>(cells, [&] { return place.cells_inside(); }).value();
  }
  store_vector(y + place.output(), values);
}

template <class T, class Window>
__global__ void __launch_bounds__(kPixelThreads, PYDLX_BLOCKS(kPixelBlocks))
    soft_pool_pixels_backward_kernel(SoftPoolPixels p, const T* __restrict__ grad, const T* __restrict__ x,
                                     T* __restrict__ dx) {
  static_assert(Window::kernel == Window::stride);
  using A = accumulate_t<T>;
  using Place = PixelPlace<T, Window>;
  const auto index = static_cast<int32_t>(blockIdx.x * kPixelThreads + threadIdx.x);
  if (index >= p.count) return;
  const Place place(p, index);
  typename Place::Pixel pixels[Window::cells];
  if (place.in_output()) {
    A gradients[Place::kChannels];
    load_vector(grad + place.output(), gradients);
    place.read(x, pixels);
#pragma unroll
    for (int k = 0; k < Place::kChannels; k += 2) {
      A slopes[2][Window::cells];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        A cells[Window::cells];
        take_channel(pixels, k + i, cells);
        SoftPoolWindow<A, Window::cells>(cells, [&] {
          return place.cells_inside();
        }).gradients(gradients[k + i], A(p.exact), slopes[i]);
      }
#pragma unroll
      for (int i = 0; i < Window::cells; ++i) round_pair(slopes[0][i], slopes[1][i], pixels[i].values + k);
    }
  } else {  // pixels at the end that no window covers
#pragma unroll
    for (auto& pixel : pixels) {
      for (T& value : pixel.values) value = static_cast<T>(A(0));
    }
  }
  place.for_each_cell(
      [&](int i, int64_t offset) { *reinterpret_cast<typename Place::Pixel*>(dx + offset) = pixels[i]; }, [](int) {});
}

}  // namespace pydlx
