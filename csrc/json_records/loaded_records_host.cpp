// A list of dictionaries, as json.load makes them, as columns.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "json_records/json_records.h"

namespace py = pybind11;

namespace pydlx {
namespace {

constexpr int64_t kLargestId = 1'000'000'000'000'000'000;  // as many digits as the reader of text takes
constexpr int64_t kLargestExact = int64_t{1} << 53;

bool is_list(PyObject* value) { return PyList_CheckExact(value) || PyTuple_CheckExact(value); }

bool take_integer(PyObject* value, int64_t& result) {
  if (!PyLong_CheckExact(value)) return false;  // nor True
  int overflow = 0;
  result = PyLong_AsLongLongAndOverflow(value, &overflow);
  return !overflow && result > -kLargestId && result < kLargestId;
}

bool take_number(PyObject* value, double& result) {
  if (PyFloat_Check(value)) {
    result = PyFloat_AS_DOUBLE(value);
    return std::isfinite(result);
  }
  int64_t whole;
  if (!take_integer(value, whole) || whole < -kLargestExact || whole > kLargestExact) return false;
  result = static_cast<double>(whole);
  return true;
}

bool take_count(PyObject* value, int64_t& result) {
  return take_integer(value, result) && result >= 0 && result <= kLargestCount;
}

bool take_flag(PyObject* value, char& result) {
  int64_t whole = value == Py_True;
  if (!PyBool_Check(value) && !take_integer(value, whole)) return false;
  result = whole != 0;
  return true;
}

bool take_numbers(PyObject* value, int64_t width, double* results) {
  if (!is_list(value) || PySequence_Fast_GET_SIZE(value) != width) return false;
  PyObject** items = PySequence_Fast_ITEMS(value);
  for (int64_t i = 0; i < width; ++i) {
    if (!take_number(items[i], results[i])) return false;
  }
  return true;
}

bool take_points(PyObject* value, int64_t width, double* pairs, double* thirds) {
  if (!is_list(value) || PySequence_Fast_GET_SIZE(value) != 3 * width) return false;
  PyObject** items = PySequence_Fast_ITEMS(value);
  for (int64_t i = 0; i < width; ++i) {
    if (!take_number(items[3 * i], pairs[2 * i]) || !take_number(items[3 * i + 1], pairs[2 * i + 1]) ||
        !take_number(items[3 * i + 2], thirds[i])) {
      return false;
    }
  }
  return true;
}

bool take_polygons(PyObject* value, Masks& masks) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* polygon = PySequence_Fast_ITEMS(value)[i];
    if (!is_list(polygon)) return false;
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(polygon);
    if (size < 6 || size % 2) return false;
    const size_t before = masks.points.size();
    masks.points.resize(before + size);
    if (!take_numbers(polygon, size, masks.points.data() + before)) return false;
    masks.corners.push_back(size / 2);
  }
  masks.polygons.back() = count;
  return count > 0;
}

bool take_code(const char* code, Py_ssize_t size, Masks& masks) {
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (static_cast<unsigned char>(code[i]) >= 0x80) return false;
  }
  masks.code.insert(masks.code.end(), code, code + size);
  masks.codes.back() = size;
  return true;
}

bool take_counts(PyObject* value, char& kind, Masks& masks) {
  kind = Masks::kCode;
  if (PyBytes_CheckExact(value)) return take_code(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), masks);
  if (PyUnicode_CheckExact(value)) {
    return PyUnicode_IS_COMPACT_ASCII(value) &&
           take_code(reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(value)), PyUnicode_GET_LENGTH(value), masks);
  }
  kind = Masks::kCounts;
  if (!is_list(value)) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
  for (Py_ssize_t i = 0; i < count; ++i) {
    int64_t length;
    if (!take_count(PySequence_Fast_ITEMS(value)[i], length)) return false;
    masks.lengths.push_back(length);
  }
  masks.counts.back() = count;
  return true;
}

bool take_mask(PyObject* value, char& kind, Masks& masks) {
  masks.sizes.insert(masks.sizes.end(), 2, 0);
  for (auto* counts : {&masks.polygons, &masks.codes, &masks.counts}) counts->push_back(0);
  kind = Masks::kPolygons;
  if (is_list(value)) return take_polygons(value, masks);
  if (!PyDict_CheckExact(value)) return false;
  PyObject* size = PyDict_GetItemString(value, "size");
  PyObject* counts = PyDict_GetItemString(value, "counts");
  int64_t* both = &masks.sizes[masks.sizes.size() - 2];
  if (!size || !counts || !is_list(size) || PySequence_Fast_GET_SIZE(size) != 2) return false;
  PyObject** sides = PySequence_Fast_ITEMS(size);
  return take_count(sides[0], both[0]) && take_count(sides[1], both[1]) && take_counts(counts, kind, masks);
}

bool take_value(PyObject* value, const Field& it, size_t field, Columns& columns) {
  if (!value) return columns.fill_absent(field);
  const bool may_be_null = it.kind == Kind::kNumber || it.kind == Kind::kCount || it.kind == Kind::kNumbers;
  if (value == Py_None) return may_be_null && columns.fill_absent(field);
  switch (it.kind) {
    case Kind::kInteger:
      return take_integer(value, *columns.at<int64_t>(field));
    case Kind::kNumber:
      return take_number(value, *columns.at<double>(field));
    case Kind::kFlag:
      return take_flag(value, *columns.at<char>(field));
    case Kind::kCount:
      return take_count(value, *columns.at<int64_t>(field));
    case Kind::kNumbers:
      if (is_list(value) && PySequence_Fast_GET_SIZE(value) == 0) return columns.fill_absent(field);
      return take_numbers(value, it.width, columns.at<double>(field));
    case Kind::kPoints:
      return take_points(value, it.width, columns.at<double>(field), columns.thirds_at(field));
    case Kind::kMask:
      return take_mask(value, *columns.at<char>(field), columns.masks);
  }
  return false;
}

py::object read_loaded_records(const py::list& records, const GivenFields& given) {
  const std::vector<Field> fields = fields_of(given);
  std::vector<py::str> names;
  for (const Field& field : fields) names.emplace_back(field.name);
  Columns columns(fields);
  columns.reserve(records.size());
  for (size_t row = 0; row < records.size(); ++row) {
    const py::object kept = records[row];  // keys compare as they like, and could take it from the list
    PyObject* record = kept.ptr();
    if (!PyDict_CheckExact(record)) return py::none();
    if (columns.full()) return py::none();  // somebody appends
    for (size_t field = 0; field < fields.size(); ++field) {
      PyObject* value = PyDict_GetItemWithError(record, names[field].ptr());
      if (!value && PyErr_Occurred()) throw py::error_already_set();
      if (!take_value(value, fields[field], field, columns)) return py::none();
    }
    columns.next_row();
  }
  return arrays_of(columns, fields);
}

}  // namespace

void add_loaded_records(py::module_& module) {
  module.def("read_loaded_records", &read_loaded_records, py::arg("records"), py::arg("fields"),
             "Columns of a list of dictionaries, or None where it is not plain. Fields are as for read_json_records.");
}

}  // namespace pydlx
