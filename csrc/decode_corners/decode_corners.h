// CornerNet's decoding (Law and Deng, arXiv 1808.01244): boxes from the maps of their top-left and bottom-right
// corners.
//
//     1. The score of a pixel is its heat if no pixel of the window around it, in the same channel, is higher; else 0.
//        The window ends at the map's border.
//     2. The corners are the K = min(top_k, C H W) pixels of a map with the highest scores, over (class, y, x) jointly.
//     3. Each top-left corner is paired with each bottom-right one, at (x, y) + offset. The score of a pair is the mean
//        of its corners' scores; or -1 if it is rejected, because the classes differ, the tags are more than
//        tag_threshold apart, br.x < tl.x or br.y < tl.y.
//     4. The detections are the M = min(max_detections, K^2) best pairs.
//
// Scores are sorted in descending order, with NaN above all numbers (so a NaN is a peak). Ties go to the lower index:
// of pixels by (class, y, x), of pairs by (rank of the top-left corner, rank of the bottom-right one). Rejected pairs
// are ties at -1 and keep their boxes. A NaN tag or offset rejects no pair.
//
// Shapes: heat (B, C, H, W), tag (B, 1, H, W), offset (B, 2, H, W: x, y), of one dtype, for both kinds of corner.
// Results: boxes (B, M, 4), scores (B, M) and corner scores (B, M, 2), in the accumulation dtype (float32 for 16-bit
// maps); labels (B, M) int64, the top-left corner's.
//
// Bytes: both heat maps must be read once, 2 B C H W elements; of the other maps B K pixels each. Only pixels above the
// K-th best found so far, which are few, are compared with their neighbours.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <tuple>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/ranked.h"
#include "common/tensor_utils.h"

namespace pydlx {

struct DecodeTask {
  int64_t batch, classes, height, width;
  int64_t reach;    // pixels of the window to each side of its centre
  int64_t corners;  // K
  int64_t rows;     // M
  double tag_threshold;

  PYDLX_HOST_DEVICE int64_t plane() const { return height * width; }
  PYDLX_HOST_DEVICE int64_t cells() const { return classes * plane(); }
};

// The contiguous maps of one kind of corner.
template <class T>
struct CornerMaps {
  const T *heat, *tag, *offset;
};

template <class A>
struct Corner {
  A score, x, y, tag;
  int64_t label;
};

template <class A>
struct DecodeResults {
  A *boxes, *scores, *corner_scores;
  int64_t* labels;

  PYDLX_HOST_DEVICE void write(int64_t row, const Corner<A>& tl, const Corner<A>& br, A score) const {
    A* box = boxes + 4 * row;
    box[0] = tl.x;
    box[1] = tl.y;
    box[2] = br.x;
    box[3] = br.y;
    scores[row] = score;
    corner_scores[2 * row] = tl.score;
    corner_scores[2 * row + 1] = br.score;
    labels[row] = tl.label;
  }
};

// Step 1 for one pixel of a batch entry's heat map (C, H, W).
template <class T>
PYDLX_HOST_DEVICE accumulate_t<T> cell_score(const DecodeTask& task, const T* heat, int64_t cell) {
  using A = accumulate_t<T>;
  const int64_t x = cell % task.width, y = cell / task.width % task.height;
  const int64_t left = x < task.reach ? 0 : x - task.reach, top = y < task.reach ? 0 : y - task.reach;
  const int64_t right = task.width - x > task.reach ? x + task.reach : task.width - 1;
  const int64_t bottom = task.height - y > task.reach ? y + task.reach : task.height - 1;
  const T* plane = heat + cell - (y * task.width + x);
  const A score = static_cast<A>(heat[cell]);
  for (int64_t row = top; row <= bottom; ++row) {
    for (int64_t column = left; column <= right; ++column) {
      if (is_higher(static_cast<A>(plane[row * task.width + column]), score)) return 0;
    }
  }
  return score;
}

// Whether a pixel with this heat may rank above an item of score `last` and lower index. The pixel's score is its heat
// or 0, so it cannot if neither is above `last`.
template <class A>
PYDLX_HOST_DEVICE bool may_rank_above(A last, A heat) {
  return !(last >= 0 && heat <= last);
}

template <class T, class A>
PYDLX_HOST_DEVICE Corner<A> corner_at(const DecodeTask& task, const CornerMaps<T>& maps, int64_t entry,
                                      const Ranked<A>& cell) {
  const int64_t plane = task.plane(), place = cell.index % plane;
  const T* offset = maps.offset + 2 * entry * plane + place;
  return {cell.score, static_cast<A>(place % task.width) + static_cast<A>(offset[0]),
          static_cast<A>(place / task.width) + static_cast<A>(offset[plane]),
          static_cast<A>(maps.tag[entry * plane + place]), cell.index / plane};
}

template <class A>
PYDLX_HOST_DEVICE bool is_rejected(const DecodeTask& task, const Corner<A>& tl, const Corner<A>& br) {
  const A apart = tl.tag - br.tag;
  return tl.label != br.label || (apart < 0 ? -apart : apart) > static_cast<A>(task.tag_threshold) || br.x < tl.x ||
         br.y < tl.y;
}

constexpr int kRejectedScore = -1;

template <class A>
PYDLX_HOST_DEVICE A mean_score(const Corner<A>& tl, const Corner<A>& br) {
  return (tl.score + br.score) / 2;
}

// The checked arguments and the output tensors of one call.
struct DecodeCall {
  struct Maps {
    Tensor heat, tag, offset;
  };

  Maps tl, br;
  DecodeTask task;
  Tensor boxes, scores, corner_scores, labels;

  DecodeCall(const Maps& tl_, const Maps& br_, int64_t top_k, int64_t kernel_size, double tag_threshold,
             int64_t max_detections)
      : tl(checked(tl_, tl_.heat, "heat_tl", "tag_tl", "offset_tl")),
        br(checked(br_, tl_.heat, "heat_br", "tag_br", "offset_br")) {
    const Arguments arguments("decode_corners", "heat_tl", tl.heat);
    arguments.check_positive("top_k", top_k);
    arguments.check_positive("kernel_size", kernel_size);
    arguments.check_positive("max_detections", max_detections);
    STD_TORCH_CHECK(kernel_size % 2 == 1, "decode_corners: kernel_size must be odd, got ", kernel_size);
    const auto sizes = tl.heat.sizes();
    const int64_t cells = sizes[1] * sizes[2] * sizes[3], corners = std::min(top_k, cells);
    const bool plenty = corners > 0 && corners > max_detections / corners;
    task = {sizes[0],
            sizes[1],
            sizes[2],
            sizes[3],
            std::min(kernel_size / 2, std::max(sizes[2], sizes[3])),
            corners,
            plenty ? max_detections : corners * corners,
            tag_threshold};
    const bool is_double = tl.heat.scalar_type() == ScalarType::Double;
    const ScalarType wide = is_double ? ScalarType::Double : ScalarType::Float;
    boxes = uninitialised(tl.heat, {task.batch, task.rows, 4}, wide);
    scores = uninitialised(tl.heat, {task.batch, task.rows}, wide);
    corner_scores = uninitialised(tl.heat, {task.batch, task.rows, 2}, wide);
    labels = uninitialised(tl.heat, {task.batch, task.rows}, ScalarType::Long);
  }

  template <class A>
  DecodeResults<A> results() const {
    return {output_data<A>(boxes), output_data<A>(scores), output_data<A>(corner_scores), output_data<int64_t>(labels)};
  }

  std::tuple<Tensor, Tensor, Tensor, Tensor> outputs() const { return {boxes, scores, corner_scores, labels}; }

 private:
  static Maps checked(const Maps& maps, const Tensor& first, const char* heat, const char* tag, const char* offset) {
    const Arguments arguments("decode_corners", "heat_tl", first);
    arguments.check_shape("heat_tl", first, {kAnySize, kAnySize, kAnySize, kAnySize});
    const int64_t batch = first.size(0), height = first.size(2), width = first.size(3);
    arguments.check_alike(heat, maps.heat);
    arguments.check(tag, maps.tag, first.scalar_type(), {batch, 1, height, width});
    arguments.check(offset, maps.offset, first.scalar_type(), {batch, 2, height, width});
    return {made_contiguous(maps.heat), made_contiguous(maps.tag), made_contiguous(maps.offset)};
  }
};

template <class T>
CornerMaps<T> corner_maps(const DecodeCall::Maps& maps) {
  return {input_data<T>(maps.heat), input_data<T>(maps.tag), input_data<T>(maps.offset)};
}

}  // namespace pydlx
