#pragma once

// Replaces cuda_runtime.h for g++, so that kernels compile as ordinary functions and run on the CPU. README.md says
// what is emulated and what is not.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

// CUDA declares the C mathematics library in the global namespace, overloaded for float.
#include <math.h>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ _Pragma("GCC error \"declare shared memory with PYDLX_SHARED or PYDLX_DYNAMIC_SHARED\"")

#include "emulated_intrinsics.h"
#include "emulated_types.h"
#include "emulator_runtime.h"
