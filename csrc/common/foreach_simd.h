// Includes the file PYDLX_SIMD_FILE once per instruction set.
//
// That file has no include guard and puts its code into `namespace pydlx { namespace PYDLX_SIMD { ... } }`. It must not
// include headers other than such files: a system header first included under a wider target would compile its inline
// functions for that target, also for baseline callers. So the .cpp includes every header beforehand.
// PYDLX_SIMD_CALL(f)(args...) then calls the version for this processor.
//
// vector_simd.h (Vec<A>, load, store, exp_nonpositive) is in scope there. Each .cpp has one such kernel file.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "common/cpu_dispatch.h"

#ifndef PYDLX_SIMD_FILE
#error "define PYDLX_SIMD_FILE before including foreach_simd.h"
#endif

#define PYDLX_SIMD baseline
#define PYDLX_SIMD_BYTES 16
#include "common/vector_simd.h"
#include PYDLX_SIMD_FILE
#undef PYDLX_SIMD
#undef PYDLX_SIMD_BYTES

#if PYDLX_X86_LEVELS
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2,f16c")
#define PYDLX_SIMD avx2
#define PYDLX_SIMD_BYTES 32
#include "common/vector_simd.h"
#include PYDLX_SIMD_FILE
#undef PYDLX_SIMD
#undef PYDLX_SIMD_BYTES
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,prefer-vector-width=512")
#define PYDLX_SIMD avx512
#define PYDLX_SIMD_BYTES 64
#include "common/vector_simd.h"
#include PYDLX_SIMD_FILE
#undef PYDLX_SIMD
#undef PYDLX_SIMD_BYTES
#pragma GCC pop_options
#endif

#undef PYDLX_SIMD_FILE

#if PYDLX_X86_LEVELS
#define PYDLX_SIMD_CALL(...)                                                  \
  (::pydlx::simd_level() == ::pydlx::SimdLevel::kAvx512 ? avx512::__VA_ARGS__ \
   : ::pydlx::simd_level() == ::pydlx::SimdLevel::kAvx2 ? avx2::__VA_ARGS__   \
                                                        : baseline::__VA_ARGS__)
#else
#define PYDLX_SIMD_CALL(...) (baseline::__VA_ARGS__)
#endif
