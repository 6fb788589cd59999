// pydlx._host: facts about the build and the processor that need no torch. It does not link torch, so it imports
// independently of torch's version, as the op libraries load.
#include <pybind11/pybind11.h>

#include "common/cpu_dispatch.h"
#include "json_records/json_records.h"
#include "mask_spans/bind.h"

#define PYDLX_STRINGIZE_(x) #x
#define PYDLX_STRINGIZE(x) PYDLX_STRINGIZE_(x)

namespace {

const char* compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#elif defined(_MSC_VER)
  return "msvc " PYDLX_STRINGIZE(_MSC_VER);
#else
  return "unknown";
#endif
}

}  // namespace

PYBIND11_MODULE(_host, m) {
  m.doc() = "Facts about this build of pydlx, kernels on NumPy arrays and readers of files.";
  m.attr("torch_built") = PYDLX_TORCH_BUILT;
  m.attr("cuda_archs") = PYDLX_CUDA_ARCHS;
  m.attr("compiler") = compiler();
  m.def(
      "simd_level", [] { return pydlx::simd_name(pydlx::simd_level()); },
      "Name of the instruction set the CPU kernels use: baseline, avx2 or avx512.");
  pydlx::add_json_records(m);
  pydlx::add_loaded_records(m);
  pydlx::bind_mask_spans(m);
}
