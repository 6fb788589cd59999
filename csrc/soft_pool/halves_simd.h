// SoftPool over 2 x 2 windows at stride 2 of contiguous float32 or float64 rows, the commonest pooling there is.
// Included once per instruction set by soft_pool_cpu_simd.h.
//
// Four taps of a vector of outputs come from two vectors of each of two input rows, parted in registers: no phases in
// between. The last vector of a row overlaps the one before it, which writes the same values twice.

namespace pydlx {
namespace PYDLX_SIMD {

template <class T>
inline bool halves_rows(const SoftPoolShape& s) {
  bool halves = std::is_same_v<T, accumulate_t<T>> && s.kernel[0] == 1 && s.padding[0] == 0;
  for (int axis = 1; axis < 3; ++axis) {
    halves &= s.kernel[axis] == 2 && s.stride[axis] == 2 && s.dilation[axis] == 1 && s.padding[axis] == 0 &&
              2 * s.out[axis] <= s.in[axis];
  }
  return halves && s.out[2] >= kVecLanes<accumulate_t<T>>;
}

// Asks for the cells that will be read some rows further down: between two loads lies more arithmetic than the
// processor looks ahead over, so it would wait for memory at each of them. Distances of 2 to 16 KiB do much the same.
template <class A>
__attribute__((always_inline)) inline void prefetch_ahead(const A* cells) {
  constexpr uintptr_t kDistance = 8192, kLine = 64;
  const uintptr_t ahead = reinterpret_cast<uintptr_t>(cells) + kDistance;
#pragma GCC unroll 2
  for (uintptr_t i = 0; i < 2 * PYDLX_SIMD_BYTES; i += kLine) __builtin_prefetch(reinterpret_cast<void*>(ahead + i));
}

// The windows of outputs [at, at + kVecLanes) of a row; `top` is the upper input row.
template <class A, bool kCareful>
__attribute__((always_inline)) inline Windows<A, kCareful, 4> halved_windows(const A* top, int64_t width, int64_t at) {
  prefetch_ahead(top + 2 * at);
  prefetch_ahead(top + width + 2 * at);
  const auto [a, b] = load_pairs(top + 2 * at);
  const auto [c, d] = load_pairs(top + width + 2 * at);
  const Vec<A> cells[4] = {a, b, c, d};
  return Windows<A, kCareful, 4>([&](int64_t t) { return cells[t]; }, 4);
}

// First cell of the upper input row under an output row.
inline int64_t halved_row(const SoftPoolShape& s, int64_t plane, int64_t od, int64_t oh) {
  return ((plane * s.in[0] + od * s.stride[0]) * s.in[1] + 2 * oh) * s.in[2];
}

// As soft_pool_some_rows.
template <class A, bool kCareful>
bool soft_pool_halves(const SoftPoolShape& s, const A* x, A* y, int64_t begin, int64_t end) {
  Vec<A> probe{};
  RowCounter row(s, begin);
  for (int64_t index = begin; index < end; ++index, row.advance()) {
    const A* top = x + halved_row(s, row.plane, row.od, row.oh);
    for (int64_t i = 0; i < s.out[2]; i += kVecLanes<A>) {
      const int64_t at = std::min(i, s.out[2] - kVecLanes<A>);
      const auto windows = halved_windows<A, kCareful>(top, s.in[2], at);
      const Vec<A> value = windows.peak + windows.mean_distance;
      probe += value - value;
      store(y + index * s.out[2] + at, value);
    }
  }
  return any(probe != A(0));
}

// The gradient of the windows of a block. Returns false where the careful version must be run.
template <class A, bool kCareful>
bool soft_pool_halves_backward(const SoftPoolShape& s, const A* grad, const A* x, A* dx, int64_t plane,
                               const SoftPoolBlock& block, A slope) {
  Vec<A> probe{};
  for (int64_t od = block.first_out[0]; od < block.last_out[0]; ++od) {
    for (int64_t oh = block.first_out[1]; oh < block.last_out[1]; ++oh) {
      const int64_t top = halved_row(s, plane, od, oh);
      const A* grad_row = grad + ((plane * s.out[0] + od) * s.out[1] + oh) * s.out[2];
      for (int64_t i = 0; i < s.out[2]; i += kVecLanes<A>) {
        const int64_t at = std::min(i, s.out[2] - kVecLanes<A>);
        const auto windows = halved_windows<A, kCareful>(x + top, s.in[2], at);
        const Vec<A> scale = load(grad_row + at) / windows.total;
        probe += windows.mean_distance - windows.mean_distance;
        Vec<A> da[4];
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t) da[t] = windows.gradient(windows.distances[t], windows.weights[t], scale, slope);
        store_pairs(dx + top + 2 * at, da[0], da[1]);
        store_pairs(dx + top + s.in[2] + 2 * at, da[2], da[3]);
      }
    }
  }
  return !any(probe != A(0));
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
