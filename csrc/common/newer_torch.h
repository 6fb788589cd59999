// Access to functions of torch's C interface that the oldest supported torch, or a CPU-only build, lacks. They are
// looked up at run time, so that one binary loads under every supported torch.
#pragma once

#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/util/Exception.h>

namespace pydlx {

// The function `name` of the torch library `library`, if that is loaded in this process and has it; else null.
template <class Function>
Function* torch_function(const char* library, const char* name) {
  // Torch's libraries may not be in the global scope, so look for the library by its name first.
  void* const loaded = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  void* const found = dlsym(loaded ? loaded : RTLD_DEFAULT, name);
  if (loaded) dlclose(loaded);  // dlopen incremented the reference count even with RTLD_NOLOAD
  return reinterpret_cast<Function*>(found);
}

// Raises if a call of torch's C interface failed, with torch's message where it provides one (from 2.13 on).
inline void check_torch(AOTITorchError status, const char* call) {
  if (status == AOTI_TORCH_SUCCESS) return;
  const auto words = torch_function<const char*()>("libtorch_cpu.so", "torch_exception_get_what_without_backtrace");
  STD_TORCH_CHECK(false, call, " failed", words ? ": " : "", words ? words() : "");
}

}  // namespace pydlx
