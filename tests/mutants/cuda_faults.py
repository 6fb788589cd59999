"""Faults for the CUDA kernels.

``planted.py`` builds each and runs the op's tests on it on the emulator, in both orders of its threads. The old text
must stand in its file exactly once.
"""

from __future__ import annotations

from mutants.fault import Fault

CUDA_FAULTS = [
    Fault(
        "soft_pool/soft_pool.cuh",
        "% p.dilation[axis] == 0;",
        "% p.dilation[axis] >= 0;",
        "elements between the taps of a dilated window have a gradient",
    ),
    Fault(
        "soft_pool/soft_pool.cuh",
        "before <= 0 ? 0 : (before + p.stride[axis] - 1) / p.stride[axis];",
        "before <= 0 ? 0 : before / p.stride[axis];",
        "windows that end before an element add to its gradient",
    ),
    Fault(
        "soft_pool/soft_pool.cuh",
        "    if (e != A(0)) weighted += e * d;\n",
        "    weighted += e * d;\n",
        "a window with -inf is NaN",
    ),
    Fault(
        "corner_pool/corner_pool.cuh",
        "return a > best || (a != a && best == best);",
        "return a > best;",
        "NaN is lost",
    ),
    Fault(
        "corner_pool/corner_pool.cuh",
        "open += (heads & 1u) ? A(0) : __shfl_sync(kWholeWarp, sum, 0);",
        "open += A(0);",
        "a maximum that holds for more than 32 elements lacks gradient",
    ),
    Fault(
        "corner_pool/corner_pool.cuh",
        "if (lane == 0 || !takes_over(before, best)) before = best;",
        "if (lane == 0) before = best;",
        "elements below the maximum of the 32 before take its gradient",
    ),
    Fault(
        "attention_rnn/attention_rnn.cuh",
        "        work.hidden[h] = sum;\n      }\n      __syncthreads();\n",
        "        work.hidden[h] = sum;\n      }\n",
        "the gradient of a state mixes with the step before",
    ),
    Fault(
        "attention_rnn/attention_rnn.cuh",
        "      if (valid(j)) sum += weights[j] * rows[j * width + column];",
        "      sum += weights[j] * rows[j * width + column];",
        "NaN in masked memory reaches the context",
    ),
    Fault(
        "attention_rnn/attention_rnn.cuh",
        "if (example.gate_values) sum += warp_dot(example.gate_values + j * Z, work.gate, Z);",
        "",
        "the gate's part of the scores' gradient is lost where memories are short",
    ),
    Fault(
        "sequence_pool/sequence_pool.cuh",
        "  __syncthreads();\n  partials[threadIdx.y][threadIdx.x] = mine;\n",
        "  partials[threadIdx.y][threadIdx.x] = mine;\n",
        "the counts of k-max mix with those of the bit before",
    ),
    Fault(
        "sequence_pool/sequence_pool.cuh",
        "s == -INFINITY ? low.distance : low.distance + s * low.total;",
        "low.distance + s * low.total;",
        "soft of a sequence with -inf is NaN",
    ),
    Fault(
        "sequence_pool/sequence_pool.cuh",
        "row < 0 || a > value || first_nan",
        "row < 0 || a >= value || first_nan",
        "the last of equal maxima takes the gradient",
    ),
    Fault(
        "sequence_pool/sequence_pool.cuh",
        "int64_t equal_before = sum_of_parts(partials, equal, threadIdx.y);",
        "int64_t equal_before = 0;",
        "k-max takes more of equal values than it has room for",
    ),
    Fault(
        "confusion_matrix/confusion_matrix.cuh",
        "return static_cast<const uint16_t*>(map.data)[at];",
        "return static_cast<const int16_t*>(map.data)[at];",
        "uint16 labels above 32,767 are negative",
    ),
    Fault(
        "confusion_matrix/confusion_matrix.cuh",
        "counts + (task.per_image ? image * task.bins() : 0)",
        "counts",
        "all images count in the first one's matrix",
    ),
    Fault(
        "ssim/ssim.cuh",
        "*place((row + 1 + k) % count, map)",
        "*place((row + k) % count, map)",
        "windows other than 7 and 11 take their rows in a wrong order",
    ),
    Fault(
        "ssim/ssim.cuh",
        "    __syncthreads();  // the last row has been read\n",
        "",
        "a warp overwrites the row that another one still reads",
    ),
    Fault(
        "ssim/ssim.cuh",
        "if (depth < 0 || depth >= s.out[0]) continue;",
        "if (depth < 0 || depth > s.out[0]) continue;",
        "the gradient of a volume's last slices sees the next plane",
    ),
    Fault(
        "oks/oks.cuh",
        "if (pair_offsets[middle] <= pair) {",
        "if (pair_offsets[middle] < pair) {",
        "the first pair of a group is compared as one of the group before",
    ),
    Fault(
        "oks/oks.cuh",
        "= truth.box ? 0 : sum[axis];",
        "= sum[axis];",
        "invisible points of a target have a gradient where the box stands in",
    ),
    Fault(
        "nms/nms.cuh",
        " || (entry.labels && entry.labels[a] != entry.labels[b])",
        "",
        "boxes of other labels are suppressed",
    ),
    Fault(
        "decode_spans/decode_spans.cuh",
        "return allowed && score > kNoSpan<A> ? score : kNoSpan<A>;",
        "return allowed ? score : kNoSpan<A>;",
        "a NaN score hides the spans of its window",
    ),
    Fault(
        "decode_spans/decode_spans.cuh",
        "    __syncthreads();\n    if (given && later > own) best[token] = later;\n",
        "    if (given && later > own) best[token] = later;\n",
        "windows are widened by others that have been widened already",
    ),
    Fault(
        "decode_spans/decode_spans.cuh",
        "      row.at[token] = -1;\n",
        "",
        "a row is decoded with ends of the row before",
    ),
    Fault(
        "common/reduce.cuh",
        "  __syncthreads();  // what was in the room has been read\n  if (thread_of_block()",
        "  if (thread_of_block()",
        "a thread reads what is found next in place of what was found",
        tests="decode_spans",
    ),
    Fault(
        "common/reduce.cuh",
        "  room[threadIdx.y][threadIdx.x] = value;\n  __syncthreads();\n",
        "  room[threadIdx.y][threadIdx.x] = value;\n",
        "sums over a context are read before all parts are there",
        tests="trilinear_attention",
    ),
    Fault(
        "trilinear_attention/trilinear_attention.cuh",
        "const bool valid = has_row && task.has_column(entry, j);",
        "const bool valid = task.has_column(entry, j);",
        "padding of the context has a distribution over the question",
    ),
    Fault(
        "trilinear_attention/trilinear_attention.cuh",
        "number % blocks * kWarp + threadIdx.x);",
        "threadIdx.x);",
        "columns above 32 are not written",
    ),
    Fault(
        "decode_corners/decode_corners.cuh",
        "    __syncthreads();  // all threads have read the size\n",
        "",
        "threads disagree on whether the ranking is crowded",
    ),
    Fault(
        "decode_corners/decode_corners.cuh",
        "chunk < chunks.count && chunk * chunks.cells + rank < task.cells()",
        "chunk < chunks.count",
        "a last chunk with fewer cells than corners brings in what lay in memory",
    ),
    Fault(
        "decode_corners/decode_corners.cuh",
        "    __syncthreads();  // and what was ranked before has been read\n",
        "",
        "a thread ranks pairs while another one still reads corners",
    ),
    Fault(
        "decode_corners/decode_corners.cuh",
        "static_cast<int64_t>(state.size) + kDecodeThreads > room",
        "static_cast<int64_t>(state.size) > room",
        "candidates are written behind their room",
    ),
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
    # ------------------------------------------------------------ global_pointer_loss and zlpr_loss, CUDA
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "      if (chunk > 0) __syncthreads();  // the chunk before has been read\n",
        "",
        "vectors of more than 64 numbers are overwritten while they are read",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "      memory.bits[i / Sizes::kWords][i % Sizes::kWords] = 0;\n",
        "",
        "cells are gold that were so for the type or tile before",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "      own_is_loaded = task.chunks() == 1;\n",
        "      own_is_loaded = true;\n",
        "scores of vectors of more than 64 numbers are wrong from the second tile on",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "own_position(i) >= other_position(j)",
        "own_position(i) > other_position(j)",
        "keys miss the gradient of spans of one token",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "      if (chunk + 1 < chunks) {\n",
        "      if (chunk > chunks) {\n",
        "gradients beyond the first 64 numbers are those of the last ones",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "        if (!single) keep(type);\n",
        "",
        "sums of types that share a head are those of all",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "    __syncthreads();  // the half before has been read, and vectors have been loaded\n",
        "",
        "slopes are overwritten while they are read",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "    __syncthreads();  // the tile before is done with\n",
        "",
        "the flags of tokens are overwritten while they are read",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "if (!task.sides.grad_bias || chunk > 0) continue;",
        "if (!task.sides.grad_bias) continue;",
        "with vectors of more than 64 numbers the gradients of biases count twice",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "cell >= 0 && column >= 0 && column < Sizes::kSide",
        "cell >= 0 && column >= 0",
        "gold cells of other tiles are written outside of the marks",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss.cuh",
        "    const bool is_valid = thread() < Sizes::kSide && task.valid(item, token + thread());",
        "    const bool is_valid = thread() < Sizes::kSide && token + thread() < task.shape.length;",
        "padding counts",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cuda.cu",
        "    clear(arrays.grad_end, biases, scope);\n",
        "",
        "gradients of end biases are added to what lay in memory",
    ),
    Fault(
        "zlpr_loss/zlpr_loss.cuh",
        "place < end && cells.counts(place)",
        "cells.counts(place)",
        "cells of the next chunk count too",
    ),
    Fault(
        "zlpr_loss/zlpr_loss.cuh",
        "    for (int64_t i = 0; i < chunks; ++i) all.add(sums[row * chunks + i]);\n",
        "    all.add(sums[row * chunks]);\n",
        "of long rows only the first chunk counts",
    ),
    Fault(
        "common/log_sum.cuh",
        "  value.raise(largest_of_warp(value.peak));\n",
        "",
        "sums of a warp's lanes are added up as if they had one peak",
        tests="zlpr_loss",
    ),
]
