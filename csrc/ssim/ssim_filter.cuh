// How a block filters a strip of rows with separable taps: along the columns, then along the rows.
//
// A strip is up to `kThreads` columns of pixels wide, and a thread owns a column of them. It walks down the strip in
// steps of `kRows` rows: each pixel's maps go into the running sums of its column, which stay in registers, and what a
// row completes goes to shared memory. There the threads change roles: each takes `kWide` neighbouring columns of one
// row and filters them along the row, from a window that it loads once by accesses of 16 bytes.
//
//     per pixel of 4 maps and 11 taps, float32: 44 + 44 multiply-adds, 4 stores to and 2.5 loads of 16 bytes from
//     shared memory, no index arithmetic (all offsets are constants)
//
// A radius of -1 stands for any. Its columns keep no sums: a step computes its rows from all the pixels that they see.
#pragma once

#include <type_traits>

#include "common/indexing.cuh"
#include "common/vectors.cuh"
#include "ssim/ssim.h"

namespace pydlx {

/// Rows and columns are counted in 64 bits only where there is one kernel for all sizes.
template <int kRadius>
using SsimIndex = std::conditional_t<(kRadius < 0), int64_t, int32_t>;

/// The k-th of all taps, from one end.
template <int kRadius, class A>
__device__ __forceinline__ A ssim_tap(const SsimTaps<A>& taps, int k) {
  if constexpr (kRadius < 0) return taps.outer(k);
  return taps.half[k < kRadius ? kRadius - k : k - kRadius];
}

/// Rows of pixels in shared memory. The vectors of a row lie in two halves, even and odd ones, so that threads which
/// are `kWide` columns apart read neighbouring vectors; the halves start half of the banks apart.
template <class A, int kThreads>
struct SsimRoom {
  static constexpr int kVector = kVectorSize<A>;
  static constexpr int kWide = 2 * kVector;                // columns of a thread that filters along the row
  static constexpr int kGroups = kThreads / kWide;         // such threads for a row
  static constexpr int kRows = kThreads / kGroups;         // of a step
  static constexpr int kHalf = (kGroups + 7) / 8 * 8 + 4;  // in vectors
  static constexpr int kRow = 2 * kHalf;
  using Cells = Vector<A, kVector>;

  /// Columns of results that a block gives with `halo` columns beyond them.
  static __host__ __device__ constexpr int results(int halo) { return (kThreads - halo) / kWide * kWide; }

  /// Where an element of a row is, in elements.
  static __device__ __forceinline__ int place(int column) {
    return (column / kVector % 2 * kHalf + column / kWide) * kVector + column % kVector;
  }
  /// Where the j-th vector from a group's first column on is.
  static __device__ __forceinline__ int vector_of(int group, int j) { return j % 2 * kHalf + group + j / 2; }

  /// Writes, or reads, a group's columns of a row.
  static __device__ __forceinline__ void put(Cells* row, int group, const A (&values)[kWide]) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      Cells vector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) vector.values[i] = values[j * kVector + i];
      row[vector_of(group, j)] = vector;
    }
  }

  static __device__ __forceinline__ void get(const Cells* row, int group, A (&values)[kWide]) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const Cells vector = row[vector_of(group, j)];
#pragma unroll
      for (int i = 0; i < kVector; ++i) values[j * kVector + i] = vector.values[i];
    }
  }

  /// Filters a group's columns along the row: result o is the sum of the pixels from its first column + o on.
  template <int kRadius>
  static __device__ __forceinline__ void across(const SsimTaps<A>& taps, const Cells* row, int group,
                                                A (&results)[kWide]) {
    const int count = 2 * static_cast<int>(kRadius < 0 ? taps.radius : kRadius) + 1;
#pragma unroll
    for (int o = 0; o < kWide; ++o) results[o] = A(0);
#pragma unroll(kRadius < 0 ? 1 : kWide)
    for (int j = 0; j * kVector < kWide + count - 1; ++j) {
      const Cells vector = row[vector_of(group, j)];
#pragma unroll
      for (int i = 0; i < kVector; ++i)
        add_to_windows<kRadius>(taps, j * kVector + i, count, vector.values[i], results);
    }
  }

  /// Adds the pixel `t` steps from the first one to each of the results whose window holds it.
  template <int kRadius>
  static __device__ __forceinline__ void add_to_windows(const SsimTaps<A>& taps, int t, int count, A cell,
                                                        A (&results)[kWide]) {
#pragma unroll
    for (int o = 0; o < kWide; ++o) {
      if (t >= o && t - o < count) results[o] += ssim_tap<kRadius>(taps, t - o) * cell;
    }
  }
};

/// Sums of a column that later rows still add to: after row r, sums[k] is what rows up to r say about the result whose
/// window began with row r - k.
template <class A, int kRadius, int kMaps>
struct SsimColumn {
  static constexpr int kOpen = 2 * kRadius;
  A sums[kOpen][kMaps];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int k = 0; k < kOpen; ++k) {
#pragma unroll
      for (int map = 0; map < kMaps; ++map) sums[k][map] = A(0);
    }
  }
  /// Takes the next row; `maps` becomes the result that is complete with it.
  __device__ __forceinline__ void push(const SsimTaps<A>& taps, A (&maps)[kMaps]) {
#pragma unroll
    for (int map = 0; map < kMaps; ++map) {
      const A cell = maps[map];
      maps[map] = sums[kOpen - 1][map] + ssim_tap<kRadius>(taps, kOpen) * cell;
#pragma unroll
      for (int k = kOpen - 1; k > 0; --k) sums[k][map] = sums[k - 1][map] + ssim_tap<kRadius>(taps, k) * cell;
      sums[0][map] = ssim_tap<kRadius>(taps, 0) * cell;
    }
  }
};

/// How planes of results are cut into what blocks take, one after another.
struct SsimStrips {
  int64_t rows, columns, slices, rows_each, columns_each, strips, blocks, count;

  /// Of planes of size (slices, rows, columns), in strips so high that the blocks fill the device evenly: `at_once` run
  /// at the same time, and a strip costs its rows and `warm_up` more. No strip but a plane's last has less than 16
  /// rows.
  SsimStrips(int64_t planes, const int64_t* size, int64_t columns_each, int64_t at_once, int64_t warm_up)
      : rows(size[1]),
        columns(size[2]),
        slices(size[0]),
        columns_each(columns_each),
        blocks((size[2] + columns_each - 1) / columns_each) {
    double least = 0;
    const int64_t most = (rows + kLeastRows - 1) / kLeastRows;
    for (int64_t n = 1; n <= most; ++n) {
      const int64_t each = (rows + n - 1) / n, real = (rows + each - 1) / each;
      const int64_t all = planes * slices * blocks * real, waves = (all + at_once - 1) / at_once;
      // Of many waves the last one's rest counts by its share, since they do not run in step.
      const double turns = waves > 4 ? double(all) / double(at_once) + 0.5 : double(waves);
      const double cost = turns * double(each + warm_up);
      if (n == 1 || cost < least * 0.999) {
        least = cost;
        strips = real;
        rows_each = each;
      }
      if (waves > 16) break;
    }
    count = planes * per_plane();
  }

  __host__ __device__ int64_t per_plane() const { return slices * strips * blocks; }

  static constexpr int64_t kLeastRows = 16;
};

/// One of them.
template <class Index>
struct SsimStrip {
  Index plane, slice, first_row, last_row, first_column;

  __device__ SsimStrip(const SsimStrips& all, Index index) {
    const auto blocks = static_cast<Index>(all.blocks), strips = static_cast<Index>(all.strips);
    const Index strip = index / blocks % strips;
    slice = index / (blocks * strips) % static_cast<Index>(all.slices);
    plane = index / static_cast<Index>(all.per_plane());
    first_row = strip * static_cast<Index>(all.rows_each);
    last_row = first_row + static_cast<Index>(all.rows_each);
    if (last_row > all.rows) last_row = static_cast<Index>(all.rows);
    first_column = index % blocks * static_cast<Index>(all.columns_each);
  }
  /// How many columns of results it has.
  __device__ int columns_of(const SsimStrips& all) const {
    const int64_t left = all.columns - first_column;
    return static_cast<int>(left < all.columns_each ? left : all.columns_each);
  }
};

/// Filters the rows of a strip; a collective of the block. The results of row r see the pixels of rows r to
/// r + 2 radius: `cells.fetch(row)` gets this thread's pixel of a row, also beyond the last one, from memory, and
/// `cells.widen(fetched, maps)` makes its maps. Pixels of the next step are fetched before they are needed if
/// `cells.kAhead`. `done(row, row of the step, group, maps)` is called by all threads of the block at once, with the
/// filtered maps of the group's columns.
template <int kRadius, int kThreads, class A, class Cells, class Done>
__device__ __forceinline__ void filter_strip(const SsimTaps<A>& taps, const SsimStrip<SsimIndex<kRadius>>& strip,
                                             typename SsimRoom<A, kThreads>::Cells* room, const Cells& cells,
                                             const Done& done) {
  using Room = SsimRoom<A, kThreads>;
  using Index = SsimIndex<kRadius>;
  const int thread = static_cast<int>(threadIdx.x), group = thread % Room::kGroups, own_row = thread / Room::kGroups;
  A* const own = reinterpret_cast<A*>(room) + Room::place(thread);
  const auto put = [&](int row, const A(&maps)[kMoments]) {
#pragma unroll
    for (int map = 0; map < kMoments; ++map) own[(row * kMoments + map) * Room::kRow * Room::kVector] = maps[map];
  };
  const auto filter_rows = [&](Index first) {
    __syncthreads();
    A maps[kMoments][Room::kWide] = {};
    if (group * Room::kWide < Room::results(2 * static_cast<int>(kRadius < 0 ? taps.radius : kRadius))) {
#pragma unroll
      for (int map = 0; map < kMoments; ++map) {
        Room::template across<kRadius>(taps, room + (own_row * kMoments + map) * Room::kRow, group, maps[map]);
      }
    }
    done(first + own_row, own_row, group, maps);
  };

  if constexpr (kRadius >= 0) {
    constexpr int kAhead = Cells::kAhead ? Room::kRows : 1, kOpen = 2 * kRadius;
    SsimColumn<A, kRadius, kMoments> column;
    column.clear();
#pragma unroll(Cells::kAhead ? 2 : 1)
    for (int i = 0; i < kOpen; ++i) {
      A maps[kMoments];
      cells.widen(cells.fetch(strip.first_row + i), maps);
      column.push(taps, maps);
    }
    typename Cells::Raw ahead[kAhead];
    const auto fetch_ahead = [&](Index row) {
      if constexpr (Cells::kAhead) {
#pragma unroll
        for (int i = 0; i < kAhead; ++i) ahead[i] = cells.fetch(row + i);
      }
    };
    fetch_ahead(strip.first_row + kOpen);
    for (Index first = strip.first_row; first < strip.last_row; first += Room::kRows) {
      __syncthreads();  // the rows before have been read
#pragma unroll(kAhead)
      for (int i = 0; i < Room::kRows; ++i) {
        A maps[kMoments];
        if constexpr (Cells::kAhead) {
          cells.widen(ahead[i], maps);
        } else {
          cells.widen(cells.fetch(first + kOpen + i), maps);
        }
        column.push(taps, maps);
        put(i, maps);
      }
      fetch_ahead(first + Room::kRows + kOpen);
      filter_rows(first);
    }
  } else {
    const int count = 2 * static_cast<int>(taps.radius) + 1;
    for (Index first = strip.first_row; first < strip.last_row; first += Room::kRows) {
      __syncthreads();  // the rows before have been read
      A sums[kMoments][Room::kRows] = {};
      for (int t = 0; t < Room::kRows + count - 1; ++t) {
        A maps[kMoments];
        cells.widen(cells.fetch(first + t), maps);
#pragma unroll
        for (int map = 0; map < kMoments; ++map) {
          Room::template add_to_windows<kRadius>(taps, t, count, maps[map], sums[map]);
        }
      }
#pragma unroll
      for (int i = 0; i < Room::kRows; ++i) put(i, {sums[0][i], sums[1][i], sums[2][i], sums[3][i]});
      filter_rows(first);
    }
  }
}

/// Calls each(column, row) for the results in a row of shared memory, neighbouring lanes taking neighbouring columns,
/// after `count` of the maps have gone there; a collective of the block. `own_row` is the same throughout a warp.
template <class A, int kThreads, class Each>
__device__ __forceinline__ void each_column(typename SsimRoom<A, kThreads>::Cells* room, int own_row, int group,
                                            const A (&maps)[kMoments][SsimRoom<A, kThreads>::kWide], int count,
                                            const Each& each) {
  using Room = SsimRoom<A, kThreads>;
  static_assert(Room::kGroups % kWarp == 0, "warps take whole rows or parts of one");
  typename Room::Cells* const row = room + own_row * kMoments * Room::kRow;
  __syncthreads();  // what was in the row has been read
#pragma unroll
  for (int map = 0; map < kMoments; ++map) {
    if (map < count) Room::put(row + map * Room::kRow, group, maps[map]);
  }
  __syncwarp();
  const int lane = group % kWarp, first = (group - lane) * Room::kWide;
#pragma unroll
  for (int j = 0; j < Room::kWide; ++j) {
    const int column = first + j * kWarp + lane;
    each(column, [&](int map) { return reinterpret_cast<const A*>(row + map * Room::kRow)[Room::place(column)]; });
  }
}

}  // namespace pydlx
