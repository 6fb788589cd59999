// Solves the systems of all column frequencies in place, between the transforms of the rows (maths in recurrence.cuh).
//
// Rows are transformed in pairs: z (planes, pairs, W) is the complex Fourier transform, along the rows and in Makhoul's
// order, of row 2q + i times row 2q + 1; if H is odd, the last row is alone. With w = exp(-i pi l / 2W), for both rows
// at once,
//
//     C_l = w z_l + conj(w z_{W-l}),  C_{W-l} = i (w z_l - conj(w z_{W-l}))              (C_0 = 2 z_0, no C_W)
//     z_l = conj(w) (C_l - i C_{W-l}) / 2,  z_{W-l} = w (C_l + i C_{W-l}) / 2            and back
//
// so a thread that reads columns l and W - l of its rows has two columns of the cosine transform, for l = 0 .. W / 2.
//
// Bytes: each element is read and written once, 8 per element, in pieces of 8 `lanes` bytes; about 20 operations per
// element. A block of at most kThreads threads (kBlocks resident per multiprocessor) processes `lanes` values of l. A
// thread holds kRows rows of its two columns in registers and solves them with initial states of zero; then it gets the
// true states, which enter from the rows above and below, through shared memory and adds their effect.
#pragma once

#include "common/complex.cuh"
#include "common/reduce.cuh"
#include "poisson/plane_sums.cuh"
#include "poisson/recurrence.cuh"

namespace pydlx {

// The shared memory of a block; `pitch` filter states per column.
template <class Filter, int lanes>
struct ColumnRoom {
  ColumnFilter* filters;  // for 2 * lanes columns
  typename Filter::State *ends, *tops;
  Complex<float>* turns;  // w, per lane
  float* level;           // the correction of column 0
  int pitch;

  __host__ __device__ static constexpr int columns() { return 2 * lanes; }
  __host__ __device__ static size_t bytes(int chunks) {
    return columns() * (sizeof(ColumnFilter) + 2 * sizeof(typename Filter::State) * (chunks + 1)) +
           (lanes + 1) * sizeof(Complex<float>);
  }
  __device__ ColumnRoom(unsigned char* memory, int chunks) : pitch(chunks + 1) {
    ends = reinterpret_cast<typename Filter::State*>(memory);
    tops = ends + columns() * pitch;
    filters = reinterpret_cast<ColumnFilter*>(tops + columns() * pitch);
    turns = reinterpret_cast<Complex<float>*>(filters + columns());
    level = reinterpret_cast<float*>(turns + lanes);
  }
};

struct ColumnsCall {
  int height, width, pairs, tiles;
  Formulation formulation;
  float beta, centre, side;
};

// For Dirichlet borders (edges.cuh). The values of the solution at the first and the last column are written as partial
// sums over the tile's even and odd column frequencies, to edges (planes, 2, tiles, height). The charges (planes, 2,
// height) are added to the right side of every column frequency. In both, the weights are the first samples of the
// basis functions.
struct Edges {
  float* values;
  const float* charges;
};

template <class Filter, int kRows, int lanes, int kThreads, int kBlocks>
__global__ __launch_bounds__(kThreads,
                             PYDLX_BLOCKS(kBlocks)) void solve_columns_kernel(ColumnsCall call, Complex<float>* z,
                                                                              MeanOfPlane mean_of_plane, Edges edges) {
  using State = typename Filter::State;
  PYDLX_DYNAMIC_SHARED(unsigned char, memory);
  const int threads = static_cast<int>(blockDim.x), chunks = threads / lanes;
  const ColumnRoom<Filter, lanes> room(memory, chunks);
  const int lane = static_cast<int>(threadIdx.x) % lanes, chunk = static_cast<int>(threadIdx.x) / lanes;
  const int plane = static_cast<int>(blockIdx.x / static_cast<unsigned>(call.tiles));
  const int tile = static_cast<int>(blockIdx.x) - plane * call.tiles, width = call.width;
  const bool inside = tile * lanes + lane <= width / 2;
  const int column = inside ? tile * lanes + lane : 0, mirrored = column == 0 ? 0 : width - column;
  // The rows of this thread's chunk, and their pairs.
  const int first_row = chunk * kRows, rows = min(kRows, call.height - first_row), first_pair = first_row / 2;
  Complex<float>* const pairs = z + static_cast<int64_t>(plane) * call.pairs * width;
  const int offset = first_pair * width + column;

  // Column 0 has the sums of the rows, whose mean over the rows is known in float64.
  const bool sets_mean = !Filter::kDirichlet && mean_of_plane.partials != nullptr && tile == 0;
  if (sets_mean && threadIdx.x < kWarp) {
    const double level = 2.0 * mean_of_plane.of(plane);
    if (threadIdx.x == 0) *room.level = static_cast<float>(level);
  }

  // The filters, computed once per block. For Dirichlet borders the basis has the frequencies in reverse order.
  if (static_cast<int>(threadIdx.x) < room.columns()) {
    const int l = min(tile * lanes + lane, width / 2), which = static_cast<int>(threadIdx.x) / lanes;
    const int number = which == 0 || l == 0 ? l : width - l;
    room.filters[threadIdx.x] = column_filter<Filter::kSecondOrder>(
        call.formulation, call.beta, call.centre, call.side, Filter::kDirichlet ? width - number : number, width);
    if (which == 0) room.turns[lane] = turn(-float(l) / (2.0f * float(width)));
  }

  float x[2][kRows];  // first z at l and at W - l, then the columns of the cosine transform
  const Complex<float>* from = pairs + offset;
#pragma unroll
  for (int n = 0; n < kRows / 2; ++n, from += width) {
    Complex<float> here{0.0f, 0.0f}, there{0.0f, 0.0f};
    if (inside && 2 * n < rows) here = from[0], there = from[mirrored - column];
    x[0][2 * n] = here.re, x[0][2 * n + 1] = here.im;
    x[1][2 * n] = there.re, x[1][2 * n + 1] = there.im;
  }

  __syncthreads();
  {
    const Complex<float> w = room.turns[lane];
#pragma unroll
    for (int n = 0; n < kRows; n += 2) {
      const Complex<float> here = product(w, Complex<float>{x[0][n], x[0][n + 1]});
      const Complex<float> there = product_conjugate(Complex<float>{x[1][n], x[1][n + 1]}, w);
      x[0][n] = here.re + there.re, x[0][n + 1] = here.im + there.im;
      x[1][n] = there.im - here.im, x[1][n + 1] = here.re - there.re;
    }
  }
  // The first sample of a basis function.
  const auto weight = [&](int number) {
    return number == 0 ? 0.0f : cospif(0.5f * float(number) * fast_reciprocal(float(width)));
  };
  if (Filter::kDirichlet && edges.charges != nullptr) {
    const float factor[2] = {column == 0 ? 2.0f : 2.0f * weight(column), 2.0f * weight(mirrored)};
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int parity = (c == 0 ? column : mirrored) % 2;
      const float* charges = edges.charges + (int64_t{2} * plane + parity) * call.height + first_row;
#pragma unroll
      for (int n = 0; n < kRows; ++n) {
        if (n < rows) x[c][n] = fmaf(factor[c], charges[n], x[c][n]);
      }
    }
  }

  // Rows below the plane are zero throughout.
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const ColumnFilter& coefficients = room.filters[c * lanes + lane];
    const Filter filter(coefficients);
    const float scale = coefficients.input;
    State state = Filter::zero(), end = Filter::zero(), top = Filter::zero();
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      state = filter.step(state, x[c][n] * scale);
      if (n == rows - 1) end = state;
      x[c][n] = n < rows ? Filter::newest(state) : 0.0f;
    }
#pragma unroll
    for (int n = kRows - 1; n >= 0; --n) top = filter.step(top, x[c][n]);
    room.ends[(c * lanes + lane) * room.pitch + chunk] = end;
    room.tops[(c * lanes + lane) * room.pitch + chunk] = top;
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x) / kWarp; c < room.columns(); c += threads / kWarp) {
    join_chunks(Filter(room.filters[c]), Chunks(chunks, kRows, call.height), room.ends + c * room.pitch,
                room.tops + c * room.pitch);
  }
  __syncthreads();

  // If the last chunk is not full, the state from below enters above its empty rows.
  const bool full = rows >= kRows;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const Filter filter(room.filters[c * lanes + lane]);
    State above = room.ends[(c * lanes + lane) * room.pitch + chunk];
    const State entering = room.tops[(c * lanes + lane) * room.pitch + chunk];
    State below = full ? entering : Filter::zero();
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      above = filter.step(above, 0.0f);
      x[c][n] = n < rows ? x[c][n] + Filter::newest(above) : 0.0f;
      if (!full && n == rows - 1) x[c][n] += filter.added_above(entering);
      if (!full && n == rows - 2) x[c][n] += filter.added_second_above(entering);
    }
#pragma unroll
    for (int n = kRows - 1; n >= 0; --n) {
      below = filter.step(below, x[c][n]);
      x[c][n] = Filter::newest(below);
    }
  }

  if (Filter::kDirichlet && edges.values != nullptr) {
    const float factor[2] = {inside ? (column == 0 ? 0.5f : weight(column)) : 0.0f,
                             inside && 2 * column != width ? weight(mirrored) : 0.0f};
    float* const values = edges.values + (int64_t{2} * plane * call.tiles + tile) * call.height + first_row;
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      const float a = factor[0] * x[0][n], b = factor[1] * x[1][n];
      float even = (column % 2 == 0 ? a : 0.0f) + (mirrored % 2 == 0 ? b : 0.0f);
      float odd = (column % 2 == 0 ? 0.0f : a) + (mirrored % 2 == 0 ? 0.0f : b);
#pragma unroll
      for (int apart = 1; apart < lanes; apart *= 2) {
        even += exchanged(even, apart);
        odd += exchanged(odd, apart);
      }
      if (n < rows && lane == n % lanes) {
        values[n] = even;
        values[int64_t{call.tiles} * call.height + n] = odd;
      }
    }
    return;
  }

  float missing = 0.0f;
  if (sets_mean) {
#pragma unroll
    for (int n = 0; n < kRows; ++n) missing += x[0][n];
    float* const sums = reinterpret_cast<float*>(memory);
    __syncthreads();  // wait until states have been read
    if (lane == 0) sums[chunk] = missing;
    __syncthreads();
    double total = 0;
#pragma unroll 1
    for (int k = static_cast<int>(threadIdx.x) % kWarp; k < chunks; k += kWarp) total += sums[k];
    missing = *room.level - static_cast<float>(sum_of_warp(total)) * fast_reciprocal(float(call.height));
    if (lane != 0) missing = 0.0f;
  }

  if (!inside) return;
  const Complex<float> w = room.turns[lane];
  Complex<float>* to = pairs + offset;
#pragma unroll
  for (int n = 0; n < kRows / 2; ++n, to += width) {
    if (2 * n >= rows) break;
    const Complex<float> a{x[0][2 * n] + missing, x[0][2 * n + 1] + missing}, b{x[1][2 * n], x[1][2 * n + 1]};
    const Complex<float> minus{0.5f * (a.re + b.im), 0.5f * (a.im - b.re)};
    const Complex<float> plus{0.5f * (a.re - b.im), 0.5f * (a.im + b.re)};
    to[0] = product_conjugate(minus, w);
    if (column != mirrored) to[mirrored - column] = product(plus, w);
  }
}

}  // namespace pydlx
