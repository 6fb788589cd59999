// Included once per instruction set by soft_pool_cpu.cpp, which brings in every header this needs.
//
// How the work is cut. A "lane" is one output of a run of outputs whose windows look alike: neighbours along W for a
// contiguous tensor, channels for a channels-last one. The taps of a run are pointers to lanes of inputs, so the maths
// (soft_pool_lanes, soft_pool_lanes_backward) knows neither layout nor stride.
//
// For contiguous tensors an input row is first split into `stride` phases (polyphase form): phase p holds the cells
// p, p + stride, p + 2 stride ..., so a tap at column offset q * stride + p is phase p shifted by q lanes and every
// load is contiguous. The padding becomes -inf there: weight 0.
//
// The backward works on blocks of input rows; a block visits every window that reaches it and adds up in a fixed order
// in a buffer of its own, so no two threads write one cell and results do not depend on the number of threads.

namespace pydlx {
namespace PYDLX_SIMD {

// Outputs per run, a whole number of vectors. Vectors may reach past the last output of a run: lane buffers have room
// for that, and the backward adds 0 there.
constexpr int64_t kLanes = 64;

// Everything is measured from the peak m of the window, d_i = a_i - m: with e_i = exp(d_i), S = sum e_i and the mean
// distance d = sum e_i d_i / S,  y = m + d  and  a_i - y = d_i - d, which loses no digits however large m is.
template <class A>
struct WindowSums {
  Vec<A> peak, total, mean_distance;
};

// d_i; equal infinities are 0 apart, and a cell so far below the peak that its weight vanishes is kept at the distance
// where it vanishes, so that -inf never meets a 0.
template <class A>
__attribute__((always_inline)) inline Vec<A> distance_below(const Vec<A>& a, const Vec<A>& peak) {
  const Vec<A> distance = a == peak ? splat(A(0)) : a - peak;
  return distance < ExpConstants<A>::kLowest ? splat(ExpConstants<A>::kLowest) : distance;
}

template <class A>
__attribute__((always_inline)) inline WindowSums<A> soft_pool_sums(const A* const* taps, int64_t tap_count,
                                                                   int64_t at) {
  Vec<A> peak = load(taps[0] + at);
  for (int64_t t = 1; t < tap_count; ++t) {
    const Vec<A> a = load(taps[t] + at);
    peak = a > peak ? a : peak;
  }
  Vec<A> total{}, weighted{};
  for (int64_t t = 0; t < tap_count; ++t) {
    const Vec<A> d = distance_below<A>(load(taps[t] + at), peak);
    const Vec<A> e = exp_nonpositive<A>(d);
    total += e;
    weighted += e * d;
  }
  return {peak, total, weighted / total};
}

template <class A>
inline void soft_pool_lanes(const A* const* taps, int64_t tap_count, int64_t lanes, A* y) {
  for (int64_t at = 0; at < lanes; at += kVecLanes<A>) {
    const WindowSums<A> sums = soft_pool_sums(taps, tap_count, at);
    store(y + at, Vec<A>(sums.peak + sums.mean_distance));
  }
}

// Adds the gradient of the run to the lanes that its taps came from; taps without a place (nullptr) belong to another
// block.
template <class A>
inline void soft_pool_lanes_backward(const A* const* taps, A* const* places, int64_t tap_count, int64_t lanes,
                                     const A* grad, bool straight_through) {
  const A slope = straight_through ? A(0) : A(1);
  for (int64_t at = 0; at < lanes; at += kVecLanes<A>) {
    const WindowSums<A> sums = soft_pool_sums(taps, tap_count, at);
    const Vec<A> scale = load(grad + at) / sums.total;
    const auto in_use = lanes_below<A>(at, lanes);
    for (int64_t t = 0; t < tap_count; ++t) {
      if (!places[t]) continue;
      const Vec<A> d = distance_below<A>(load(taps[t] + at), sums.peak);
      const Vec<A> da = scale * exp_nonpositive<A>(d) * (slope * (d - sums.mean_distance) + A(1));
      store(places[t] + at, Vec<A>(load(places[t] + at) + (in_use ? da : splat(A(0)))));
    }
  }
}

// Where the taps of one output row lie: input row (d, h) of tap row r, or outside the input (then `row` is -1).
struct TapRows {
  std::vector<int64_t> row;

  TapRows(const SoftPoolShape& s) : row(s.kernel[0] * s.kernel[1]) {}

  void aim(const SoftPoolShape& s, int64_t od, int64_t oh) {
    for (int64_t kd = 0, r = 0; kd < s.kernel[0]; ++kd) {
      const int64_t d = od * s.stride[0] - s.padding[0] + kd * s.dilation[0];
      for (int64_t kh = 0; kh < s.kernel[1]; ++kh, ++r) {
        const int64_t h = oh * s.stride[1] - s.padding[1] + kh * s.dilation[1];
        row[r] = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1] ? d * s.in[1] + h : -1;
      }
    }
  }
};

// ---- Contiguous tensors: lanes along W
// -------------------------------------------------------------------------------

// The phases of one input row, for outputs [first, first + lanes).
template <class A>
struct PhaseLayout {
  int64_t stride, padding, width, length;

  PhaseLayout(const SoftPoolShape& s, int64_t lanes)
      : stride(s.stride[2]),
        padding(s.padding[2]),
        width(s.in[2]),
        length(round_to_vectors<A>(lanes) + (s.kernel[2] - 1) * s.dilation[2] / s.stride[2]) {}

  int64_t size() const { return stride * length; }
  int64_t place(int64_t column_offset) const { return column_offset % stride * length + column_offset / stride; }

  template <class T>
  void split(const T* row, int64_t first, A* phases) const {
    const int64_t start = first * stride - padding;
    const auto [begin, end] = inside(start);
    if (stride == 1) {
      for (int64_t j = begin; j < end; ++j) phases[j] = static_cast<A>(row[start + j]);
    } else if (stride == 2) {
      for (int64_t j = begin; j < end; ++j) {
        phases[j] = static_cast<A>(row[start + 2 * j]);
        phases[length + j] = static_cast<A>(row[start + 2 * j + 1]);
      }
    } else {
      split_cells(row, start, begin, end, phases);
    }
    split_cells(row, start, 0, begin, phases);
    split_cells(row, start, end, length, phases);
  }

  // Adds the phases back to the row they came from; cells outside the row are dropped.
  void merge(const A* phases, int64_t first, A* row) const {
    const int64_t start = first * stride - padding;
    const auto [begin, end] = inside(start);
    if (stride == 2) {
      for (int64_t j = begin; j < end; ++j) {
        row[start + 2 * j] += phases[j];
        row[start + 2 * j + 1] += phases[length + j];
      }
    } else {
      merge_cells(phases, start, begin, end, row);
    }
    merge_cells(phases, start, 0, begin, row);
    merge_cells(phases, start, end, length, row);
  }

 private:
  // The steps j whose cells, of every phase, lie within the row.
  std::pair<int64_t, int64_t> inside(int64_t start) const {
    const int64_t begin = start >= 0 ? 0 : std::min(length, (-start + stride - 1) / stride);
    const int64_t end = start >= width ? 0 : std::min(length, (width - start) / stride);
    return {begin, std::max(begin, end)};
  }

  template <class T>
  void split_cells(const T* row, int64_t start, int64_t begin, int64_t end, A* phases) const {
    for (int64_t p = 0; p < stride; ++p) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t column = start + j * stride + p;
        const bool in_row = column >= 0 && column < width;
        phases[p * length + j] = in_row ? static_cast<A>(row[column]) : -std::numeric_limits<A>::infinity();
      }
    }
  }

  void merge_cells(const A* phases, int64_t start, int64_t begin, int64_t end, A* row) const {
    for (int64_t p = 0; p < stride; ++p) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t column = start + j * stride + p;
        if (column >= 0 && column < width) row[column] += phases[p * length + j];
      }
    }
  }
};

// Reads the rows an output row needs and lists its taps. Rows outside the input have no taps.
template <class A>
struct RowTaps {
  std::vector<A> phases;
  std::vector<const A*> taps;
  std::vector<int64_t> row_of_tap;

  RowTaps(const SoftPoolShape& s)
      : phases(s.kernel[0] * s.kernel[1] * PhaseLayout<A>(s, kLanes).size()),
        taps(s.kernel[0] * s.kernel[1] * s.kernel[2]),
        row_of_tap(taps.size()) {}

  template <class T>
  int64_t load(const SoftPoolShape& s, const PhaseLayout<A>& layout, const TapRows& rows, const T* plane,
               int64_t first) {
    int64_t count = 0;
    for (size_t r = 0; r < rows.row.size(); ++r) {
      if (rows.row[r] < 0) continue;
      A* row_phases = phases.data() + r * layout.size();
      layout.split(plane + rows.row[r] * s.in[2], first, row_phases);
      for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
        row_of_tap[count] = static_cast<int64_t>(r);
        taps[count++] = row_phases + layout.place(kw * s.dilation[2]);
      }
    }
    return count;
  }
};

template <class T>
void soft_pool_rows(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  TapRows rows(s);
  RowTaps<A> window(s);
  alignas(64) A out[kLanes];
  for (int64_t index = begin; index < end; ++index) {
    const int64_t oh = index % s.out[1], od = index / s.out[1] % s.out[0], plane = index / (s.out[1] * s.out[0]);
    rows.aim(s, od, oh);
    for (int64_t first = 0; first < s.out[2]; first += kLanes) {
      const int64_t lanes = std::min(kLanes, s.out[2] - first);
      const PhaseLayout<A> layout(s, lanes);
      const int64_t count = window.load(s, layout, rows, x + plane * s.in_plane(), first);
      soft_pool_lanes<A>(window.taps.data(), count, lanes, out);
      T* y_row = y + index * s.out[2] + first;
      for (int64_t i = 0; i < lanes; ++i) y_row[i] = static_cast<T>(out[i]);
    }
  }
}

template <class T>
void soft_pool_backward_block(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t plane,
                              const SoftPoolBlock& block, bool straight_through) {
  using A = accumulate_t<T>;
  TapRows rows(s);
  RowTaps<A> window(s);
  std::vector<A*> places(window.taps.size());
  std::vector<A> place_phases(window.phases.size());
  std::vector<A> sums(block.rows() * s.in[2], A(0));
  alignas(64) A grad_lanes[kLanes] = {};
  for (int64_t od = block.first_out[0]; od < block.last_out[0]; ++od) {
    for (int64_t oh = block.first_out[1]; oh < block.last_out[1]; ++oh) {
      rows.aim(s, od, oh);
      const T* grad_row = grad + ((plane * s.out[0] + od) * s.out[1] + oh) * s.out[2];
      for (int64_t first = 0; first < s.out[2]; first += kLanes) {
        const int64_t lanes = std::min(kLanes, s.out[2] - first);
        const PhaseLayout<A> layout(s, lanes);
        const int64_t count = window.load(s, layout, rows, x + plane * s.in_plane(), first);
        for (int64_t i = 0; i < lanes; ++i) grad_lanes[i] = static_cast<A>(grad_row[first + i]);
        std::fill_n(place_phases.begin(), rows.row.size() * layout.size(), A(0));
        for (int64_t t = 0; t < count; ++t) {
          const bool ours = block.slot(s, rows.row[window.row_of_tap[t]]) >= 0;
          places[t] = ours ? place_phases.data() + (window.taps[t] - window.phases.data()) : nullptr;
        }
        soft_pool_lanes_backward<A>(window.taps.data(), places.data(), count, lanes, grad_lanes, straight_through);
        for (size_t r = 0; r < rows.row.size(); ++r) {
          const int64_t slot = rows.row[r] < 0 ? -1 : block.slot(s, rows.row[r]);
          if (slot >= 0) layout.merge(place_phases.data() + r * layout.size(), first, sums.data() + slot * s.in[2]);
        }
      }
    }
  }
  for (int64_t slot = 0; slot < block.rows(); ++slot) {
    T* dx_row = dx + plane * s.in_plane() + block.row(s, slot) * s.in[2];
    const A* sum_row = sums.data() + slot * s.in[2];
    for (int64_t i = 0; i < s.in[2]; ++i) dx_row[i] = static_cast<T>(sum_row[i]);
  }
}

// ---- Channels-last tensors: lanes across channels
// --------------------------------------------------------------------

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

template <class T>
void soft_pool_rows_channels_last(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  PixelWindow<T> window(s);
  alignas(64) A out[kLanes];
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
        soft_pool_lanes<A>(window.taps.data(), count, lanes, out);
        for (int64_t i = 0; i < lanes; ++i) y_pixel[first + i] = static_cast<T>(out[i]);
      }
    }
  }
}

template <class T>
void soft_pool_backward_block_channels_last(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t n,
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
          soft_pool_lanes_backward<A>(window.taps.data(), places.data(), count, lanes, grad_lanes, straight_through);
        }
      }
    }
  }
  const int64_t row_size = s.in[2] * s.channels;
  for (int64_t slot = 0; slot < block.rows(); ++slot) {
    T* dx_row = dx + (n * s.in[0] * s.in[1] + block.row(s, slot)) * row_size;
    const A* sum_row = sums.data() + slot * row_size;
    for (int64_t i = 0; i < row_size; ++i) dx_row[i] = static_cast<T>(sum_row[i]);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
