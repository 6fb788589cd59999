// Corner pooling of columns: a dense tensor as `outer` blocks of (length, inner), scanned along `length`.
//
// Each thread holds V neighbouring columns (two of 16-bit numbers, so that a warp reads 128 bytes of a line; else one)
// and kColumnCells elements of each; threads along x are side by side on the columns, counted over the blocks, and the
// groups along y follow each other down a column. Their maxima meet in shared memory: one barrier a chunk forward, two
// backward. Reads and writes: the floor (corner_pool.cuh).
#pragma once

#include "common/indexing.cuh"
#include "corner_pool/corner_pool.cuh"

namespace pydlx {

constexpr int kColumnThreads = 256, kColumnCells = 16, kMostColumnGroups = 8;

// How many columns a thread takes where they lie that way.
template <class T>
constexpr int kColumnsOfThread = sizeof(T) == 2 ? 2 : 1;

// Blocks that a multiprocessor is to have room for, as leaves a thread the registers for `maps` times its elements.
template <class T, int V>
constexpr int column_blocks(int maps) {
  const int bytes = maps * V * kColumnCells * static_cast<int>(sizeof(accumulate_t<T>));
  return bytes <= 64 ? 4 : bytes <= 128 && sizeof(T) < 8 ? 3 : 2;
}

// The columns of a scan, V to a thread.
template <class Index>
struct CornerColumns {
  using Count = Index;

  int64_t length, inner, bundles;  // of V columns each, in all
  bool from_end;
  Divisor<Index> in_block;

  CornerColumns(const CornerScan& s, int columns_of_thread)
      : length(s.length),
        inner(s.inner),
        bundles(s.outer * s.inner / columns_of_thread),
        from_end(s.from_end),
        in_block(s.inner / columns_of_thread) {}

  // From an element to the next one of the scan.
  __device__ int64_t step() const { return from_end ? -inner : inner; }

  // Where the scan of a bundle begins.
  template <int V>
  __device__ int64_t start(int64_t bundle) const {
    const auto index = static_cast<Index>(bundle);
    const Index block = in_block.quotient(index), column = (index - block * (static_cast<Index>(inner) / V)) * V;
    return static_cast<int64_t>(block) * length * inner + column + (from_end ? (length - 1) * inner : 0);
  }
};

// How many of `held` elements from `first` on a line of this length has.
__device__ __forceinline__ int cells_inside(int64_t length, int64_t first, int held) {
  const int64_t left = length - first;
  return left < held ? static_cast<int>(left) : held;  // none if negative
}

// Calls visit(r) for the elements that are inside. All of them is the rule, and its own branch: a predicate for each
// would keep loads from being issued in one go.
template <int held, class Visit>
__device__ __forceinline__ void for_cells_inside(int inside, const Visit& visit) {
  if (inside >= held) {
#pragma unroll
    for (int r = 0; r < held; ++r) visit(r);
  } else {
#pragma unroll
    for (int r = 0; r < held; ++r) {
      if (r < inside) visit(r);
    }
  }
}

// Elements of V neighbouring columns, from `from` on by `step`; what is not `inside` is `outside`.
template <class T, int V, int held>
__device__ __forceinline__ void load_columns(const T* from, int64_t step, int inside, accumulate_t<T> outside,
                                             accumulate_t<T> (&to)[V][held]) {
  if (inside < held) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
#pragma unroll
      for (int r = 0; r < held; ++r) to[v][r] = outside;
    }
  }
  for_cells_inside<held>(inside, [&](int r) {
    accumulate_t<T> cells[V];
    load_vector<V>(from + r * step, cells);
#pragma unroll
    for (int v = 0; v < V; ++v) to[v][r] = cells[v];
  });
}

template <class T, int V, int held>
__device__ __forceinline__ void store_columns(T* to, int64_t step, int inside, const accumulate_t<T> (&from)[V][held]) {
  for_cells_inside<held>(inside, [&](int r) {
    accumulate_t<T> cells[V];
#pragma unroll
    for (int v = 0; v < V; ++v) cells[v] = from[v][r];
    store_vector<V>(to + r * step, cells);
  });
}

// With kAdd, the maxima are added to what `add` holds, which may be y, and the sums are rounded once.
template <class T, int V, class Index, bool kAdd>
__global__ void __launch_bounds__(kColumnThreads, PYDLX_BLOCKS((column_blocks<T, V>(kAdd ? 3 : 1))))
    corner_columns_kernel(CornerColumns<Index> s, const T* __restrict__ x, const T* add, T* y) {
  using A = accumulate_t<T>;
  PYDLX_SHARED(A, peaks, 2, V, kColumnThreads);  // two sets, in turn: one barrier a chunk
  const int group = threadIdx.y, groups = blockDim.y, here = thread_of_block();
  const int64_t step = s.step();
  int turn = 0;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x; first < s.bundles;
       first += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t bundle = first + threadIdx.x;
    const bool present = bundle < s.bundles;
    const int64_t start = present ? s.template start<V>(bundle) : 0;
    A best[V];
#pragma unroll
    for (int v = 0; v < V; ++v) best[v] = -INFINITY;
    for (int64_t chunk = 0; chunk < s.length; chunk += groups * kColumnCells, turn ^= 1) {
      const int64_t k = chunk + group * kColumnCells, at = start + k * step;
      const int inside = present ? cells_inside(s.length, k, kColumnCells) : 0;
      A cells[V][kColumnCells];
      load_columns<T, V>(x + at, step, inside, A(-INFINITY), cells);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        scan_cells<false>(cells[v]);
        peaks[turn][v][here] = cells[v][kColumnCells - 1];
      }
      __syncthreads();
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const A* const peak = peaks[turn][v] + threadIdx.x;
#pragma unroll 4
        for (int j = 0; j < group; ++j) best[v] = Later()(best[v], peak[j * blockDim.x]);
#pragma unroll
        for (int r = 0; r < kColumnCells; ++r) cells[v][r] = Later()(best[v], cells[v][r]);
#pragma unroll 4
        for (int j = group; j < groups; ++j) best[v] = Later()(best[v], peak[j * blockDim.x]);
      }
      if constexpr (kAdd) {
        A others[V][kColumnCells];
        load_columns<T, V>(add + at, step, inside, A(0), others);
#pragma unroll
        for (int v = 0; v < V; ++v) {
#pragma unroll
          for (int r = 0; r < kColumnCells; ++r) cells[v][r] += others[v][r];
        }
      }
      store_columns<T, V>(y + at, step, inside, cells);
    }
  }
}

// What the groups of a block tell each other about the runs in V columns a thread; and of lines of several chunks,
// whose groups are a warp wide, the runs that are open.
template <class A, int V, int threads>
struct ColumnRoom {
  A peaks[V][threads], leads[V][threads], last_runs[V][threads];
  A sums[V][kWarp];
  int64_t heads[V][kWarp];  // steps of the scan
  signed char last_heads[V][threads];
};

// The runs of a thread's columns, `held` elements of each, chunk by chunk. Groups follow each other `apart` threads on.
template <class T, int V, int held, int threads>
struct ColumnRuns {
  using A = accumulate_t<T>;
  using Room = ColumnRoom<A, V, threads>;

  Room& room;
  const int here, group, groups, apart;
  A best[V];
  unsigned heads[V];

  __device__ ColumnRuns(Room& shared, int apart_by)
      : room(shared), here(thread_of_block()), group(threadIdx.y), groups(blockDim.y), apart(apart_by) {}

  __device__ void begin() {
#pragma unroll
    for (int v = 0; v < V; ++v) best[v] = -INFINITY;
  }

  // A barrier is to follow.
  __device__ void tell_peaks(const A (&x)[V][held]) {
#pragma unroll
    for (int v = 0; v < V; ++v) room.peaks[v][here] = largest_cell<false>(x[v]);
  }

  // Gathers the runs within the group; a barrier is to follow.
  __device__ void gather(const A (&x)[V][held], A (&g)[V][held], bool first_chunk, bool more_chunks) {
    const int top = here - group * apart;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const A* const peak = room.peaks[v] + top;
      A reaching = best[v];
#pragma unroll 4
      for (int j = 0; j < group; ++j) reaching = Later()(reaching, peak[j * apart]);
      if (more_chunks) {
        best[v] = reaching;
#pragma unroll 4
        for (int j = group; j < groups; ++j) best[v] = Later()(best[v], peak[j * apart]);
      }
      heads[v] = find_heads<false>(x[v], reaching, first_chunk && group == 0);
      room.leads[v][here] = gather_runs<false>(heads[v], g[v]);
      room.last_heads[v][here] = static_cast<signed char>(last_head(heads[v]));
      if (more_chunks) room.last_runs[v][here] = last_run<false>(heads[v], g[v]);
    }
  }

  // Adds what the groups behind have before their first head. g is then what there is to write.
  __device__ void add_groups_behind(A (&g)[V][held]) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      A behind = 0;
      for (int j = group + 1, at = here + apart; j < groups; ++j, at += apart) {
        behind += room.leads[v][at];
        if (room.last_heads[v][at] >= 0) break;
      }
      add_behind<false>(heads[v], behind, g[v]);
    }
  }

  // Goes through the chunk that begins at step `chunk` of the scan and is one of several: the run that came into it is
  // given to its head where it ends, here or with the line. To be called by group 0 for columns that are there.
  __device__ void carry_on(int64_t chunk, int64_t length, T* dx, int64_t step) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      bool open = chunk > 0;  // the run that came in
      A sum = open ? room.sums[v][threadIdx.x] : A(0);
      int64_t head = open ? room.heads[v][threadIdx.x] : 0;
      for (int j = 0, at = here; j < groups; ++j, at += apart) {
        sum += room.leads[v][at];
        const int last = room.last_heads[v][at];
        if (last < 0) continue;
        if (open) dx[head * step + v] = static_cast<T>(sum);
        open = false;
        head = chunk + j * held + last;
        sum = room.last_runs[v][at];
      }
      if (open && chunk + groups * held >= length) dx[head * step + v] = static_cast<T>(sum);
      room.sums[v][threadIdx.x] = sum;
      room.heads[v][threadIdx.x] = head;
    }
  }
};

template <class T, int V, class Index>
__global__ void __launch_bounds__(kColumnThreads, PYDLX_BLOCKS((column_blocks<T, V>(2))))
    corner_columns_backward_kernel(CornerColumns<Index> s, const T* __restrict__ grad, const T* __restrict__ x,
                                   T* __restrict__ dx) {
  using A = accumulate_t<T>;
  using Runs = ColumnRuns<T, V, kColumnCells, kColumnThreads>;
  PYDLX_SHARED(typename Runs::Room, room, 1);
  Runs runs(room[0], blockDim.x);
  const int64_t step = s.step(), held = static_cast<int64_t>(blockDim.y) * kColumnCells;
  const bool chunks = s.length > held;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x; first < s.bundles;
       first += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t bundle = first + threadIdx.x;
    const bool present = bundle < s.bundles;
    const int64_t start = present ? s.template start<V>(bundle) : 0;
    runs.begin();
    for (int64_t chunk = 0; chunk < s.length; chunk += held) {
      const int64_t k = chunk + threadIdx.y * kColumnCells, at = start + k * step;
      const int inside = present ? cells_inside(s.length, k, kColumnCells) : 0;
      A cells[V][kColumnCells], g[V][kColumnCells];
      load_columns<T, V>(x + at, step, inside, A(-INFINITY), cells);
      load_columns<T, V>(grad + at, step, inside, A(0), g);
      runs.tell_peaks(cells);
      __syncthreads();
      runs.gather(cells, g, chunk == 0, chunks);
      __syncthreads();
      runs.add_groups_behind(g);
      store_columns<T, V>(dx + at, step, inside, g);
      if (chunks && threadIdx.y == 0 && present) runs.carry_on(chunk, s.length, dx + start, step);
    }
  }
}

}  // namespace pydlx
