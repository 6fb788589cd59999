// SoftPool of contiguous tensors, with lanes along W. Included once per instruction set by soft_pool_cpu_simd.h.
//
// An input row is first split into `stride` phases (polyphase form): phase p has elements p, p + stride, p + 2 stride,
// .., so the tap at column offset q * stride + p is phase p shifted by q lanes, and every load is contiguous. Padding
// becomes -inf, which has weight 0. A run has part of one long row of outputs, or as many short rows as fit.

#include "soft_pool/halves_simd.h"

namespace pydlx {
namespace PYDLX_SIMD {

// The layout of the phases of input rows, for the outputs of a run.
template <class A>
struct PhaseLayout {
  int64_t stride, padding, width, reach, length;

  explicit PhaseLayout(const SoftPoolShape& s)
      : stride(s.stride[2]),
        padding(s.padding[2]),
        width(s.in[2]),
        reach((s.kernel[2] - 1) * s.dilation[2] / s.stride[2]),
        length(kLanes + reach + kVecLanes<A>) {}

  int64_t size() const { return stride * length; }
  int64_t place(int64_t column_offset) const { return column_offset % stride * length + column_offset / stride; }

  // Fills the phases with an input row, for outputs [first, first + lanes); a row outside the input is -inf.
  template <class T>
  __attribute__((always_inline)) void split(const T* row, int64_t first, int64_t lanes, A* phases) const {
    const int64_t start = first * stride - padding, steps = lanes + reach;
    const auto [begin, end] = row ? inside(start, steps) : std::pair<int64_t, int64_t>(0, 0);
    if (begin > 0) split_cells(row, start, 0, begin, phases);
    if (end < steps) split_cells(row, start, end, steps, phases);
    if (stride == 1) {
      for (int64_t j = begin; j < end; ++j) phases[j] = static_cast<A>(row[start + j]);
    } else if (stride == 2) {
      split_pairs(row + start + 2 * begin, end - begin, phases + begin);
    } else {
      split_cells(row, start, begin, end, phases);
    }
  }

  // The reverse: adds (kAdd) or writes the phases to a row of the input. Elements outside of the row are dropped.
  template <bool kAdd, class T>
  __attribute__((always_inline)) void merge(const A* phases, int64_t first, int64_t lanes, T* row) const {
    const int64_t start = first * stride - padding, steps = lanes + reach;
    const auto [begin, end] = inside(start, steps);
    if (begin > 0) merge_cells<kAdd>(phases, start, 0, begin, row);
    if (end < steps) merge_cells<kAdd>(phases, start, end, steps, row);
    if (stride == 2) {
      merge_pairs<kAdd>(phases + begin, end - begin, row + start + 2 * begin);
    } else {
      merge_cells<kAdd>(phases, start, begin, end, row);
    }
  }

 private:
  // The range of steps j < count whose elements, in every phase, lie within the row.
  __attribute__((always_inline)) std::pair<int64_t, int64_t> inside(int64_t start, int64_t count) const {
    const int64_t begin = start >= 0 ? 0 : std::min(count, (-start + stride - 1) / stride);
    const int64_t end = start + stride * count <= width ? count : start >= width ? 0 : (width - start) / stride;
    return {begin, std::max(begin, end)};
  }

  // Splits pairs by whole vectors, the last of which may overlap the one before; one by one if there are too few pairs
  // or the type is not the accumulation type.
  template <class T>
  __attribute__((always_inline)) void split_pairs(const T* cells, int64_t count, A* even) const {
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

  template <bool kAdd, class T>
  __attribute__((always_inline)) void merge_pairs(const A* even, int64_t count, T* cells) const {
    int64_t j = 0;
    if constexpr (std::is_same_v<T, A> && !kAdd) {
      for (; count >= kVecLanes<A> && j < count; j += kVecLanes<A>) {
        const int64_t at = std::min(j, count - kVecLanes<A>);
        store_pairs(cells + 2 * at, load(even + at), load(even + length + at));
      }
    }
    for (; j < count; ++j) {
      cells[2 * j] = static_cast<T>(even[j] + (kAdd ? static_cast<A>(cells[2 * j]) : A(0)));
      cells[2 * j + 1] = static_cast<T>(even[length + j] + (kAdd ? static_cast<A>(cells[2 * j + 1]) : A(0)));
    }
  }

  template <class T>
  void split_cells(const T* row, int64_t start, int64_t begin, int64_t end, A* phases) const {
    for (int64_t p = 0; p < stride; ++p) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t column = start + j * stride + p;
        const bool in_row = row && column >= 0 && column < width;
        phases[p * length + j] = in_row ? static_cast<A>(row[column]) : -std::numeric_limits<A>::infinity();
      }
    }
  }

  template <bool kAdd, class T>
  void merge_cells(const A* phases, int64_t start, int64_t begin, int64_t end, T* row) const {
    for (int64_t p = 0; p < stride; ++p) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t column = start + j * stride + p;
        if (column < 0 || column >= width) continue;
        row[column] = static_cast<T>(phases[p * length + j] + (kAdd ? static_cast<A>(row[column]) : A(0)));
      }
    }
  }
};

// Outputs [first, first + lanes) of one row, stored in lanes [at, at + lanes) of a run.
struct Segment {
  int64_t plane, od, oh, first, lanes, at;

  int64_t output(const SoftPoolShape& s) const { return ((plane * s.out[0] + od) * s.out[1] + oh) * s.out[2] + first; }
};

// A run: its segments, the phases of the rows they read, and the taps, which all segments share.
template <class A>
struct RowRun {
  const SoftPoolShape& s;
  PhaseLayout<A> layout;
  std::vector<A> phases;
  std::vector<const A*> taps;
  std::array<Segment, kLanes> segment;
  int64_t segments = 0, used = 0;

  explicit RowRun(const SoftPoolShape& shape) : s(shape), layout(shape), phases(tap_rows(shape) * layout.size()) {
    for (int64_t r = 0; r < tap_rows(s); ++r) {
      for (int64_t kw = 0; kw < s.kernel[2]; ++kw) taps.push_back(phases.data() + tap_offset(r, kw));
    }
  }

  int64_t tap_offset(int64_t r, int64_t kw) const { return r * layout.size() + layout.place(kw * s.dilation[2]); }
  int64_t tap_count() const { return static_cast<int64_t>(taps.size()); }

  // Adds one row of outputs; calls flush() when the run is full.
  template <class Flush>
  void add_row(int64_t plane, int64_t od, int64_t oh, const Flush& flush) {
    for (int64_t first = 0; first < s.out[2]; first += kLanes) {
      const int64_t lanes = std::min(kLanes, s.out[2] - first);
      if (used + lanes > kLanes) finish(flush);
      segment[segments++] = {plane, od, oh, first, lanes, used};
      used += lanes + layout.reach;
    }
  }

  template <class Flush>
  void finish(const Flush& flush) {
    if (segments > 0) flush();
    segments = used = 0;
  }

  // Number of lanes to compute, without the last segment's reach.
  int64_t lanes() const { return used - layout.reach; }

  template <class T>
  void load_cells(const T* x) {
    for (int64_t i = 0; i < segments; ++i) {
      const Segment& here = segment[i];
      each_tap_row(s, here.od, here.oh, [&](int64_t r, int64_t d, int64_t h, bool inside) {
        const T* row = inside ? x + ((here.plane * s.in[0] + d) * s.in[1] + h) * s.in[2] : nullptr;
        layout.split(row, here.first, here.lanes, phases.data() + r * layout.size() + here.at);
      });
    }
  }
};

template <class T, bool kCareful>
bool soft_pool_some_rows(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  RowRun<A> run(s);
  Vec<A> probe{};
  alignas(64) A out[kLanes];
  const auto flush = [&] {
    run.load_cells(x);
    soft_pool_run<A, kCareful>(run.taps.data(), run.tap_count(), run.lanes(), out);
    // Without reach, segments are contiguous in the run as they are in y.
    if (run.layout.reach == 0) return copy_out(out, run.lanes(), y + run.segment[0].output(s), probe);
    for (int64_t i = 0; i < run.segments; ++i) {
      const Segment& segment = run.segment[i];
      copy_out(out + segment.at, segment.lanes, y + segment.output(s), probe);
    }
  };
  RowCounter row(s, begin);
  for (int64_t index = begin; index < end; ++index, row.advance()) run.add_row(row.plane, row.od, row.oh, flush);
  run.finish(flush);
  return any(probe != A(0));
}

// Computes output rows [begin, end), numbered through planes, depths and heights.
template <class T>
void soft_pool_rows(const SoftPoolShape& s, const T* x, T* y, int64_t begin, int64_t end) {
  if constexpr (std::is_same_v<T, accumulate_t<T>>) {
    if (halves_rows<T>(s)) return soft_pool_halved_rows(s, x, y, begin, end);
  }
  if (soft_pool_some_rows<T, false>(s, x, y, begin, end)) soft_pool_some_rows<T, true>(s, x, y, begin, end);
}

// Buffers of the backward pass, reused for many blocks.
template <class T>
struct RowBackward {
  using A = accumulate_t<T>;
  RowRun<A> run;
  std::vector<A> place_phases, sums;
  std::vector<A*> places;
  alignas(64) A grad[kLanes] = {}, in_use[kLanes] = {};

  explicit RowBackward(const SoftPoolShape& s) : run(s), place_phases(run.phases.size()) {
    for (const A* tap : run.taps) places.push_back(place_phases.data() + (tap - run.phases.data()));
  }

  void load_gradient(const T* from) {
    std::fill(std::begin(in_use), std::end(in_use), A(0));
    for (int64_t k = 0; k < run.segments; ++k) {
      const Segment& segment = run.segment[k];
      const T* cells = from + segment.output(run.s);
      for (int64_t i = 0; i < segment.lanes; ++i) grad[segment.at + i] = static_cast<A>(cells[i]);
      std::fill_n(in_use + segment.at, segment.lanes, A(1));
    }
  }

  // Adds or writes the gradient of the run to the block's rows; row(d, h, slot) returns a row's address.
  template <bool kAdd, class Row>
  void merge(const SoftPoolBlock& block, const Row& row) {
    for (int64_t k = 0; k < run.segments; ++k) {
      const Segment& segment = run.segment[k];
      each_tap_row(run.s, segment.od, segment.oh, [&](int64_t r, int64_t d, int64_t h, bool) {
        const int64_t slot = block.slot(d, h);
        if (slot < 0) return;
        const A* phases = place_phases.data() + r * run.layout.size() + segment.at;
        run.layout.template merge<kAdd>(phases, segment.first, segment.lanes, row(d, h, slot));
      });
    }
  }
};

// Whether windows do not overlap: then no two taps share an element, and gradients are written instead of added.
inline bool windows_are_apart(const SoftPoolShape& s) {
  bool apart = true;
  for (int axis = 0; axis < 3; ++axis) apart &= s.dilation[axis] * (s.kernel[axis] - 1) < s.stride[axis];
  return apart;
}

// Whether the windows together cover every element; if not, gradients of the others must be set to 0.
inline bool windows_cover_input(const SoftPoolShape& s) {
  bool covered = true;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t end = s.out[axis] * s.stride[axis] - s.padding[axis];
    covered &= s.kernel[axis] == s.stride[axis] && s.dilation[axis] == 1 && end >= s.in[axis];
  }
  return covered;
}

// Returns false if the careful version must be run.
template <class T, bool kCareful, bool kAdd>
bool soft_pool_backward_block(const SoftPoolShape& s, const T* grad, const T* x, T* dx, int64_t plane,
                              const SoftPoolBlock& block, accumulate_t<T> slope, RowBackward<T>& work) {
  using A = accumulate_t<T>;
  T* to = dx + plane * s.in_plane();
  Vec<A> probe{};
  if constexpr (kAdd) {
    work.sums.assign(block.rows() * s.in[2], A(0));
  } else if (!windows_cover_input(s)) {
    for (int64_t slot = 0; slot < block.rows(); ++slot) std::fill_n(to + block.row(s, slot) * s.in[2], s.in[2], T(0));
  }
  if constexpr (std::is_same_v<T, A> && !kAdd) {
    if (halves_rows<T>(s)) return soft_pool_halved_block<T, kCareful>(s, grad, x, dx, plane, block, slope);
  }
  const auto flush = [&] {
    work.run.load_cells(x);
    work.load_gradient(grad);
    if (kAdd) std::fill(work.place_phases.begin(), work.place_phases.end(), A(0));
    soft_pool_run_backward<A, kCareful, kAdd>(work.run.taps.data(), work.places.data(), work.run.tap_count(),
                                              work.run.lanes(), work.grad, work.in_use, slope, probe);
    if constexpr (kAdd) {
      work.template merge<true>(block,
                                [&](int64_t, int64_t, int64_t slot) { return work.sums.data() + slot * s.in[2]; });
    } else {
      work.template merge<false>(block,
                                 [&](int64_t d, int64_t h, int64_t) { return to + (d * s.in[1] + h) * s.in[2]; });
    }
  };
  for (int64_t od = block.first_out[0]; od < block.last_out[0]; ++od) {
    for (int64_t oh = block.first_out[1]; oh < block.last_out[1]; ++oh) work.run.add_row(plane, od, oh, flush);
  }
  work.run.finish(flush);
  if (kAdd) copy_block_out(s, block, work.sums.data(), s.in[2], to);
  return !any(probe != A(0));
}

template <class T, bool kAdd>
void soft_pool_backward_blocks(const SoftPoolBlocks& blocks, const T* grad, const T* x, T* dx, accumulate_t<T> slope,
                               int64_t begin, int64_t end) {
  RowBackward<T> work(blocks.s);
  for (int64_t unit = begin; unit < end; ++unit) {
    const SoftPoolBlock block = blocks[unit % blocks.total()];
    const int64_t plane = unit / blocks.total();
    if (soft_pool_backward_block<T, false, kAdd>(blocks.s, grad, x, dx, plane, block, slope, work)) continue;
    soft_pool_backward_block<T, true, kAdd>(blocks.s, grad, x, dx, plane, block, slope, work);
  }
}

// Computes blocks [begin, end), numbered through planes.
template <class T>
void soft_pool_backward_rows(const SoftPoolBlocks& blocks, const T* grad, const T* x, T* dx, bool straight_through,
                             int64_t begin, int64_t end) {
  const accumulate_t<T> slope = straight_through ? 0 : 1;
  if (windows_are_apart(blocks.s)) {
    soft_pool_backward_blocks<T, false>(blocks, grad, x, dx, slope, begin, end);
  } else {
    soft_pool_backward_blocks<T, true>(blocks, grad, x, dx, slope, begin, end);
  }
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
