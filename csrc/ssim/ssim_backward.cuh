// The backward of images in one pass: x and y are read once, dx and dy written once, and the slopes of S never leave
// the block (maths in ssim.h, filters in ssim_filter.cuh).
//
// Gradients see slopes 2 radius above and before them, and those the pixels that far below and behind. So a block's
// first column of pixels lies 2 radius before its first one of gradients, and slot j of a row in shared memory is
// column j from there of pixels and of slopes, and the j-th of gradients. In steps of kRows rows
//
//     a thread a column   reads pixels and pushes their moments into the column's sums; what is complete goes to
//     `front` kWide columns each  filter `front` along the row, make slopes of the moments, and put them into `back`
//     kWide columns each  filter `back` along the row; what is found goes to `front`
//     a thread a column   pushes that into sums of its own, and writes dx and dy of the row that is complete
//
// with a barrier after each line but the last, where a thread meets what it has read itself. Per pixel, 11 taps and one
// gradient 154 multiply-adds and some 70 other instructions; 7 of 8 columns of a block give gradients.
#pragma once

#include "ssim/ssim.cuh"

namespace pydlx {

constexpr int kSsimBackwardThreads = 192;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kSsimBackwardBlocks = 1;  // on a multiprocessor, which has shared memory for one
#else
constexpr int kSsimBackwardBlocks = 2;
#endif

/// Columns of gradients that a block of ssim_backward_kernel gives.
template <int kRadius>
constexpr int kSsimBackwardColumns = SsimRoom<float, kSsimBackwardThreads>::results(4 * kRadius);

/// Bytes of shared memory: rows of moments, and of slopes.
template <int kMaps>
constexpr int kSsimBackwardBytes = SsimRoom<float, kSsimBackwardThreads>::kRows * (kMoments + kMaps) *
                                   SsimRoom<float, kSsimBackwardThreads>::kRow * kVectorBytes;

/// A block to a strip. dx and dy from four maps of slopes; or from three what stands for dx here, the gradient of one
/// image (side 1 for x, -1 for y).
template <int kRadius, int kMaps, class T>
__global__ void __launch_bounds__(kSsimBackwardThreads, PYDLX_BLOCKS(kSsimBackwardBlocks))
    ssim_backward_kernel(const SsimImages<T> images, const SsimStrips strips, const float* __restrict__ grad,
                         bool grad_is_map, float side, T* __restrict__ dx, T* __restrict__ dy) {
  using Room = SsimRoom<float, kSsimBackwardThreads>;
  constexpr int kRows = Room::kRows, kWide = Room::kWide, kHalo = 2 * kRadius, kColumns = kSsimBackwardColumns<kRadius>;
  PYDLX_DYNAMIC_SHARED(typename Room::Cells, front);
  typename Room::Cells* const back = front + kRows * kMoments * Room::kRow;
  const int thread = static_cast<int>(threadIdx.x), group = thread % Room::kGroups, own_row = thread / Room::kGroups;
  const auto own = [&](typename Room::Cells* rows, int row) -> float& {
    return reinterpret_cast<float*>(rows + row * Room::kRow)[Room::place(thread)];
  };
  const int rows = static_cast<int>(images.shape.out[1]), columns = static_cast<int>(images.shape.out[2]),
            width = static_cast<int>(images.shape.in[2]);
  const SsimStrip<int> strip(strips, static_cast<int>(blockIdx.x));
  const SsimCentre<T> centre(images, strip.plane);
  const int column = strip.first_column + thread;  // of gradients
  const bool writes = thread < kColumns && column < width;
  const float of_mean = grad_is_map ? 1.0f : grad[strip.plane] / static_cast<float>(images.shape.out_plane());
  // Pixels outside of the image are those at its border: the slopes that would see them are set to 0.
  const FlatCells<T, int> cells(images, centre, strip.plane, max(column - kHalo, 0));
  const FlatCells<T, int> pixels(images, centre, strip.plane, column);
  SsimColumn<float, kRadius, kMoments> moment_sums;
  SsimColumn<float, kRadius, kMaps> slope_sums;
  moment_sums.clear();
  slope_sums.clear();
#pragma unroll 2
  for (int i = 0; i < kHalo; ++i) {
    float maps[kMoments];
    cells.widen(cells.fetch(max(strip.first_row - kHalo + i, 0)), maps);
    moment_sums.push(images.taps, maps);
  }
  typename FlatCells<T, int>::Raw ahead[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) ahead[i] = cells.fetch(strip.first_row + i);

  // `first` is a row of slopes, and of the gradient that is complete with it.
  for (int first = strip.first_row - kHalo; first < strip.last_row; first += kRows) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float maps[kMoments];
      cells.widen(ahead[i], maps);
      moment_sums.push(images.taps, maps);
#pragma unroll
      for (int map = 0; map < kMoments; ++map) own(front, i * kMoments + map) = maps[map];
    }
    if (grad_is_map) {  // to where the first of the slopes will be
      const float* const plane_grad = grad + strip.plane * images.shape.out_plane();
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int row = first + i, from = column - kHalo;
        const bool inside = row >= 0 && row < rows && from >= 0 && from < columns;
        own(back, i * kMaps) = inside ? plane_grad[static_cast<int64_t>(row) * columns + from] : 0.0f;
      }
    }
    __syncthreads();

    if (group * kWide < kColumns + kHalo) {
      float maps[kMoments][kWide];
#pragma unroll
      for (int map = 0; map < kMoments; ++map) {
        Room::template across<kRadius>(images.taps, front + (own_row * kMoments + map) * Room::kRow, group, maps[map]);
      }
      const int row = first + own_row, from = strip.first_column - kHalo + group * kWide;
      const unsigned places = row >= 0 && row < rows ? columns : 0;  // of the row
#pragma unroll
      for (int o = 0; o < kWide; ++o) {
        const float moments[kMoments] = {maps[0][o], maps[1][o], maps[2][o], maps[3][o]};
        const bool inside = static_cast<unsigned>(from + o) < places;
        float slopes[kMoments];
        SsimPlace<float>(moments, images.formula, centre.s(), centre.d()).slopes(slopes);
        if (kMaps == 3) slopes[2] += side * slopes[3];
#pragma unroll
        for (int map = 0; map < kMaps; ++map) maps[map][o] = inside ? slopes[map] : 0.0f;
      }
      if (grad_is_map) {
        float row_grad[kWide];
        Room::get(back + own_row * kMaps * Room::kRow, group, row_grad);
#pragma unroll
        for (int o = 0; o < kWide; ++o) {
#pragma unroll
          for (int map = 0; map < kMaps; ++map) maps[map][o] *= row_grad[o];
        }
      }
#pragma unroll
      for (int map = 0; map < kMaps; ++map) Room::put(back + (own_row * kMaps + map) * Room::kRow, group, maps[map]);
    }
    __syncthreads();

    if (group * kWide < kColumns) {
#pragma unroll
      for (int map = 0; map < kMaps; ++map) {
        float filtered[kWide];
        Room::template across<kRadius>(images.taps, back + (own_row * kMaps + map) * Room::kRow, group, filtered);
        Room::put(front + (own_row * kMoments + map) * Room::kRow, group, filtered);
      }
    }
    __syncthreads();

#pragma unroll
    for (int i = 0; i < kRows; ++i) ahead[i] = cells.fetch(first + kHalo + kRows + i);
    // Pixels are fetched for several rows at once, since loads do not overtake stores.
    constexpr int kAtOnce = kRows / 2;
#pragma unroll
    for (int from = 0; from < kRows; from += kAtOnce) {
      typename FlatCells<T, int>::Raw here[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) here[i] = pixels.fetch(max(first + from + i, 0));
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        float maps[kMaps];
#pragma unroll
        for (int map = 0; map < kMaps; ++map) maps[map] = own(front, (from + i) * kMoments + map);
        slope_sums.push(images.taps, maps);
        const int row = first + from + i;
        if (!writes || row < strip.first_row || row >= strip.last_row) continue;
        const float of[kMoments] = {maps[0], maps[1], maps[2], kMaps == 4 ? maps[kMaps - 1] : 0.0f};
        const SsimPixel<float> pixel(centre, here[i].x, here[i].y, of);
        const int64_t at = pixels.first + static_cast<int64_t>(row) * width + column;
        dx[at] = static_cast<T>(of_mean * (kMaps == 4 ? pixel.dx() : pixel.along_s + side * pixel.along_d));
        if (kMaps == 4) dy[at] = static_cast<T>(of_mean * pixel.dy());
      }
    }
  }
}

}  // namespace pydlx
