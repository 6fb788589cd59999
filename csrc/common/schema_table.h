// Defines schemas in torch's dispatcher with the tag pt2_compliant_tag, which torch.compile asks for.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdint>
#include <initializer_list>

#include "common/newer_torch.h"

namespace pydlx {

// The library "pydlx" in the dispatcher, while this object lives. It replaces STABLE_TORCH_LIBRARY, which supports tags
// only from torch 2.12 on; under older releases the schemas have no tag.
class SchemaTable {
 public:
  SchemaTable(std::initializer_list<const char*> schemas) {
    check_torch(aoti_torch_library_init_def("pydlx", __FILE__, __LINE__, &library_), "aoti_torch_library_init_def");
    for (const char* schema : schemas) define(schema);
  }
  ~SchemaTable() { aoti_torch_delete_library_object(library_); }

  SchemaTable(const SchemaTable&) = delete;
  SchemaTable& operator=(const SchemaTable&) = delete;

 private:
  void define(const char* schema) {
    using DefineWithTags = AOTITorchError(TorchLibraryHandle, const char*, const int32_t*, int32_t);
    static const auto tag_number = torch_function<int32_t()>("libtorch_cpu.so", "torch_tag_pt2_compliant_tag");
    static const auto with_tags = torch_function<DefineWithTags>("libtorch_cpu.so", "torch_library_def_with_tags");
    if (tag_number == nullptr || with_tags == nullptr) {
      return check_torch(aoti_torch_library_def(library_, schema), schema);
    }
    const int32_t tag = tag_number();
    check_torch(with_tags(library_, schema, &tag, 1), schema);
  }

  TorchLibraryHandle library_ = nullptr;
};

}  // namespace pydlx
