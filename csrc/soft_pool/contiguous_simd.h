// SoftPool over contiguous tensors: lanes along W. Included once per instruction set by soft_pool_cpu_simd.h.
//
// An input row is first split into `stride` phases (polyphase form): phase p holds the cells p, p + stride,
// p + 2 stride ..., so a tap at column offset q * stride + p is phase p shifted by q lanes and every load is
// contiguous. The padding becomes -inf there: weight 0.

namespace pydlx {
namespace PYDLX_SIMD {

// The phases of one input row, for a run of outputs.
template <class A>
struct PhaseLayout {
  int64_t stride, padding, width, reach, length;

  PhaseLayout(const SoftPoolShape& s)
      : stride(s.stride[2]),
        padding(s.padding[2]),
        width(s.in[2]),
        reach((s.kernel[2] - 1) * s.dilation[2] / s.stride[2]),
        length(kLanes + reach) {}

  int64_t size() const { return stride * length; }
  int64_t place(int64_t column_offset) const { return column_offset % stride * length + column_offset / stride; }
  int64_t steps(int64_t lanes) const { return lanes + reach; }

  // Fills the phases for outputs [first, first + lanes).
  template <class T>
  void split(const T* row, int64_t first, int64_t lanes, A* phases) const {
    const int64_t start = first * stride - padding;
    const auto [begin, end] = inside(start, steps(lanes));
    if (stride == 1) {
      for (int64_t j = begin; j < end; ++j) phases[j] = static_cast<A>(row[start + j]);
    } else if (stride == 2) {
      split_pairs(row + start + 2 * begin, end - begin, phases + begin);
    } else {
      split_cells(row, start, begin, end, phases);
    }
    split_cells(row, start, 0, begin, phases);
    split_cells(row, start, end, steps(lanes), phases);
  }

  // Adds the phases back to the row they came from; cells outside the row are dropped.
  void merge(const A* phases, int64_t first, int64_t lanes, A* row) const {
    const int64_t start = first * stride - padding;
    const auto [begin, end] = inside(start, steps(lanes));
    if (stride == 2) {
      for (int64_t j = begin; j < end; ++j) {
        row[start + 2 * j] += phases[j];
        row[start + 2 * j + 1] += phases[length + j];
      }
    } else {
      merge_cells(phases, start, begin, end, row);
    }
    merge_cells(phases, start, 0, begin, row);
    merge_cells(phases, start, end, steps(lanes), row);
  }

 private:
  // The steps j < count whose cells, of every phase, lie within the row.
  std::pair<int64_t, int64_t> inside(int64_t start, int64_t count) const {
    const int64_t begin = start >= 0 ? 0 : std::min(count, (-start + stride - 1) / stride);
    const int64_t end = start + stride * count <= width ? count : start >= width ? 0 : (width - start) / stride;
    return {begin, std::max(begin, end)};
  }

  // Whole vectors, the last one overlapping the one before; fewer pairs than a vector, or other types, one by one.
  template <class T>
  void split_pairs(const T* cells, int64_t count, A* even) const {
    int64_t j = 0;
    if constexpr (std::is_same_v<T, A>) {
      for (; count >= kVecLanes<A> && j < count; j += kVecLanes<A>) {
        const int64_t at = std::min(j, count - kVecLanes<A>);
        const auto [low, high] = load_pairs(cells + 2 * at);
        store(even + at, low);
        store(even + length + at, high);
      }
    }
    for (; j < count; ++j) {
      even[j] = static_cast<A>(cells[2 * j]);
      even[length + j] = static_cast<A>(cells[2 * j + 1]);
    }
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
  PhaseLayout<A> layout;
  int64_t taps_per_row;
  std::vector<A> phases;
  std::vector<const A*> taps;
  std::vector<int64_t> row_of_tap;

  RowTaps(const SoftPoolShape& s)
      : layout(s),
        taps_per_row(s.kernel[2]),
        phases(s.kernel[0] * s.kernel[1] * layout.size()),
        taps(s.kernel[0] * s.kernel[1] * s.kernel[2]),
        row_of_tap(taps.size()) {
    for (int64_t kw = 0; kw < taps_per_row; ++kw) offsets.push_back(layout.place(kw * s.dilation[2]));
  }

  // Chooses the rows; the taps stay the same along a row of outputs. Returns how many there are.
  int64_t aim(const TapRows& rows) {
    int64_t count = 0;
    for (size_t r = 0; r < rows.row.size(); ++r) {
      if (rows.row[r] < 0) continue;
      for (int64_t kw = 0; kw < taps_per_row; ++kw) {
        row_of_tap[count] = static_cast<int64_t>(r);
        taps[count++] = phases.data() + r * layout.size() + offsets[kw];
      }
    }
    return count;
  }

  template <class T>
  void load(const TapRows& rows, const T* plane, int64_t first, int64_t lanes) {
    for (size_t r = 0; r < rows.row.size(); ++r) {
      if (rows.row[r] < 0) continue;
      layout.split(plane + rows.row[r] * layout.width, first, lanes, phases.data() + r * layout.size());
    }
  }

 private:
  std::vector<int64_t> offsets;
};

template <class T, bool kCareful>
bool soft_pool_some_rows(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  TapRows rows(s);
  RowTaps<A> window(s);
  Vec<A> probe{};
  for (int64_t index = begin; index < end; ++index) {
    const int64_t oh = index % s.out[1], od = index / s.out[1] % s.out[0], plane = index / (s.out[1] * s.out[0]);
    rows.aim(s, od, oh);
    const int64_t count = window.aim(rows);
    for (int64_t first = 0; first < s.out[2]; first += kLanes) {
      const int64_t lanes = std::min(kLanes, s.out[2] - first);
      window.load(rows, x + plane * s.in_plane(), first, lanes);
      soft_pool_lanes<T, kCareful>(window.taps.data(), count, lanes, y + index * s.out[2] + first, probe);
    }
  }
  return any(probe != A(0));
}

// Output rows [begin, end), counted over planes, depths and heights.
template <class T>
void soft_pool_rows(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  if (soft_pool_some_rows<T, false>(s, x, y, begin, end)) soft_pool_some_rows<T, true>(s, x, y, begin, end);
}

template <class T, bool kCareful>
bool soft_pool_backward_some(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t plane,
                             const SoftPoolBlock& block, bool straight_through) {
  using A = accumulate_t<T>;
  TapRows rows(s);
  RowTaps<A> window(s);
  const PhaseLayout<A>& layout = window.layout;
  std::vector<A*> places(window.taps.size());
  std::vector<A> place_phases(window.phases.size());
  std::vector<A> sums(block.rows() * s.in[2], A(0));
  alignas(64) A grad_lanes[kLanes] = {};
  for (int64_t od = block.first_out[0]; od < block.last_out[0]; ++od) {
    for (int64_t oh = block.first_out[1]; oh < block.last_out[1]; ++oh) {
      rows.aim(s, od, oh);
      const int64_t count = window.aim(rows);
      const T* grad_row = grad + ((plane * s.out[0] + od) * s.out[1] + oh) * s.out[2];
      for (int64_t first = 0; first < s.out[2]; first += kLanes) {
        const int64_t lanes = std::min(kLanes, s.out[2] - first);
        window.load(rows, x + plane * s.in_plane(), first, lanes);
        for (int64_t i = 0; i < lanes; ++i) grad_lanes[i] = static_cast<A>(grad_row[first + i]);
        std::fill(place_phases.begin(), place_phases.end(), A(0));
        for (int64_t t = 0; t < count; ++t) {
          const bool ours = block.slot(s, rows.row[window.row_of_tap[t]]) >= 0;
          places[t] = ours ? place_phases.data() + (window.taps[t] - window.phases.data()) : nullptr;
        }
        soft_pool_lanes_backward<A, kCareful>(window.taps.data(), places.data(), count, lanes, grad_lanes,
                                              straight_through);
        for (size_t r = 0; r < rows.row.size(); ++r) {
          const int64_t slot = rows.row[r] < 0 ? -1 : block.slot(s, rows.row[r]);
          if (slot < 0) continue;
          layout.merge(place_phases.data() + r * layout.size(), first, lanes, sums.data() + slot * s.in[2]);
        }
      }
    }
  }
  return copy_block_out(s, block, sums.data(), s.in[2], dx + plane * s.in_plane());
}

template <class T>
void soft_pool_backward_block(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t plane,
                              const SoftPoolBlock& block, bool straight_through) {
  if (soft_pool_backward_some<T, false>(s, grad, x, dx, plane, block, straight_through)) {
    soft_pool_backward_some<T, true>(s, grad, x, dx, plane, block, straight_through);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
