// Lists of records, in JSON text or loaded from it, as columns. Only plain ones are taken, where nothing is odd, wrong
// or missing; the careful reader in Python has the others, and says what is wrong with them.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <tuple>
#include <vector>

#include "json_records/columns.h"

namespace pydlx {

// Fields as Python gives them: name, kind, width, whether it must be there.
using GivenFields = std::vector<std::tuple<std::string, std::string, int64_t, bool>>;

std::vector<Field> fields_of(const GivenFields& given);

// name -> array, or for masks a dictionary of arrays.
pybind11::dict arrays_of(Columns& columns, const std::vector<Field>& fields);

void add_json_records(pybind11::module_& module);
void add_loaded_records(pybind11::module_& module);

}  // namespace pydlx
