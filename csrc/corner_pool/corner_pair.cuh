// Corner pooling of pairs: y = top(a) + left(b) or bottom(a) + right(b), over contiguous planes (height, width).
//
// The layout of the columns' kernels, with the elements of a line in neighbouring lanes: V elements a lane, kPairCells
// / V lines a thread, groups of lines along threadIdx.y, planes along z. So each element is read and written once, and
// both scans run on what a thread holds. Lines are scanned by shuffles while the groups' maxima of the columns meet in
// shared memory.
//
// Forward: planes of any size, in tiles of (lines of a block) x (lanes V), along the lines first: a thread carries its
// lines' maxima, shared memory the columns'. V is four elements, or one where lines are no multiple of four. Backward:
// lines of a multiple of four and at most 128 elements, any number of them; the columns' open runs are carried as in
// corner_columns.cuh. Reads and writes: the floor (corner_pool.cuh).
#pragma once

#include "corner_pool/corner_columns.cuh"
#include "corner_pool/corner_rows.cuh"

namespace pydlx {

constexpr int kPairCells = 16, kPairVector = 4;

// The most threads of a block; registers allow no more.
template <class T, int V>
constexpr int kPairThreads = V == 1 || sizeof(T) == 8 ? 256 : 512;
template <class T>
constexpr int kPairBackwardThreads = sizeof(T) == 8 ? 256 : 512;

struct CornerPlanes {
  int64_t planes, height, width;
  bool from_end;

  int64_t cells() const { return height * width; }
};

// A thread's place in a block of (lanes, groups, planes).
template <int V>
struct PairPlace {
  const CornerPlanes& s;
  Segment segment;
  int group;

  __device__ explicit PairPlace(const CornerPlanes& planes) : s(planes), group(threadIdx.y) {
    const int lane = threadIdx.x, lanes = blockDim.x;
    segment = {lane, lanes, (thread_of_block() - lane) % kWarp};
  }

  __device__ int64_t step() const { return s.from_end ? -s.width : s.width; }
  // Where in a line this lane's elements of the part from `begin` on lie; negative or beyond if there are none.
  __device__ int64_t column(int64_t begin) const {
    const int64_t k = begin + segment.lane * V;
    return s.from_end ? s.width - V - k : k;
  }
  __device__ bool has(int64_t plane, int64_t begin) const {
    return plane < s.planes && begin + segment.lane * V < s.width;
  }
  // The beginning of the line that the scan meets at step k.
  __device__ int64_t line(int64_t plane, int64_t k) const {
    return (plane * s.height + (s.from_end ? s.height - 1 - k : k)) * s.width;
  }
};

// Shared memory: two sets of the groups' maxima, and two of the columns' so far where one block does not hold them.
template <class A, int V>
int64_t pair_room(const CornerPlanes& s, int threads, bool strips) {
  return 2 * (static_cast<int64_t>(threads) * V + (strips ? s.width : 0)) * static_cast<int64_t>(sizeof(A));
}

template <class T, int V>
__global__ void __launch_bounds__((kPairThreads<T, V>), 1)
    corner_pair_kernel(CornerPlanes s, const T* __restrict__ vertical, const T* __restrict__ horizontal,
                       T* __restrict__ y) {
  using A = accumulate_t<T>;
  constexpr int kLines = kPairCells / V;
  PYDLX_DYNAMIC_SHARED(A, room);
  const PairPlace<V> at(s);
  const int threads = blockDim.x * blockDim.y * blockDim.z, group = at.group, groups = blockDim.y;
  const int here = thread_of_block(), lanes = blockDim.x, top = here - group * lanes;
  const int64_t held = static_cast<int64_t>(groups) * kLines, step = at.step();
  A* const carried = room + 2 * V * threads;
  int turn = 0, strip_turn = 0;
  for (int64_t plane = static_cast<int64_t>(blockIdx.x) * blockDim.z + threadIdx.z; plane - threadIdx.z < s.planes;
       plane += static_cast<int64_t>(gridDim.x) * blockDim.z) {
    for (int64_t strip = 0; strip < s.height; strip += held, strip_turn ^= 1) {
      const int64_t k = strip + group * kLines, line = at.line(plane, k);
      A along[kLines];
#pragma unroll
      for (int r = 0; r < kLines; ++r) along[r] = -INFINITY;
      for (int64_t begin = 0; begin < s.width; begin += lanes * V, turn ^= 1) {
        const bool present = at.has(plane, begin);
        const int64_t column = at.column(begin), first = line + column;
        const int inside = present ? cells_inside(s.height, k, kLines) : 0;
        A a[V][kLines], b[V][kLines];
        load_columns<T, V>(vertical + first, step, inside, A(-INFINITY), a);
        load_columns<T, V>(horizontal + first, step, inside, A(-INFINITY), b);
        A* const peaks = room + turn * V * threads;
#pragma unroll
        for (int v = 0; v < V; ++v) {
          scan_cells<false>(a[v]);
          peaks[v * threads + here] = a[v][kLines - 1];
        }
#pragma unroll
        for (int r = 0; r < kLines; ++r) {
          A cells[V];
#pragma unroll
          for (int v = 0; v < V; ++v) cells[v] = b[v][r];
          scan_piece(s.from_end, cells, along[r], at.segment.lane);
          if (lanes == kWarp) along[r] = __shfl_sync(kWholeWarp, last_cell(s.from_end, cells), kWarp - 1);
#pragma unroll
          for (int v = 0; v < V; ++v) b[v][r] = cells[v];
        }
        __syncthreads();
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const A* const peak = peaks + v * threads + top;
          A best = strip > 0 && present ? carried[strip_turn * s.width + column + v] : A(-INFINITY);
#pragma unroll 4
          for (int j = 0; j < group; ++j) best = Later()(best, peak[j * lanes]);
#pragma unroll
          for (int r = 0; r < kLines; ++r) a[v][r] = Later()(best, a[v][r]);
          if (group == groups - 1 && present && strip + held < s.height) {
            carried[(strip_turn ^ 1) * s.width + column + v] = a[v][kLines - 1];
          }
#pragma unroll
          for (int r = 0; r < kLines; ++r) a[v][r] += b[v][r];
        }
        store_columns<T, V>(y + first, step, inside, a);
      }
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kPairBackwardThreads<T>, 1)
    corner_pair_backward_kernel(CornerPlanes s, const T* __restrict__ grad, const T* __restrict__ vertical,
                                const T* __restrict__ horizontal, T* __restrict__ d_vertical,
                                T* __restrict__ d_horizontal) {
  using A = accumulate_t<T>;
  constexpr int V = kPairVector, kLines = kPairCells / V;
  using Runs = ColumnRuns<T, V, kLines, kPairBackwardThreads<T>>;
  PYDLX_SHARED(typename Runs::Room, room, 1);
  const PairPlace<V> at(s);
  Runs runs(room[0], blockDim.x);
  const int64_t held = static_cast<int64_t>(blockDim.y) * kLines, step = at.step(), column = at.column(0);
  const bool strips = s.height > held;
  for (int64_t plane = static_cast<int64_t>(blockIdx.x) * blockDim.z + threadIdx.z; plane - threadIdx.z < s.planes;
       plane += static_cast<int64_t>(gridDim.x) * blockDim.z) {
    const bool present = at.has(plane, 0);
    runs.begin();
    for (int64_t strip = 0; strip < s.height; strip += held) {
      const int64_t k = strip + at.group * kLines, first = at.line(plane, k) + column;
      const int inside = present ? cells_inside(s.height, k, kLines) : 0;
      A a[V][kLines], g[V][kLines], b[V][kLines];
      load_columns<T, V>(vertical + first, step, inside, A(-INFINITY), a);
      load_columns<T, V>(grad + first, step, inside, A(0), g);
      load_columns<T, V>(horizontal + first, step, inside, A(-INFINITY), b);
      runs.tell_peaks(a);
#pragma unroll
      for (int r = 0; r < kLines; ++r) {
        A cells[V], gradient[V];
#pragma unroll
        for (int v = 0; v < V; ++v) {
          cells[v] = b[v][r];
          gradient[v] = g[v][r];
        }
        gather_piece(s.from_end, cells, gradient, A(-INFINITY), true, at.segment);
        if (r < inside) store_vector<V>(d_horizontal + first + r * step, gradient);
      }
      __syncthreads();
      runs.gather(a, g, strip == 0, strips);
      __syncthreads();
      runs.add_groups_behind(g);
      store_columns<T, V>(d_vertical + first, step, inside, g);
      if (strips && at.group == 0 && present) {
        runs.carry_on(strip, s.height, d_vertical + at.line(plane, 0) + column, step);
      }
    }
  }
}

}  // namespace pydlx
