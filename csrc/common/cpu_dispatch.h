// Which instruction set the CPU kernels use, decided once per process.
//
// Kernels are compiled several times in one library (see foreach_simd.h). The level is the best one the processor
// offers, capped by the environment variable PYDLX_SIMD (baseline, avx2 or avx512), which tests use to run every path.
#pragma once

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define PYDLX_X86_LEVELS 1
#else
#define PYDLX_X86_LEVELS 0
#endif

namespace pydlx {

enum class SimdLevel { kBaseline, kAvx2, kAvx512 };

inline const char* simd_name(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kAvx2:
      return "avx2";
    default:
      return "baseline";
  }
}

inline SimdLevel detect_simd_level() {
#if PYDLX_X86_LEVELS
  // The features of x86-64-v3 and x86-64-v4 one by one: not every compiler knows the names of the levels.
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  SimdLevel best = v4 ? SimdLevel::kAvx512 : v3 ? SimdLevel::kAvx2 : SimdLevel::kBaseline;
  if (const char* cap = std::getenv("PYDLX_SIMD")) {
    if (!std::strcmp(cap, "baseline")) return SimdLevel::kBaseline;
    if (!std::strcmp(cap, "avx2") && v3) return SimdLevel::kAvx2;
  }
  return best;
#else
  return SimdLevel::kBaseline;
#endif
}

inline SimdLevel simd_level() {
  static const SimdLevel level = detect_simd_level();
  return level;
}

}  // namespace pydlx
