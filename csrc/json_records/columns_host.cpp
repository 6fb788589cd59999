// Columns as NumPy arrays.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <stdexcept>

#include "json_records/json_records.h"

namespace py = pybind11;

namespace pydlx {
namespace {

template <class T>
py::array_t<T> array_of(std::vector<T>&& values) {
  auto* owned = new std::vector<T>(std::move(values));
  const py::capsule free(owned, [](void* memory) { delete static_cast<std::vector<T>*>(memory); });
  return py::array_t<T>(owned->size(), owned->data(), free);
}

// Takes over memory that came from std::malloc.
py::array array_of(char* memory, const char* dtype, const std::vector<py::ssize_t>& shape) {
  const py::capsule free(memory, [](void* owned) { std::free(owned); });
  return py::array(py::dtype(dtype), shape, {}, memory, free);
}

py::object column_of(Columns& columns, size_t field, const Field& it) {
  const auto rows = static_cast<py::ssize_t>(columns.rows()), width = static_cast<py::ssize_t>(it.width);
  switch (it.kind) {
    case Kind::kFlag:
      return array_of(columns.release(field), "?", {rows});
    case Kind::kMask:
      return array_of(columns.release(field), "u1", {rows});
    case Kind::kInteger:
    case Kind::kCount:
      return array_of(columns.release(field), "i8", {rows});
    case Kind::kNumber:
      return array_of(columns.release(field), "f8", {rows});
    case Kind::kNumbers:
      return array_of(columns.release(field), "f8", {rows, width});
    case Kind::kPoints: {
      const py::array pairs = array_of(columns.release(field), "f8", {rows, width, 2});
      return py::make_tuple(pairs, array_of(columns.release_thirds(field), "f8", {rows, width}));
    }
  }
  throw std::invalid_argument("unknown kind of field");
}

Kind kind_of(const std::string& name) {
  static const std::vector<std::pair<const char*, Kind>> kinds = {
      {"integer", Kind::kInteger}, {"number", Kind::kNumber}, {"flag", Kind::kFlag}, {"count", Kind::kCount},
      {"numbers", Kind::kNumbers}, {"points", Kind::kPoints}, {"mask", Kind::kMask}};
  for (const auto& [known, kind] : kinds) {
    if (name == known) return kind;
  }
  throw std::invalid_argument("unknown kind of field: " + name);
}

}  // namespace

std::vector<Field> fields_of(const GivenFields& given) {
  if (given.size() > 64) throw std::invalid_argument("at most 64 fields can be read");
  std::vector<Field> fields;
  for (const auto& [name, kind, width, needed] : given) {
    if (width < 1) throw std::invalid_argument("width must be positive");
    const Kind is = kind_of(kind);
    fields.push_back({name, is, is == Kind::kNumbers || is == Kind::kPoints ? width : 1, needed});
  }
  return fields;
}

py::dict arrays_of(Columns& columns, const std::vector<Field>& fields) {
  py::dict arrays;
  for (size_t field = 0; field < fields.size(); ++field) {
    const Field& it = fields[field];
    const py::str name(it.name);
    if (it.kind != Kind::kMask) {
      arrays[name] = column_of(columns, field, it);
      continue;
    }
    Masks& masks = columns.masks;
    py::dict all;
    all["kinds"] = column_of(columns, field, it);
    all["sizes"] = array_of(std::move(masks.sizes)).reshape({py::ssize_t{-1}, py::ssize_t{2}});
    all["polygons"] = array_of(std::move(masks.polygons));
    all["corners"] = array_of(std::move(masks.corners));
    all["points"] = array_of(std::move(masks.points)).reshape({py::ssize_t{-1}, py::ssize_t{2}});
    all["codes"] = array_of(std::move(masks.codes));
    all["code"] = py::array_t<char>(array_of(std::move(masks.code))).attr("view")("u1");
    all["counts"] = array_of(std::move(masks.counts));
    all["lengths"] = array_of(std::move(masks.lengths));
    arrays[name] = all;
  }
  return arrays;
}

}  // namespace pydlx
