// Functions of torch's C interface that the oldest supported torch lacks, or that only its CUDA build has. They are
// looked up at run time, so that one binary loads under all of them.
#pragma once

#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/util/Exception.h>

namespace pydlx {

// The function `name` of the torch library `library` that is loaded in this process, or null where there is none.
template <class Function>
Function* torch_function(const char* library, const char* name) {
  // Where torch's libraries were not loaded into the global scope, they are found by their own name.
  void* const loaded = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  void* const found = dlsym(loaded ? loaded : RTLD_DEFAULT, name);
  if (loaded) dlclose(loaded);  // RTLD_NOLOAD counted one more user
  return reinterpret_cast<Function*>(found);
}

// Raises what torch said of a call of its C interface that failed; before torch 2.13 it does not tell.
inline void check_torch(AOTITorchError status, const char* call) {
  if (status == AOTI_TORCH_SUCCESS) return;
  const auto words = torch_function<const char*()>("libtorch_cpu.so", "torch_exception_get_what_without_backtrace");
  STD_TORCH_CHECK(false, call, " failed", words ? ": " : "", words ? words() : "");
}

}  // namespace pydlx
