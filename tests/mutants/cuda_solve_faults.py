"""Faults for the CUDA kernels of transforms and solves, as in ``cuda_faults.py``."""

from __future__ import annotations

from mutants.fault import Fault

CUDA_SOLVE_FAULTS = [
    Fault(
        "dct/dct.cuh",
        "    spoiled[line] = 1;\n",
        "",
        "a line with a NaN, of a length at which lines share a transform, gives numbers",
    ),
    Fault(
        "dct/dct.cuh",
        "if (e.sample > 0 && 2 * e.sample != n) {",
        "if (e.sample > 1 && 2 * e.sample != n) {",
        "nobody writes the last output",
    ),
    Fault(
        "dct/line_fft.cuh",
        "    take_line<N, lanes>(v, t, room);\n    __syncthreads();\n",
        "    take_line<N, lanes>(v, t, room);\n",
        "numbers of a long line are overwritten before they are read",
    ),
    Fault(
        "dct/rows.cuh",
        "apart_ && marks_[line] ? NAN",
        "apart_ && marks_[0] ? NAN",
        "a line with a NaN gives numbers if it is the second of its pair",
    ),
    Fault(
        "dct/planes.cuh",
        "    if (k > 0 && 2 * k != height) {\n      row = plane",
        "    if (k > 1 && 2 * k != height) {\n      row = plane",
        "nobody writes the last row of frequencies",
    ),
    Fault(
        "poisson/recurrence.cuh",
        "if (lane + apart < kWarp) top",
        "if (lane + apart <= kWarp) top",
        "columns of more than 32 chunks are solved wrong",
    ),
    Fault(
        "poisson/columns.cuh",
        "if (n == rows - 1) end = state;",
        "end = state;",
        "the recurrence of a last chunk that is not full ends too low",
    ),
    Fault(
        "poisson/right_side.cuh",
        "min(max(i, 0), last_)",
        "min(i < 0 ? 1 : i, last_)",
        "images are mirrored about their first row, not its edge",
    ),
    Fault(
        "poisson/poisson.cuh",
        "partials[index / (w * h) * kSumBlocks + k]",
        "partials[k]",
        "planes are solved with the mean of the first one",
    ),
    Fault(
        "common/reduce.cuh",
        "value = join(value, room[warp]);",
        "value = join(value, room[0]);",
        "the mean of a plane is that of a part of it",
        tests="poisson",
    ),
    Fault(
        "masked_poisson/masked_poisson.cuh",
        "const bool turns = beta != 0;",
        "const bool turns = true;",
        "the first direction of a solve mixes with what lay in memory",
    ),
    Fault(
        "masked_poisson/masked_poisson.cuh",
        "if (k < state.directions) sum +=",
        "sum +=",
        "planes that are done move on along old directions",
    ),
    Fault(
        "masked_poisson/masked_poisson.cuh",
        " || state.iterations >= max_iterations) state.phase",
        ") state.phase",
        "planes go on when their iterations are used up",
    ),
    Fault(
        "masked_poisson/masked_poisson_cuda.cu",
        "    cudaMemsetAsync(fix_.of<float>(0), 0, static_cast<size_t>(fix_.count()) * sizeof(float), stream_);\n",
        "",
        "pixels beside a region without unknowns take corrections from memory that nobody wrote",
    ),
    Fault(
        "masked_poisson/masked_poisson_cuda.cu",
        "return status == cudaStreamCaptureStatusNone;",
        "return true;",
        "the host waits in the midst of a capture",
    ),
]
