// SoftPool of contiguous tensors for windows with compile-time sizes (maths in soft_pool_window.cuh): `kernel` x
// `kernel` elements every `stride` rows and columns, or `depth` such slices every `depth` slices. Rows are those of the
// padded input.
//
// A lane has `lane_columns` columns of a row, usually 16 bytes, and the windows that start among them; consecutive
// lanes are neighbours along rows. It also reads the few elements of these windows beyond its own columns, which the
// neighbour's read brings into the cache.
//
// Forward: a lane reads the input rows of `forward_rows` rows of windows at once, then computes. Nothing is shared.
// Backward: a lane goes down a strip of the image. It reads each row once, holds as many rows as a window has, and adds
// the window's gradients to those of its rows; a row is written when no later window covers it. If windows overlap
// sideways, a lane passes its contributions to the next lane's columns; the lowest lane of a warp only repeats the
// computation of the highest lane of the previous warp, to be able to pass them. If windows overlap downwards, a strip
// starts with the windows above it that end in it. Apart from these repetitions, every window is computed once; every
// gradient is written once, without atomics, and the order of sums is fixed.
//
// Rows of odd width and padded rows also use aligned accesses (common/unaligned.cuh).
//
// Bytes: the forward reads x and writes y once, the backward reads x and grad and writes dx once.
#pragma once

#include "common/indexing.cuh"
#include "common/reduce.cuh"
#include "common/unaligned.cuh"
#include "soft_pool/soft_pool.h"
#include "soft_pool/soft_pool_window.cuh"

namespace pydlx {

constexpr int kRowThreads = 128;
constexpr int kRowBlocks = 4;  // resident blocks per multiprocessor in the backward, without register spills

/// The windows of one kernel, for elements of type T.
template <class T, int depth_, int kernel_, int stride_>
struct RowWindow {
  using A = accumulate_t<T>;
  static constexpr int depth = depth_, kernel = kernel_, stride = stride_;
  static constexpr int cells = depth * kernel * kernel;
  // With stride 1, 8 columns of 16-bit types would need more registers than 4 resident blocks have.
  static constexpr int lane_columns = stride > 1 ? kVectorSize<T> : 4;
  static constexpr int lane_windows = lane_columns / stride;
  static constexpr int overlap = kernel - stride;  // rows, or columns, that neighbouring windows share
  static constexpr int columns = lane_columns + overlap;
  static constexpr int forward_rows = kernel == stride ? 1 : stride > 1 ? 2 : 4;
  static constexpr int rows_before = (kernel - 1) / stride;  // rows of windows that reach into a strip from above
  static constexpr int repeated_lanes = overlap > 0 ? 1 : 0;
  static_assert(lane_columns % stride == 0 && overlap >= 0 && overlap < lane_columns);
};

/// Sizes and the order of lanes: along a row of an image, then down its strips, then through images. An image here is a
/// group of `depth` slices, the depth of a window.
struct SoftPoolRows {
  Divisor<int32_t> lanes, strips, images;  // numbers per row, per image and per volume
  int in[3], out[3], padding[3];           // sizes of a volume
  int strip_rows;                          // rows of windows per strip
  int32_t count;                           // number of lanes
  bool aligned_input, aligned_output;      // all lanes' columns, or windows, begin at multiples of a vector
  float exact;                             // 0 if straight-through, else 1

  /// The number of elements of this window that are not padding.
  template <class Window>
  __device__ int cells_inside(int slice, int row, int column) const {
    const auto inside = [](int first, int length, int size) { return min(first + length, size) - max(first, 0); };
    return inside(slice * Window::depth - padding[0], Window::depth, in[0]) *
           inside(row * Window::stride - padding[1], Window::kernel, in[1]) *
           inside(column * Window::stride - padding[2], Window::kernel, in[2]);
  }
};

/// A lane's position.
template <class Window>
struct SoftPoolLane {
  int lane_of_row, strip;
  int slice = 0;  // index of the windows along the depth
  int64_t volume;
  bool inside;

  __device__ SoftPoolLane(const SoftPoolRows& p, int32_t index) : inside(index >= 0 && index < p.count) {
    if (!inside) index = 0;
    const int32_t row = p.lanes.quotient(index), image = p.strips.quotient(row);
    lane_of_row = p.lanes.remainder(index);
    strip = p.strips.remainder(row);
    volume = image;
    if constexpr (Window::depth > 1) {
      slice = p.images.remainder(image);
      volume = p.images.quotient(image);
    }
  }
};

/// A lane's elements of one row, unconverted, so that nothing waits for the loads until the values are used.
template <class T, class Window>
struct RowCells {
  Vector<T, Window::lane_columns> own;
  T beyond[Window::overlap > 0 ? Window::overlap : 1];

  __device__ __forceinline__ void widen(accumulate_t<T> (&to)[Window::columns]) const {
#pragma unroll
    for (int i = 0; i < Window::lane_columns; ++i) to[i] = static_cast<accumulate_t<T>>(own.values[i]);
#pragma unroll
    for (int i = 0; i < Window::overlap; ++i) to[Window::lane_columns + i] = static_cast<accumulate_t<T>>(beyond[i]);
  }

  __device__ __forceinline__ accumulate_t<T> operator[](int column) const {
    return static_cast<accumulate_t<T>>(column < Window::lane_columns ? own.values[column]
                                                                      : beyond[column - Window::lane_columns]);
  }
};

/// Reads rows for one lane.
template <class T, class Window>
struct RowReader {
  using A = accumulate_t<T>;
  using Cells = RowCells<T, Window>;
  const SoftPoolRows& p;
  const T *begin, *end;  // the tensor's range
  const T* slices[Window::depth];
  bool slice_inside[Window::depth];
  int column;  // the lane's first column

  __device__ RowReader(const SoftPoolRows& shape, const SoftPoolLane<Window>& lane, const T* x, int64_t elements)
      : p(shape), begin(x), end(x + elements), column(lane.lane_of_row * Window::lane_columns - shape.padding[2]) {
#pragma unroll
    for (int i = 0; i < Window::depth; ++i) {
      const int slice = Window::depth > 1 ? lane.slice * Window::depth - p.padding[0] + i : 0;
      slice_inside[i] = lane.inside && (Window::depth == 1 || (slice >= 0 && slice < p.in[0]));
      slices[i] = x + (lane.volume * p.in[0] + slice) * p.in[1] * p.in[2] + column;
    }
  }

  /// Reads one row of the padded input; elements outside of the input are -inf.
  __device__ __forceinline__ Cells read(int slice, int padded_row) const {
    const T outside = static_cast<T>(A(-INFINITY));
    Cells cells;
    const int row = padded_row - p.padding[1];
    if (!slice_inside[slice] || row < 0 || row >= p.in[1] || column >= p.in[2]) {
#pragma unroll
      for (T& cell : cells.own.values) cell = outside;
#pragma unroll
      for (T& cell : cells.beyond) cell = outside;
      return cells;
    }
    const T* const from = slices[slice] + static_cast<int64_t>(row) * p.in[2];
    if (p.aligned_input) {
      cells.own = *reinterpret_cast<const Vector<T, Window::lane_columns>*>(from);
    } else {
      cells.own = unaligned_vector<Window::lane_columns>(from, begin, end);
      if (column < 0 || column + Window::lane_columns > p.in[2]) {
#pragma unroll
        for (int i = 0; i < Window::lane_columns; ++i) {
          if (column + i < 0 || column + i >= p.in[2]) cells.own.values[i] = outside;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < Window::overlap; ++i) {
      const int beyond = Window::lane_columns + i;
      cells.beyond[i] = column + beyond < p.in[2] ? from[beyond] : outside;
    }
    return cells;
  }
};

/// The elements of a lane's window `number`, from the rows that start at `first_row` in each slice.
template <class Window, class Row, int rows, class A>
__device__ __forceinline__ void gather_window(const Row (&lane)[Window::depth][rows], int first_row, int number,
                                              A (&cells)[Window::cells]) {
#pragma unroll
  for (int i = 0; i < Window::cells; ++i) {
    const int slice = i / (Window::kernel * Window::kernel), cell = i % (Window::kernel * Window::kernel);
    cells[i] = lane[slice][first_row + cell / Window::kernel][number * Window::stride + cell % Window::kernel];
  }
}

template <class T, class Window>
__global__ void __launch_bounds__(kRowThreads)
    soft_pool_rows_forward_kernel(SoftPoolRows p, const T* __restrict__ x, T* __restrict__ y, int64_t elements) {
  using A = accumulate_t<T>;
  constexpr int kRows = (Window::forward_rows - 1) * Window::stride + Window::kernel;
  const auto index = static_cast<int32_t>(blockIdx.x * kRowThreads + threadIdx.x);
  const SoftPoolLane<Window> lane(p, index);
  const RowReader<T, Window> reader(p, lane, x, elements);
  const int first_row = lane.strip * Window::forward_rows, first_column = lane.lane_of_row * Window::lane_windows;
  RowCells<T, Window> cells[Window::depth][kRows];
#pragma unroll
  for (int slice = 0; slice < Window::depth; ++slice) {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      cells[slice][row] = reader.read(slice, first_row * Window::stride + row);
    }
  }

  T* to = y + ((lane.volume * p.out[0] + lane.slice) * p.out[1] + first_row) * p.out[2] + first_column;
#pragma unroll
  for (int i = 0; i < Window::forward_rows; ++i, to += p.out[2]) {
    const int row = first_row + i;
    const bool row_inside = lane.inside && row < p.out[1];
    A values[Window::lane_windows];
#pragma unroll
    for (int k = 0; k < Window::lane_windows; ++k) {
      A window[Window::cells];
      gather_window<Window>(cells, i * Window::stride, k, window);
      values[k] = SoftPoolWindow<A, Window::cells>(window, [&] {
                    return p.template cells_inside<Window>(lane.slice, row, first_column + k);
                  }).value();
    }
    if (p.aligned_output) {
      if (row_inside) store_vector(to, values);
    } else {
      const int last = row_inside ? min(Window::lane_windows, p.out[2] - first_column) : 0;
      store_unaligned(to, values, 0, last, row_inside && lane.lane_of_row > 0 && threadIdx.x % kWarp > 0);
    }
  }
}

template <class T, class Window>
__global__ void __launch_bounds__(kRowThreads, PYDLX_BLOCKS(kRowBlocks))
    soft_pool_rows_backward_kernel(SoftPoolRows p, const T* __restrict__ grad, const T* __restrict__ x,
                                   T* __restrict__ dx, int64_t elements, int64_t out_elements) {
  using A = accumulate_t<T>;
  constexpr int kRows = Window::kernel, kStride = Window::stride, kOverlap = Window::overlap;
  const int warp_lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto warp = static_cast<int32_t>((blockIdx.x * kRowThreads + threadIdx.x) / kWarp);
  const SoftPoolLane<Window> lane(p, warp * (kWarp - Window::repeated_lanes) + warp_lane - Window::repeated_lanes);
  const bool writes = lane.inside && warp_lane >= Window::repeated_lanes;
  const bool has_below = lane.lane_of_row > 0;
  const RowReader<T, Window> reader(p, lane, x, elements);
  const int first_column = lane.lane_of_row * Window::lane_windows;
  const int strip_rows = Window::rows_before > 0 ? p.strip_rows : 1;
  const int first_row = lane.strip * strip_rows, last_row = first_row + strip_rows;
  const T* const grads = grad + (lane.volume * p.out[0] + lane.slice) * p.out[1] * p.out[2] + first_column;

  const bool slice_has_windows = lane.inside && (Window::depth == 1 || lane.slice < p.out[0]);
  // The incoming gradients of a row of windows, unconverted; 0 where there is no window.
  using Gradients = Vector<T, Window::lane_windows>;
  const auto read_gradients = [&](int row) {
    Gradients to;
#pragma unroll
    for (T& value : to.values) value = static_cast<T>(A(0));
    if (!slice_has_windows || row < 0 || row >= p.out[1] || first_column >= p.out[2]) {
      return to;
    }
    const T* const from = grads + static_cast<int64_t>(row) * p.out[2];
    return p.aligned_output ? *reinterpret_cast<const Gradients*>(from)
                            : unaligned_vector<Window::lane_windows>(from, grad, grad + out_elements);
  };
  // Reads the last `kStride` rows of a window, which the window above does not share.
  const auto read_next = [&](int row, RowCells<T, Window>(&to)[Window::depth][kStride]) {
#pragma unroll
    for (int slice = 0; slice < Window::depth; ++slice) {
#pragma unroll
      for (int i = 0; i < kStride; ++i) to[slice][i] = reader.read(slice, row * kStride + kOverlap + i);
    }
  };

  A cells[Window::depth][kRows][Window::columns], sums[Window::depth][kRows][Window::columns];
  RowCells<T, Window> next[Window::depth][kStride];
  int row = first_row - Window::rows_before;
  if constexpr (kOverlap > 0) {
#pragma unroll
    for (int slice = 0; slice < Window::depth; ++slice) {
#pragma unroll
      for (int i = 0; i < kOverlap; ++i) {
        reader.read(slice, row * kStride + i).widen(cells[slice][kStride + i]);
#pragma unroll
        for (A& sum : sums[slice][kStride + i]) sum = 0;
      }
    }
  }
  read_next(row, next);
  Gradients next_gradients = read_gradients(row);

#pragma unroll 1
  for (; row < last_row; ++row) {
    // Go to the next window down. Its loads are issued before the current window is computed.
#pragma unroll
    for (int slice = 0; slice < Window::depth; ++slice) {
#pragma unroll
      for (int i = 0; i < kOverlap; ++i) {
#pragma unroll
        for (int column = 0; column < Window::columns; ++column) {
          cells[slice][i][column] = cells[slice][i + kStride][column];
          sums[slice][i][column] = sums[slice][i + kStride][column];
        }
      }
#pragma unroll
      for (int i = 0; i < kStride; ++i) {
        next[slice][i].widen(cells[slice][kOverlap + i]);
#pragma unroll
        for (A& sum : sums[slice][kOverlap + i]) sum = 0;
      }
    }
    const Gradients gradients = next_gradients;
    if (kOverlap > 0 && row + 1 < last_row) {
      read_next(row + 1, next);
      next_gradients = read_gradients(row + 1);
    }

    if (slice_has_windows && row >= 0 && row < p.out[1]) {
#pragma unroll
      for (int k = 0; k < Window::lane_windows; ++k) {
        if (first_column + k >= p.out[2]) continue;
        A window[Window::cells], slopes[Window::cells];
        gather_window<Window>(cells, 0, k, window);
        SoftPoolWindow<A, Window::cells>(window, [&] {
          return p.template cells_inside<Window>(lane.slice, row, first_column + k);
        }).gradients(static_cast<A>(gradients.values[k]), A(p.exact), slopes);
#pragma unroll
        for (int i = 0; i < Window::cells; ++i) {
          const int slice = i / (kRows * kRows), cell = i % (kRows * kRows);
          sums[slice][cell / kRows][k * kStride + cell % kRows] += slopes[i];
        }
      }
    }

    if (row < first_row) continue;
#pragma unroll
    for (int slice = 0; slice < Window::depth; ++slice) {
#pragma unroll
      for (int i = 0; i < kStride; ++i) {
        A own[Window::lane_columns];
#pragma unroll
        for (int column = 0; column < Window::lane_columns; ++column) own[column] = sums[slice][i][column];
#pragma unroll
        for (int column = 0; column < kOverlap; ++column) {
          const A passed = __shfl_up_sync(kWholeWarp, sums[slice][i][Window::lane_columns + column], 1);
          if (has_below) own[column] += passed;
        }
        const int at = row * kStride + i - p.padding[1];
        const bool row_inside = writes && reader.slice_inside[slice] && at >= 0 && at < p.in[1];
        T* const to = dx + (reader.slices[slice] - x) + static_cast<int64_t>(at) * p.in[2];
        if (p.aligned_input) {
          if (row_inside) store_vector(to, own);
        } else {
          const int first = max(-reader.column, 0), last = min(Window::lane_columns, p.in[2] - reader.column);
          store_unaligned(to, own, row_inside ? first : 0, row_inside ? last : 0,
                          row_inside && has_below && warp_lane > Window::repeated_lanes);
        }
      }
    }
  }
}

}  // namespace pydlx
