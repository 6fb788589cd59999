// SoftPool of channels-last tensors, with lanes over channels. Included once per instruction set by
// soft_pool_cpu_simd.h.

namespace pydlx {
namespace PYDLX_SIMD {

// A pixel of a window: its index within the image, and its coordinates.
struct Pixel {
  int64_t index, d, h, w;
};

// The pixels of the window of output (od, oh, ow), without the padding.
inline void window_pixels(const SoftPoolShape& s, int64_t od, int64_t oh, int64_t ow, std::vector<Pixel>& pixels) {
  pixels.clear();
  each_tap_row(s, od, oh, [&](int64_t, int64_t d, int64_t h, bool inside) {
    if (!inside) return;
    for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
      const int64_t w = ow * s.stride[2] - s.padding[2] + kw * s.dilation[2];
      if (w >= 0 && w < s.in[2]) pixels.push_back({(d * s.in[1] + h) * s.in[2] + w, d, h, w});
    }
  });
}

// The taps of one window. Lanes are used in place if they are whole vectors of the accumulation type; otherwise they
// are copied to a buffer, widened if necessary, because a vector must not be read past the end of the tensor.
template <class T>
struct PixelWindow {
  using A = accumulate_t<T>;
  std::vector<Pixel> pixels;
  std::vector<const A*> taps;
  std::vector<A> widened;

  explicit PixelWindow(const SoftPoolShape& s)
      : taps(s.kernel[0] * s.kernel[1] * s.kernel[2]), widened(taps.size() * kLanes) {
    pixels.reserve(taps.size());
  }

  int64_t count() const { return static_cast<int64_t>(pixels.size()); }

  // Sets the taps to channels [first, first + lanes).
  void load_lanes(const T* image, int64_t channels, int64_t first, int64_t lanes) {
    for (int64_t t = 0; t < count(); ++t) {
      const T* cells = image + pixels[t].index * channels + first;
      if constexpr (std::is_same_v<T, A>) {
        if (lanes % kVecLanes<A> == 0) {
          taps[t] = cells;
          continue;
        }
      }
      A* wide = widened.data() + t * kLanes;
      for (int64_t i = 0; i < lanes; ++i) wide[i] = static_cast<A>(cells[i]);
      taps[t] = wide;
    }
  }
};

template <class T, bool kCareful>
bool soft_pool_some_rows_channels_last(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  PixelWindow<T> window(s);
  Vec<A> probe{};
  alignas(64) A out[kLanes];
  RowCounter row(s, begin);
  for (int64_t index = begin; index < end; ++index, row.advance()) {
    const T* image = x + row.plane * s.in_plane() * s.channels;
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      window_pixels(s, row.od, row.oh, ow, window.pixels);
      T* y_pixel = y + (index * s.out[2] + ow) * s.channels;
      // A dilated window may have no pixel inside the input.
      if (window.pixels.empty()) std::fill_n(y_pixel, s.channels, static_cast<T>(-std::numeric_limits<A>::infinity()));
      for (int64_t first = 0; first < s.channels && !window.pixels.empty(); first += kLanes) {
        const int64_t lanes = std::min(kLanes, s.channels - first);
        window.load_lanes(image, s.channels, first, lanes);
        soft_pool_run<A, kCareful>(window.taps.data(), window.count(), lanes, out);
        copy_out(out, lanes, y_pixel + first, probe);
      }
    }
  }
  return any(probe != A(0));
}

// Computes output rows [begin, end), numbered through images, depths and heights.
template <class T>
void soft_pool_rows_channels_last(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  if (soft_pool_some_rows_channels_last<T, false>(s, x, y, begin, end)) {
    soft_pool_some_rows_channels_last<T, true>(s, x, y, begin, end);
  }
}

// Buffers of the backward pass, reused for many blocks.
template <class T>
struct PixelBackward {
  using A = accumulate_t<T>;
  PixelWindow<T> window;
  std::vector<A> sums;
  std::vector<A*> places;
  alignas(64) A grad[kLanes] = {}, in_use[kLanes] = {}, elsewhere[kLanes] = {};

  explicit PixelBackward(const SoftPoolShape& s) : window(s), places(window.taps.size()) {}

  void load_gradient(const T* from, int64_t lanes) {
    for (int64_t i = 0; i < lanes; ++i) grad[i] = static_cast<A>(from[i]);
    for (int64_t i = 0; i < kLanes; ++i) in_use[i] = i < lanes ? A(1) : A(0);
  }

  // Pixels outside of the block get a place that is never read.
  void find_places(const SoftPoolShape& s, const SoftPoolBlock& block, int64_t first) {
    for (int64_t t = 0; t < window.count(); ++t) {
      const Pixel& pixel = window.pixels[t];
      const int64_t slot = block.slot(pixel.d, pixel.h);
      places[t] = slot < 0 ? elsewhere : sums.data() + (slot * s.in[2] + pixel.w) * s.channels + first;
    }
  }
};

// Returns false if the careful version must be run.
template <class T, bool kCareful>
bool soft_pool_backward_pixels(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t n,
                               const SoftPoolBlock& block, accumulate_t<T> slope, PixelBackward<T>& work) {
  using A = accumulate_t<T>;
  const T* image = x + n * s.in_plane() * s.channels;
  Vec<A> probe{};
  work.sums.assign(block.rows() * s.in[2] * s.channels + kLanes, A(0));
  for (int64_t od = block.first_out[0]; od < block.last_out[0]; ++od) {
    for (int64_t oh = block.first_out[1]; oh < block.last_out[1]; ++oh) {
      for (int64_t ow = 0; ow < s.out[2]; ++ow) {
        window_pixels(s, od, oh, ow, work.window.pixels);
        const T* grad_pixel = grad + (((n * s.out[0] + od) * s.out[1] + oh) * s.out[2] + ow) * s.channels;
        for (int64_t first = 0; first < s.channels && !work.window.pixels.empty(); first += kLanes) {
          const int64_t lanes = std::min(kLanes, s.channels - first);
          work.window.load_lanes(image, s.channels, first, lanes);
          work.load_gradient(grad_pixel + first, lanes);
          work.find_places(s, block, first);
          soft_pool_run_backward<A, kCareful, true>(work.window.taps.data(), work.places.data(), work.window.count(),
                                                    lanes, work.grad, work.in_use, slope, probe);
        }
      }
    }
  }
  copy_block_out(s, block, work.sums.data(), s.in[2] * s.channels, dx + n * s.in_plane() * s.channels);
  return !any(probe != A(0));
}

// Computes blocks [begin, end), numbered through images.
template <class T>
void soft_pool_backward_channels_last(const SoftPoolBlocks& blocks, const T* grad, const T* x, T* dx,
                                      bool straight_through, int64_t begin, int64_t end) {
  PixelBackward<T> work(blocks.s);
  const accumulate_t<T> slope = straight_through ? 0 : 1;
  for (int64_t unit = begin; unit < end; ++unit) {
    const SoftPoolBlock block = blocks[unit % blocks.total()];
    const int64_t n = unit / blocks.total();
    if (soft_pool_backward_pixels<T, false>(blocks.s, grad, x, dx, n, block, slope, work)) continue;
    soft_pool_backward_pixels<T, true>(blocks.s, grad, x, dx, n, block, slope, work);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
