// Masks from text and from polygons, see mask_spans.h.
#include "mask_spans/mask_spans.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "mask_spans/bind.h"

namespace pydlx {
namespace {

constexpr double kScale = 5;  // of the fine grid

// Begins a span, or goes on with the last one if that ends here.
void add_span(int64_t begin, int64_t end, size_t first, std::vector<Span>& spans) {
  if (begin == end) return;
  if (spans.size() > first && spans.back().end == begin) {
    spans.back().end = static_cast<int32_t>(end);
  } else {
    spans.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
  }
}

// The next number of the text; false where the text ends within it or holds another character.
bool next_number(const char*& at, const char* end, int64_t& number) {
  if (at < end && static_cast<unsigned>(*at - 48) < 32) {  // most numbers are of one character
    const int bits = *at++ - 48;
    number = bits & 16 ? bits - 32 : bits;
    return true;
  }
  number = 0;
  for (int shift = 0; shift < 60; shift += 5) {
    if (at == end) return false;
    const int bits = *at++ - 48;
    if (bits < 0 || bits > 63) return false;
    number |= static_cast<int64_t>(bits & 31) << shift;
    if (bits & 32) continue;
    if (bits & 16) number |= -(int64_t{1} << (shift + 5));
    return true;
  }
  return false;
}

struct Point {
  int32_t x, y;
};

// C's conversion from double drops the fraction, which rounds numbers below zero upwards. NaN becomes 0; corners that
// are millions of pixels away come nearer, as every point on the way to them is visited.
int32_t truncated(double value) {
  constexpr double kLargest = 1 << 24;
  return value != value ? 0 : static_cast<int32_t>(std::clamp(value, -kLargest, kLargest));
}

// Where columns of an image change between outside and inside of a polygon.
class Crossings {
 public:
  Crossings(int64_t height, int64_t width, std::vector<int64_t>& places)
      : height_(height), width_(width), places_(places) {}

  // The points from one corner to the next, both included.
  void follow(Point from, Point to) {
    const int32_t dx = std::abs(to.x - from.x), dy = std::abs(to.y - from.y);
    const bool along_x = dx >= dy;
    const bool turned = along_x ? from.x > to.x : from.y > to.y;
    if (turned) std::swap(from, to);  // so that both directions round alike
    const int32_t steps = along_x ? dx : dy;
    const double slope = steps == 0 ? 0 : static_cast<double>(along_x ? to.y - from.y : to.x - from.x) / steps;
    for (int32_t step = 0; step <= steps; ++step) {
      const int32_t t = turned ? steps - step : step;
      meet(along_x ? Point{from.x + t, truncated(from.y + slope * t + .5)}
                   : Point{truncated(from.x + slope * t + .5), from.y + t});
    }
  }

 private:
  void meet(Point point) {
    if (started_ && point.x != last_.x) cross(point);
    started_ = true;
    last_ = point;
  }

  void cross(Point point) {
    const double column = (edge(point) + .5) / kScale - .5;
    if (std::floor(column) != column || column < 0 || column > static_cast<double>(width_ - 1)) return;
    const double row = (std::min(point.y, last_.y) + .5) / kScale - .5;
    const double inside = std::ceil(std::clamp(row, 0.0, static_cast<double>(height_)));
    places_.push_back(static_cast<int64_t>(column) * height_ + static_cast<int64_t>(inside));
  }

  // The column that lies between this point and the last one.
  int32_t edge(Point point) const { return point.x < last_.x ? point.x : point.x - 1; }

  int64_t height_, width_;
  std::vector<int64_t>& places_;
  Point last_{0, 0};
  bool started_ = false;
};

void draw_polygon(const double* points, int64_t corners, int64_t height, int64_t width, std::vector<int64_t>& places,
                  std::vector<Span>& spans) {
  places.clear();
  Crossings crossings(height, width, places);
  const auto corner = [&](int64_t k) {
    return Point{truncated(kScale * points[2 * k] + .5), truncated(kScale * points[2 * k + 1] + .5)};
  };
  for (int64_t k = 0; k < corners; ++k) crossings.follow(corner(k), corner(k + 1 == corners ? 0 : k + 1));
  std::sort(places.begin(), places.end());
  if (places.size() % 2) places.push_back(height * width);
  const size_t first = spans.size();
  for (size_t k = 0; k + 1 < places.size(); k += 2) add_span(places[k], places[k + 1], first, spans);
}

// Makes the spans from `first` on, of several masks, those of their union.
void unite(size_t first, std::vector<Span>& spans) {
  std::sort(spans.begin() + first, spans.end(), [](Span a, Span b) { return a.begin < b.begin; });
  size_t last = first;
  for (size_t k = first + 1; k < spans.size(); ++k) {
    if (spans[k].begin <= spans[last].end) {
      spans[last].end = std::max(spans[last].end, spans[k].end);
    } else {
      spans[++last] = spans[k];
    }
  }
  if (spans.size() > first) spans.resize(last + 1);
}

}  // namespace

RunFault read_runs(const char* text, int64_t size, int64_t pixels, std::vector<Span>& spans) {
  const size_t first = spans.size();
  const char *at = text, *end = text + size;
  int64_t place = 0, run[2] = {0, 0};  // the last runs outside and inside
  for (int64_t k = 0; at < end; ++k) {
    int64_t number;
    RunFault fault = next_number(at, end, number) ? RunFault::kNone : RunFault::kText;
    int64_t& length = run[k % 2];
    length = number + (k > 2 ? length : 0);
    if (fault == RunFault::kNone && (length < 0 || length > pixels - place)) fault = RunFault::kLengths;
    if (fault != RunFault::kNone) {
      spans.resize(first);
      return fault;
    }
    if (k % 2) add_span(place, place + length, first, spans);
    place += length;
  }
  if (place == pixels) return RunFault::kNone;
  spans.resize(first);
  return RunFault::kLengths;
}

void draw_polygons(const double* points, const int64_t* offsets, int64_t polygons, int64_t height, int64_t width,
                   std::vector<Span>& spans) {
  std::vector<int64_t> places;
  const size_t first = spans.size();
  for (int64_t k = 0; k < polygons; ++k) {
    draw_polygon(points + 2 * offsets[k], offsets[k + 1] - offsets[k], height, width, places, spans);
  }
  if (polygons > 1) unite(first, spans);
}

namespace py = pybind11;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// Spans (S, 2) as an array, which keeps their memory.
Array<int32_t> as_array(std::vector<Span>&& spans) {
  static_assert(sizeof(Span) == 2 * sizeof(int32_t));
  auto* kept = new std::vector<Span>(std::move(spans));
  const py::capsule owner(kept, [](void* memory) { delete static_cast<std::vector<Span>*>(memory); });
  return Array<int32_t>({static_cast<py::ssize_t>(kept->size()), py::ssize_t{2}},
                        reinterpret_cast<const int32_t*>(kept->data()), owner);
}

py::tuple rle_spans(const Array<uint8_t>& code, const Array<int64_t>& code_offsets, const Array<int64_t>& pixels) {
  const int64_t count = pixels.size();
  Array<int64_t> offsets(count + 1);
  Array<uint8_t> faults(count);
  std::vector<Span> spans;
  spans.reserve(code.size() / 2 + count);  // a span is of two numbers
  offsets.mutable_data()[0] = 0;
  {
    const py::gil_scoped_release unlocked;
    const auto* text = reinterpret_cast<const char*>(code.data());
    const int64_t* at = code_offsets.data();
    for (int64_t i = 0; i < count; ++i) {
      faults.mutable_data()[i] =
          static_cast<uint8_t>(read_runs(text + at[i], at[i + 1] - at[i], pixels.data()[i], spans));
      offsets.mutable_data()[i + 1] = static_cast<int64_t>(spans.size());
    }
  }
  return py::make_tuple(as_array(std::move(spans)), offsets, faults);
}

py::tuple polygon_spans(const Array<double>& points, const Array<int64_t>& polygon_offsets,
                        const Array<int64_t>& mask_offsets, const Array<int64_t>& sizes) {
  const int64_t count = mask_offsets.size() - 1;
  Array<int64_t> offsets(count + 1);
  std::vector<Span> spans;
  offsets.mutable_data()[0] = 0;
  {
    const py::gil_scoped_release unlocked;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = mask_offsets.data()[i];
      draw_polygons(points.data(), polygon_offsets.data() + first, mask_offsets.data()[i + 1] - first,
                    sizes.data()[2 * i], sizes.data()[2 * i + 1], spans);
      offsets.mutable_data()[i + 1] = static_cast<int64_t>(spans.size());
    }
  }
  return py::make_tuple(as_array(std::move(spans)), offsets);
}

// Requires that the offsets rise within the spans, so that nothing outside of these is read.
void check_offsets(const char* name, const Array<int32_t>& spans, const Array<int64_t>& offsets) {
  const int64_t masks = offsets.size() - 1;
  const int64_t* at = offsets.data();
  if (masks < 0 || at[0] < 0 || at[masks] > spans.shape(0) || !std::is_sorted(at, at + masks + 1)) {
    throw py::index_error(std::string(name) + ": offsets must rise from 0 to the number of spans");
  }
}

py::tuple chosen_spans(const Array<int32_t>& spans, const Array<int64_t>& offsets, const Array<int64_t>& rows) {
  check_offsets("chosen_spans", spans, offsets);
  const int64_t count = rows.size(), masks = offsets.size() - 1;
  const int64_t *from = offsets.data(), *row = rows.data();
  Array<int64_t> chosen_offsets(count + 1);
  int64_t* to = chosen_offsets.mutable_data();
  to[0] = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (row[i] < 0 || row[i] >= masks) throw py::index_error("chosen_spans: rows must be places of masks");
    to[i + 1] = to[i] + from[row[i] + 1] - from[row[i]];
  }
  Array<int32_t> chosen({static_cast<py::ssize_t>(to[count]), py::ssize_t{2}});
  int32_t* memory = chosen.mutable_data();
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(memory + 2 * to[i], spans.data() + 2 * from[row[i]], (to[i + 1] - to[i]) * sizeof(Span));
  }
  return py::make_tuple(chosen, chosen_offsets);
}

Array<double> mask_areas(const Array<int32_t>& spans, const Array<int64_t>& offsets) {
  check_offsets("mask_areas", spans, offsets);
  const int64_t masks = offsets.size() - 1;
  const int64_t* at = offsets.data();
  Array<double> areas(masks);
  for (int64_t i = 0; i < masks; ++i) {
    int64_t pixels = 0;
    for (int64_t k = 2 * at[i]; k < 2 * at[i + 1]; k += 2) pixels += spans.data()[k + 1] - spans.data()[k];
    areas.mutable_data()[i] = static_cast<double>(pixels);
  }
  return areas;
}

}  // namespace

void bind_mask_spans(py::module_& m) {
  m.def("rle_spans", &rle_spans,
        "Spans (S, 2), offsets (n + 1,) and faults (n,) of n masks given as COCO's text (B,), where the text of each "
        "begins (n + 1,), and how many pixels each has (n,).");
  m.def("chosen_spans", &chosen_spans,
        "Spans (S', 2) and offsets (m + 1,) of some masks, by their places (m,), out of the spans (S, 2) and offsets "
        "(n + 1,) of all.");
  m.def("mask_areas", &mask_areas, "Pixels (n,) of the masks whose spans (S, 2) and offsets (n + 1,) are given.");
  m.def("polygon_spans", &polygon_spans,
        "Spans (S, 2) and offsets (n + 1,) of n masks given as polygons: their points (V, 2), where the points of each "
        "polygon begin, where the polygons of each mask begin, and height and width (n, 2).");
}

}  // namespace pydlx
