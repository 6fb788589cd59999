// What pydlx._host offers of mask_spans.h.
#pragma once

#include <pybind11/pybind11.h>

namespace pydlx {

void bind_mask_spans(pybind11::module_& m);

}  // namespace pydlx
