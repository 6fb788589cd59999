// Masks as COCO's files hold them, turned into spans of pixels.
//
// Pixels are counted column after column. A span [begin, end) is a stretch of pixels that belong to the mask; the spans
// of a mask rise, and neither touch nor overlap each other.
//
// Run lengths. A mask is h * w pixels as lengths of alternate stretches outside and inside of it, the first one outside
// and perhaps of length 0. COCO writes them as text: each number in groups of five bits, the lowest first, a character
// 48 + bits for each, with 32 added where more groups follow; the sign is bit 16 of the last group, and from the fourth
// run on the number is the difference to the run before the last.
//
// Polygons, as the original implementation draws them. Corners are scaled by 5 and rounded; the edges are followed
// point by point along their longer side. Wherever the column of that fine grid changes to one whose middle is the
// middle of a pixel, the row there (rounded up to whole pixels, cut to the image) is where a column of the mask changes
// between outside and inside. A place that is met an even number of times changes nothing.
#pragma once

#include <cstdint>
#include <vector>

namespace pydlx {

struct Span {
  int32_t begin, end;
};

// What can be wrong with a mask's text.
enum class RunFault : uint8_t { kNone = 0, kText = 1, kLengths = 2 };

// Appends the spans of a mask given as text; none if that is at fault.
RunFault read_runs(const char* text, int64_t size, int64_t pixels, std::vector<Span>& spans);

// Appends the spans of the pixels in any of these polygons: x, y of the corners of polygon k are
// points[2 * offsets[k]], ..., points[2 * offsets[k + 1]).
void draw_polygons(const double* points, const int64_t* offsets, int64_t polygons, int64_t height, int64_t width,
                   std::vector<Span>& spans);

}  // namespace pydlx
