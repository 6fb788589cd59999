// SoftPool over channels-last tensors: lanes across channels. Included once per instruction set by
// soft_pool_cpu_simd.h.

namespace pydlx {
namespace PYDLX_SIMD {

// The pixels of one window, as (row, column) offsets into an image stored (D, H, W, C); cells in the padding are left
// out.
inline int64_t window_pixels(const SoftPoolShape& s, const TapRows& rows, int64_t ow, int64_t* pixels,
                             int64_t* row_of_tap) {
  int64_t count = 0;
  for (size_t r = 0; r < rows.row.size(); ++r) {
    if (rows.row[r] < 0) continue;
    for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
      const int64_t w = ow * s.stride[2] - s.padding[2] + kw * s.dilation[2];
      if (w < 0 || w >= s.in[2]) continue;
      row_of_tap[count] = static_cast<int64_t>(r);
      pixels[count++] = rows.row[r] * s.in[2] + w;
    }
  }
  return count;
}

// Points taps at the lanes of each pixel. Half-precision lanes are widened into `widened` first, and so are those that
// do not fill whole vectors, since a vector may not read past the tensor.
template <class T, class A>
inline void load_pixels(const T* image, const int64_t* pixels, int64_t count, int64_t channels, int64_t first,
                        int64_t lanes, A* widened, const A** taps) {
  for (int64_t t = 0; t < count; ++t) {
    const T* cells = image + pixels[t] * channels + first;
    if constexpr (std::is_same_v<T, A>) {
      if (lanes % kVecLanes<A> == 0) {
        taps[t] = cells;
        continue;
      }
    }
    A* wide = widened + t * kLanes;
    for (int64_t i = 0; i < lanes; ++i) wide[i] = static_cast<A>(cells[i]);
    taps[t] = wide;
  }
}

template <class T>
struct PixelWindow {
  using A = accumulate_t<T>;
  TapRows rows;
  std::vector<int64_t> pixels, row_of_tap;
  std::vector<const A*> taps;
  std::vector<A> widened;

  PixelWindow(const SoftPoolShape& s)
      : rows(s),
        pixels(s.kernel[0] * s.kernel[1] * s.kernel[2]),
        row_of_tap(pixels.size()),
        taps(pixels.size()),
        widened(pixels.size() * kLanes) {}
};

template <class T, bool kCareful>
bool soft_pool_some_rows_channels_last(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  PixelWindow<T> window(s);
  Vec<A> probe{};
  for (int64_t index = begin; index < end; ++index) {
    const int64_t oh = index % s.out[1], od = index / s.out[1] % s.out[0], n = index / (s.out[1] * s.out[0]);
    const T* image = x + n * s.in_plane() * s.channels;
    window.rows.aim(s, od, oh);
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      const int64_t count = window_pixels(s, window.rows, ow, window.pixels.data(), window.row_of_tap.data());
      T* y_pixel = y + (index * s.out[2] + ow) * s.channels;
      for (int64_t first = 0; first < s.channels; first += kLanes) {
        const int64_t lanes = std::min(kLanes, s.channels - first);
        load_pixels<T, A>(image, window.pixels.data(), count, s.channels, first, lanes, window.widened.data(),
                          window.taps.data());
        soft_pool_lanes<T, kCareful>(window.taps.data(), count, lanes, y_pixel + first, probe);
      }
    }
  }
  return any(probe != A(0));
}

template <class T>
void soft_pool_rows_channels_last(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  if (soft_pool_some_rows_channels_last<T, false>(s, x, y, begin, end)) {
    soft_pool_some_rows_channels_last<T, true>(s, x, y, begin, end);
  }
}

template <class T, bool kCareful>
bool soft_pool_backward_some_channels_last(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t n,
                                           const SoftPoolBlock& block, bool straight_through) {
  using A = accumulate_t<T>;
  PixelWindow<T> window(s);
  std::vector<A*> places(window.taps.size());
  std::vector<A> sums(block.rows() * s.in[2] * s.channels + kLanes, A(0));
  alignas(64) A grad_lanes[kLanes] = {};
  const T* image = x + n * s.in_plane() * s.channels;
  for (int64_t od = block.first_out[0]; od < block.last_out[0]; ++od) {
    for (int64_t oh = block.first_out[1]; oh < block.last_out[1]; ++oh) {
      window.rows.aim(s, od, oh);
      for (int64_t ow = 0; ow < s.out[2]; ++ow) {
        const int64_t count = window_pixels(s, window.rows, ow, window.pixels.data(), window.row_of_tap.data());
        const T* grad_pixel = grad + (((n * s.out[0] + od) * s.out[1] + oh) * s.out[2] + ow) * s.channels;
        for (int64_t first = 0; first < s.channels; first += kLanes) {
          const int64_t lanes = std::min(kLanes, s.channels - first);
          load_pixels<T, A>(image, window.pixels.data(), count, s.channels, first, lanes, window.widened.data(),
                            window.taps.data());
          for (int64_t i = 0; i < lanes; ++i) grad_lanes[i] = static_cast<A>(grad_pixel[first + i]);
          for (int64_t t = 0; t < count; ++t) {
            const int64_t row = window.rows.row[window.row_of_tap[t]];
            const int64_t slot = block.slot(s, row);
            const int64_t column = window.pixels[t] - row * s.in[2];
            places[t] = slot < 0 ? nullptr : sums.data() + (slot * s.in[2] + column) * s.channels + first;
          }
          soft_pool_lanes_backward<A, kCareful>(window.taps.data(), places.data(), count, lanes, grad_lanes,
                                                straight_through);
        }
      }
    }
  }
  return copy_block_out(s, block, sums.data(), s.in[2] * s.channels, dx + n * s.in_plane() * s.channels);
}

template <class T>
void soft_pool_backward_block_channels_last(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t n,
                                            const SoftPoolBlock& block, bool straight_through) {
  if (soft_pool_backward_some_channels_last<T, false>(s, grad, x, dx, n, block, straight_through)) {
    soft_pool_backward_some_channels_last<T, true>(s, grad, x, dx, n, block, straight_through);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
