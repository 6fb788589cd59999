// Corner pooling of rows: `rows` lines of `length` neighbouring elements each.
//
// A piece of a row is what neighbouring lanes of a warp, a segment, read at once: V elements a lane, 16 bytes of them
// where rows lie that way, else one. A row of one piece takes as many lanes as it needs, and a warp has several such
// rows side by side and kPieces<T, V> of each segment in flight. A longer row takes a whole warp, kPieces<T, V> of its
// pieces at a time. Within a lane elements are compared one by one, lanes are scanned by shuffles. Reads and writes:
// the floor (corner_pool.cuh).
#pragma once

#include "corner_pool/corner_pool.cuh"

namespace pydlx {

constexpr int kRowThreads = 256;

// Elements of a lane where rows take no vectors of 16 bytes: of 16-bit numbers, half of those.
template <class T>
constexpr int kCellsOfLane = sizeof(T) == 2 ? 4 : 1;

// Blocks that a multiprocessor is to have room for, by the registers that a thread takes.
constexpr int kRowBlocks = 4;
template <class T>
constexpr int kRowBackwardBlocks = sizeof(T) == 8 ? 2 : 3;

// Pieces that a segment has in flight: 64 bytes a lane, of elements in their wide type.
template <class T, int V>
constexpr int kPieces = V == 1 ? 8 : 64 / static_cast<int>(sizeof(accumulate_t<T>)) / V;

struct CornerRows {
  int64_t rows, length, pieces;  // pieces of a row
  bool from_end;
  int lanes, segments;  // lanes of a segment, segments of a warp

  CornerRows(const CornerScan& s, int cells_of_lane)
      : rows(s.outer),
        length(s.length),
        pieces((s.length + kWarp * cells_of_lane - 1) / (kWarp * cells_of_lane)),
        from_end(s.from_end),
        lanes(pieces > 1 ? kWarp : static_cast<int>((s.length + cells_of_lane - 1) / cells_of_lane)),
        segments(kWarp / lanes) {}

  // Rows that a warp takes at a time.
  PYDLX_HOST_DEVICE int64_t rows_of_warp(int in_flight) const { return pieces > 1 ? 1 : segments * in_flight; }
};

// Neighbouring lanes of a warp with neighbouring elements, and which of them this one is.
struct Segment {
  int lane, lanes, first;  // first: its first lane's number in the warp

  // Its lanes' bits of a ballot.
  __device__ unsigned bits(unsigned ballot) const { return ballot >> first & (kWholeWarp >> (kWarp - lanes)); }
};

// Which lane of which segment of the warp this is. Lanes that no segment takes have no elements.
template <int V>
struct CornerLane {
  const CornerRows& s;
  int number;  // of the segment
  Segment segment;

  __device__ explicit CornerLane(const CornerRows& rows) : s(rows) {
    const int of_warp = static_cast<int>(threadIdx.x) % kWarp;
    number = of_warp / s.lanes;
    segment = {of_warp - number * s.lanes, s.lanes, number * s.lanes};
  }
};

// This lane's elements in the pieces that are in flight together, which lie the same distance apart: pieces of one row,
// or rows of one piece.
template <int V>
struct CellsInFlight {
  int64_t first, apart;
  int in_line, gap;  // piece p is there if p * gap < in_line

  // From this row and piece on.
  __device__ CellsInFlight(const CornerLane<V>& at, int64_t row, int64_t piece) {
    const CornerRows& s = at.s;
    const bool is_long = s.pieces > 1;
    const int64_t k = (piece * kWarp + at.segment.lane) * V;
    if (!is_long) row += at.number;
    first = row * s.length + (s.from_end ? s.length - V - k : k);
    gap = is_long ? kWarp * V : s.segments;
    apart = !is_long ? gap * s.length : s.from_end ? -gap : gap;
    const int64_t left = is_long ? s.length - k : s.rows - row;
    in_line = at.number >= s.segments || k >= s.length ? 0 : static_cast<int>(min(left, int64_t{1} << 20));
  }

  __device__ bool has(int p) const { return p * gap < in_line; }
  __device__ int64_t place(int p) const { return first + p * apart; }
};

template <class T, int V, int pieces>
__device__ __forceinline__ void load_cells(const T* x, const CellsInFlight<V>& in_flight, accumulate_t<T> outside,
                                           accumulate_t<T> (&to)[pieces][V]) {
  if (in_flight.has(pieces - 1)) {  // all are there, the rule: loads without a predicate are issued in one go
#pragma unroll
    for (int p = 0; p < pieces; ++p) load_vector<V>(x + in_flight.place(p), to[p]);
  } else {
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
#pragma unroll
      for (int v = 0; v < V; ++v) to[p][v] = outside;
      if (in_flight.has(p)) load_vector<V>(x + in_flight.place(p), to[p]);
    }
  }
}

// Running maxima of a segment, which `best` reaches.
template <bool kFromEnd, class A, int V>
__device__ __forceinline__ void scan_piece(A (&x)[V], A best, int lane) {
  scan_cells<kFromEnd>(x);
  const A scanned = scan_of_segment(x[place_of<kFromEnd, V>(V - 1)], lane, Later());
  const A before = __shfl_up_sync(kWholeWarp, scanned, 1);
  if (lane > 0) best = Later()(best, before);
#pragma unroll
  for (int v = 0; v < V; ++v) x[v] = Later()(best, x[v]);
}

template <class A, int V>
__device__ __forceinline__ void scan_piece(bool from_end, A (&x)[V], A best, int lane) {
  if (from_end) return scan_piece<true>(x, best, lane);
  scan_piece<false>(x, best, lane);
}

// Of V elements in the order of memory, the one that the scan meets last.
template <class A, int V>
__device__ __forceinline__ A last_cell(bool from_end, const A (&x)[V]) {
  return from_end ? x[0] : x[V - 1];
}

template <class T, int V>
__global__ void __launch_bounds__(kRowThreads, PYDLX_BLOCKS(kRowBlocks))
    corner_rows_kernel(CornerRows s, const T* __restrict__ x, T* __restrict__ y) {
  using A = accumulate_t<T>;
  const CornerLane<V> at(s);
  const int64_t rows = s.rows_of_warp(kPieces<T, V>), warp = threadIdx.x / kWarp, warps = kRowThreads / kWarp;
  const bool is_long = s.pieces > 1;
  for (int64_t first = (blockIdx.x * warps + warp) * rows; first < s.rows; first += gridDim.x * warps * rows) {
    A best = -INFINITY;
    for (int64_t piece = 0; piece < s.pieces; piece += kPieces<T, V>) {
      const CellsInFlight<V> in_flight(at, first, piece);
      A cells[kPieces<T, V>][V];
      load_cells(x, in_flight, A(-INFINITY), cells);
#pragma unroll
      for (int p = 0; p < kPieces<T, V>; ++p) {
        if (is_long && piece + p >= s.pieces) break;
        scan_piece(s.from_end, cells[p], best, at.segment.lane);
        if (in_flight.has(p)) store_vector<V>(y + in_flight.place(p), cells[p]);
        if (is_long) best = __shfl_sync(kWholeWarp, last_cell(s.from_end, cells[p]), kWarp - 1);
      }
    }
  }
}

// The sum of the values of the lanes from this one to lane `last`, of lanes that all have the same one.
template <class A>
__device__ __forceinline__ A sum_to_lane(A value, int lane, int last) {
#pragma unroll
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const A more = __shfl_down_sync(kWholeWarp, value, apart);
    if (lane + apart <= last) value += more;
  }
  return value;
}

// What gather_piece finds.
template <class A>
struct PieceRuns {
  A peak;           // the largest of the piece's elements up to this lane's last one
  unsigned heads;   // of this lane's elements
  unsigned headed;  // the lanes with heads
  A lead;           // of this lane's elements and those behind, up to the first head
};

// Gives each head in a piece the sum of its run within the piece, all other elements 0. `best` reaches the piece.
template <bool kFromEnd, class A, int V>
__device__ __forceinline__ PieceRuns<A> gather_piece(const A (&x)[V], A (&g)[V], A best, bool at_edge,
                                                     const Segment& segment) {
  const int lane = segment.lane;
  PieceRuns<A> runs;
  runs.peak = scan_of_segment(largest_cell<kFromEnd>(x), lane, Later());
  const A before = __shfl_up_sync(kWholeWarp, runs.peak, 1);
  if (lane > 0) best = Later()(best, before);
  runs.heads = find_heads<kFromEnd>(x, best, at_edge && lane == 0);
  runs.headed = segment.bits(__ballot_sync(kWholeWarp, runs.heads != 0));

  const A lead = gather_runs<kFromEnd>(runs.heads, g);
  const unsigned from_here = runs.headed >> lane;
  const int last = from_here ? lane + __ffs(static_cast<int>(from_here)) - 1 : segment.lanes - 1;
  runs.lead = sum_to_lane(lead, lane, last);
  const A behind = __shfl_down_sync(kWholeWarp, runs.lead, 1);
  add_behind<kFromEnd>(runs.heads, lane + 1 < segment.lanes ? behind : A(0), g);
  return runs;
}

template <class A, int V>
__device__ __forceinline__ PieceRuns<A> gather_piece(bool from_end, const A (&x)[V], A (&g)[V], A best, bool at_edge,
                                                     const Segment& segment) {
  if (from_end) return gather_piece<true>(x, g, best, at_edge, segment);
  return gather_piece<false>(x, g, best, at_edge, segment);
}

// The open run of a row of several pieces, the same in all lanes.
template <class T>
struct OpenRun {
  using A = accumulate_t<T>;
  const CornerRows& s;
  T* const dx;  // of the row
  A best = -INFINITY, sum = 0;
  int64_t head = 0;

  // Gives the head its run.
  __device__ void end() const {
    __syncwarp();  // what it received before has been written
    if (threadIdx.x % kWarp == 0) dx[s.from_end ? s.length - 1 - head : head] = static_cast<T>(sum);
  }

  // Goes on through a piece, whose gradient `g` has been written.
  template <int V>
  __device__ void carry_on(const PieceRuns<A>& runs, const A (&g)[V], int64_t piece) {
    best = Later()(best, __shfl_sync(kWholeWarp, runs.peak, kWarp - 1));
    sum += __shfl_sync(kWholeWarp, runs.lead, 0);
    if (runs.headed == 0) return;
    if (piece > 0) end();
    const int lane = last_head(runs.headed);
    const A last = s.from_end ? last_run<true>(runs.heads, g) : last_run<false>(runs.heads, g);
    sum = __shfl_sync(kWholeWarp, last, lane);
    head = (piece * kWarp + lane) * V + __shfl_sync(kWholeWarp, last_head(runs.heads), lane);
  }
};

template <class T, int V>
__global__ void __launch_bounds__(kRowThreads, PYDLX_BLOCKS(kRowBackwardBlocks<T>))
    corner_rows_backward_kernel(CornerRows s, const T* __restrict__ grad, const T* __restrict__ x, T* __restrict__ dx) {
  using A = accumulate_t<T>;
  const CornerLane<V> at(s);
  const int64_t rows = s.rows_of_warp(kPieces<T, V>), warp = threadIdx.x / kWarp, warps = kRowThreads / kWarp;
  const bool is_long = s.pieces > 1;
  for (int64_t first = (blockIdx.x * warps + warp) * rows; first < s.rows; first += gridDim.x * warps * rows) {
    OpenRun<T> open{s, dx + first * s.length};
    for (int64_t piece = 0; piece < s.pieces; piece += kPieces<T, V>) {
      const CellsInFlight<V> in_flight(at, first, piece);
      A cells[kPieces<T, V>][V], g[kPieces<T, V>][V];
      load_cells(x, in_flight, A(-INFINITY), cells);
      load_cells(grad, in_flight, A(0), g);
#pragma unroll
      for (int p = 0; p < kPieces<T, V>; ++p) {
        if (is_long && piece + p >= s.pieces) break;
        const bool at_edge = !is_long || piece + p == 0;
        const PieceRuns<A> runs = gather_piece(s.from_end, cells[p], g[p], open.best, at_edge, at.segment);
        if (in_flight.has(p)) store_vector<V>(dx + in_flight.place(p), g[p]);
        if (is_long) open.carry_on(runs, g[p], piece + p);
      }
    }
    if (is_long) open.end();
  }
}

}  // namespace pydlx
