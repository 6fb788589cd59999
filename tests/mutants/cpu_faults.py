"""Faults for the CPU kernels, by operator.

``planted.py`` builds each and runs the op's tests on it, at the instruction set that the fault is about. The old text
must stand in its file exactly once.
"""

from __future__ import annotations

from mutants.cpu_loss_faults import CPU_LOSS_FAULTS
from mutants.fault import Fault

CPU_FAULTS = [
    # ------------------------------------------------------------------------------------------------ soft_pool, CPU
    Fault(
        "soft_pool/soft_pool_cpu.cpp",
        "const int64_t reach = s.dilation[axis] * (s.kernel[axis] - 1);",
        "const int64_t reach = 0;",
        "the gradient lacks windows that reach over a block's edge, on planes above 8,192 elements",
    ),
    Fault(
        "soft_pool/channels_last_simd.h",
        "(slot * s.in[2] + pixel.w) * s.channels + first;",
        "(slot * s.in[2] + pixel.w) * s.channels;",
        "channels above 256 add their gradient to the first ones",
    ),
    Fault(
        "soft_pool/channels_last_simd.h",
        "window.load_lanes(image, s.channels, first, lanes);\n        soft_pool_run",
        "window.load_lanes(image, s.channels, 0, lanes);\n        soft_pool_run",
        "channels above 256 repeat the first ones",
    ),
    Fault(
        "soft_pool/contiguous_simd.h",
        "s.dilation[axis] * (s.kernel[axis] - 1) < s.stride[axis];",
        "s.dilation[axis] * (s.kernel[axis] - 1) <= s.stride[axis];",
        "gradients of windows that share one element are written, not added",
    ),
    Fault(
        "soft_pool/soft_pool_cpu_simd.h",
        "const int64_t d = od * s.stride[0] - s.padding[0] + kd * s.dilation[0];",
        "const int64_t d = od * s.stride[0] - s.padding[0] + kd;",
        "dilation along the depth is ignored",
    ),
    Fault(
        "soft_pool/soft_pool_cpu_simd.h",
        "lower[t] = same < a ? same : a;",
        "lower[t] = a < same ? a : same;",
        "a NaN that is not the first of its window is lost",
    ),
    Fault(
        "soft_pool/soft_pool_cpu_simd.h",
        "    probe[0] += rest;\n",
        "",
        "rows shorter than a vector give NaN for infinite input",
    ),
    # ------------------------------------------------------------------------------------------- decode_corners, CPU
    Fault(
        "common/ranked.h",
        "return a > b || (a != a && b == b);",
        "return a > b;",
        "a NaN is no peak, and ranks anywhere",
        tests="decode_corners",
    ),
    Fault(
        "decode_corners/decode_corners.h",
        "const int64_t right = task.width - x > task.reach ?",
        "const int64_t right = task.width - x >= task.reach ?",
        "the last cell of a row is compared with the first of the next one",
    ),
    Fault(
        "decode_corners/decode_corners.h",
        "return !(last >= 0 && heat <= last);",
        "return !(heat <= last);",
        "among scores below 0, cells that are no peaks are left out",
    ),
    Fault(
        "decode_corners/decode_corners_cpu_simd.h",
        "(load_wide(heat + 3 * L) <= last)",
        "(load_wide(heat + 2 * L) <= last)",
        "every fourth vector of cells is looked at only by chance",
    ),
    Fault(
        "decode_corners/decode_corners_cpu.cpp",
        "for (int64_t part = 1; part < parts; ++part) of_parts[0]",
        "for (int64_t part = parts; part < parts; ++part) of_parts[0]",
        "cells that another thread than the first one met are left out",
    ),
    Fault(
        "decode_corners/decode_corners_cpu.cpp",
        "next->above(rejected)",
        "next->score > rejected.score",
        "pairs of score -1 come behind rejected ones",
    ),
    # ----------------------------------------------------------------------------------------- confusion_matrix, CPU
    Fault(
        "confusion_matrix/confusion_matrix_cpu.cpp",
        "kMostNarrowClasses = 254",
        "kMostNarrowClasses = 255",
        "label 255 is counted where there are 255 classes",
    ),
    Fault(
        "confusion_matrix/confusion_matrix_cpu_simd.h",
        "worst_pred = judged > worst_pred ? judged : worst_pred;",
        "worst_pred = judged;",
        "an invalid prediction is reported in the last vector of a strip only",
    ),
    Fault(
        "confusion_matrix/confusion_matrix_cpu_simd.h",
        "if (strip == begin || (task.per_image && first == 0))",
        "if (strip == begin)",
        "counts of an image go to the one before it",
    ),
    Fault(
        "confusion_matrix/labels_simd.h",
        "clips_(-0x8000 < rule.ignore && rule.ignore < 0x7fff)",
        "clips_(true)",
        "with a large ignore_index, other large labels are ignored too",
    ),
    Fault(
        "confusion_matrix/logits_simd.h",
        "return ~(a <= best) & (best == best);",
        "return ~(a < best) & (best == best);",
        "of equal logits the last one wins",
    ),
    Fault(
        "confusion_matrix/labels_simd.h",
        "return (Vec<int16_t>)__builtin_ia32_packssdw256(first, second);",
        "return (Vec<int16_t>)__builtin_ia32_packssdw256(second, first);",
        "with AVX2, 32-bit labels come in another order",
        simd="avx2",
    ),
    # ---------------------------------------------------------------------------------------------- corner_pool, CPU
    Fault(
        "corner_pool/corner_pool_cpu_simd.h",
        "return a == a ? greater : a;",
        "return greater;",
        "a NaN is lost along columns",
    ),
    Fault(
        "corner_pool/corner_pool_cpu_simd.h",
        "(y != y_before) & (y_before == y_before)",
        "(y != y_before)",
        "every element after a NaN takes the gradient",
    ),
    Fault(
        "corner_pool/corner_pool_cpu_simd.h",
        "scan_cells<kFromEnd>(x, y, k, count, best[0]);",
        "scan_cells<kFromEnd>(x, y, k, count, kLowest);",
        "the last elements of a row forget the maximum so far",
    ),
    Fault(
        "corner_pool/corner_pool_cpu_simd.h",
        "if (k % width == 0) std::fill_n",
        "if (k == 0) std::fill_n",
        "channels-last pairs carry the maximum of a row into the next one",
    ),
    # --------------------------------------------------------------------------------------------- decode_spans, CPU
    Fault(
        "decode_spans/decode_spans.h",
        "if (size < limit) widen(limit - size);",
        "if (size < limit) widen(size);",
        "windows that are no power of two reach too far",
    ),
    Fault(
        "decode_spans/decode_spans.h",
        "if (span.score > best.score && taken.above(span)) best = span;",
        "if (span.score > best.score && taken.score > span.score) best = span;",
        "of spans of one start that score the same, one is found",
    ),
    Fault(
        "decode_spans/decode_spans_cpu_simd.h",
        "  store(to + length, none);\n",
        "",
        "windows at the end of a row reach into what lay in memory",
    ),
    Fault(
        "decode_spans/decode_spans_cpu.cpp",
        "a.score < b.score || (a.score == b.score && a.first > b.first)",
        "a.score < b.score",
        "of starts that score the same any comes first",
    ),
    # -------------------------------------------------------------------------------------- trilinear_attention, CPU
    Fault(
        "trilinear_attention/trilinear_attention_cpu_simd.h",
        "if (row == begin || row % task.rows == 0) mark_columns",
        "if (row == begin) mark_columns",
        "all examples have the question's length of the first",
    ),
    Fault(
        "trilinear_attention/trilinear_attention_cpu_simd.h",
        "if (count % L) body(count - L, WholeVector<T>{});",
        "",
        "columns beyond the last whole vector are not written",
    ),
    Fault(
        "trilinear_attention/trilinear_attention_cpu_simd.h",
        "if (is_last && task.columns % kVecLanes<A>) body(",
        "if (task.columns % kVecLanes<A> > 1) body(",
        "of one column beyond the last whole vector nothing is written",
    ),
    Fault(
        "trilinear_attention/trilinear_attention_cpu_simd.h",
        "sums += load(valid + at) > zero ? e : zero;",
        "sums += e;",
        "lanes past the last column take part in the sum",
    ),
    Fault(
        "trilinear_attention/trilinear_attention_cpu_simd.h",
        "sums += load(valid + at) > zero ? load(own + at) : zero;",
        "sums += load(own + at);",
        "what comes from above for padding reaches the gradient",
    ),
    Fault(
        "trilinear_attention/trilinear_attention_cpu_simd.h",
        "        if (counts) sum += exp_to_one<A>(",
        "        sum += exp_to_one<A>(",
        "padding of the context has a share in the softmax over it",
    ),
    # -------------------------------------------------------------------------------------------- sequence_pool, CPU
    Fault(
        "sequence_pool/sequence_pool_cpu_simd.h",
        "weighted = scale * (load(distance + c) + s * load(total + c));",
        "weighted = scale * load(distance + c);",
        "soft is wrong where the peak lies in a later tile of a long sequence",
    ),
    Fault(
        "sequence_pool/sequence_pool_cpu_simd.h",
        "if (from[0] < 0) std::fill_n(from, kBlockChannels, unit.row(tile.step[0]));",
        "if (from[0] < 0) std::fill_n(from, kBlockChannels, 0);",
        "the index of a sequence of -inf belongs to the first sequence",
    ),
    Fault(
        "sequence_pool/k_max_simd.h",
        "trial[c] == kLowest ? k : k - reached[c]",
        "k - reached[c]",
        "k-max above k = 64 loses values where k of them are NaN",
    ),
    Fault(
        "sequence_pool/k_max_simd.h",
        "(Keys<A>)(a + A(0));",
        "(Keys<A>)(a);",
        "k-max takes 0 before an earlier -0",
    ),
    # ------------------------------------------------------------------------------------------- attention_rnn, CPU
    Fault(
        "attention_rnn/example_simd.h",
        "return near && is_near(query, width);",
        "return true;",
        "scores are NaN where queries and keys are large and cancel",
    ),
    Fault(
        "attention_rnn/example_simd.h",
        "if (!arrays.mask || arrays.mask[b * m + j]) rows[count++] = j;",
        "rows[count++] = j;",
        "masked memory takes part in the attention",
    ),
    Fault(
        "attention_rnn/attention_rnn_cpu_simd.h",
        "while (examples[rows - 1].length <= s) --rows;",
        "",
        "states run on behind the end of short sequences",
    ),
    Fault(
        "attention_rnn/attention_rnn_cpu.cpp",
        "return lengths[a] > lengths[b];",
        "return lengths[a] < lengths[b];",
        "a sequence is read no further than the shortest of its block",
    ),
    Fault(
        "attention_rnn/panels_simd.h",
        "group(std::integral_constant<int, 1>{});",
        "",
        "a block's odd row is not multiplied",
    ),
    Fault(
        "attention_rnn/attention_rnn_cpu_simd.h",
        "store(de + c, Vec<T>(d_e * keep));",
        "store(de + c, Vec<T>(d_e));",
        "the LSTM's gradient passes its forget gate",
    ),
    # ----------------------------------------------------------------------------------------------------- ssim, CPU
    Fault(
        "ssim/ssim_cpu_simd.h",
        "side = dx ? A(1) : A(-1)",
        "side = A(1)",
        "the gradient of the second image alone is that of the first",
    ),
    Fault(
        "ssim/ssim_cpu_simd.h",
        "        std::fill(even + (used + 1) / 2, odd, A(0));\n",
        "",
        "the gradient near the right border sees what an earlier row left",
    ),
    Fault(
        "ssim/rows_simd.h",
        "      count -= first;\n      first = 0;\n",
        "      count -= first;\n      first = 1;\n",
        "strips of more rows than the work space holds are filtered one row too low",
    ),
    Fault(
        "ssim/ssim_cpu.cpp",
        "for (int64_t i = 0; i < tiles.per_plane(); ++i) sum +=",
        "for (int64_t i = 0; i < std::min<int64_t>(8, tiles.per_plane()); ++i) sum +=",
        "the mean of a plane of more than eight tiles lacks the rest",
    ),
    # ------------------------------------------------------------------------------------------------------ oks, CPU
    Fault(
        "oks/oks_cpu_simd.h",
        "return (below > none ? none : below) + (none > above ? none : above);",
        "return below > none ? none : below;",
        "points beyond the lower right of the box that stands in for a pose are near it",
    ),
    Fault(
        "oks/oks_cpu_simd.h",
        "if (truth.box) return;",
        "",
        "invisible points of a target have a gradient where the box stands in",
    ),
    Fault(
        "oks/oks_cpu_simd.h",
        "second = e < 0 ? first : one",
        "second = one",
        "gradients of far points are those of half the distance",
    ),
    Fault(
        "oks/oks_cpu_simd.h",
        "load(&target.counts[k]) == 0 ? lowest : exponent",
        "exponent",
        "invisible points have a gradient",
    ),
    Fault(
        "oks/oks_cpu.cpp",
        "group.place + first * group.truths",
        "group.place",
        "similarities of detections above 64 overwrite those of the first ones",
    ),
    # ------------------------------------------------------------------------------------------------------ nms, CPU
    Fault(
        "nms/nms_cpu_simd.h",
        "(score > best) | ((score != score) & (best == best))",
        "(score > best)",
        "a NaN score is not above all",
    ),
    Fault(
        "nms/nms_cpu_simd.h",
        "(above || (equal && row < highest))",
        "above",
        "of equal scores, a later row is taken first",
    ),
    Fault(
        "nms/nms_cpu_simd.h",
        "larger<A>(splat(top[taken]), load(&top[i])) + pixel_offset;",
        "larger<A>(splat(top[taken]), load(&top[i]));",
        "pixel_offset does not count in the height that boxes share",
    ),
    # --------------------------------------------------------------------------------- matching and overlaps, CPU only
    Fault(
        "match_detections/match_detections_cpu.cpp",
        "    if (place == counting && found >= 0) break;\n",
        "",
        "a detection goes to an ignored target though one that counts is near enough",
    ),
    Fault(
        "match_detections/match_detections_cpu.cpp",
        "if (scratch.taken[place] && !crowd[truth]) continue;",
        "if (scratch.taken[place]) continue;",
        "a crowd region matches one detection only",
    ),
    Fault(
        "match_detections/match_detections_cpu.cpp",
        "precision[i] = best;",
        "precision[i] = right / (static_cast<double>(wrong[i]) + right + std::numeric_limits<double>::epsilon());",
        "precision may rise with recall",
    ),
    Fault(
        "box_iou/box_iou_cpu.cpp",
        "shared / (crowd ? area : area + g[2] * g[3] - shared)",
        "shared / (area + g[2] * g[3] - shared)",
        "boxes within a crowd region overlap it as little as any box",
    ),
    # ------------------------------------------------------------------------------------- transforms and solves, CPU
    Fault(
        "fft/cosine_simd.h",
        "start[kVecLanes<T> - 1] - start[0] == kVecLanes<T> - 1 &&\n"
        "           start[kGroup<T> - 1] - start[kVecLanes<T>] == kVecLanes<T> - 1",
        "start[kVecLanes<T> - 1] - start[0] == kVecLanes<T> - 1",
        "lines of a group that crosses into the next outer index are read from elsewhere",
        tests="dct",
    ),
    Fault(
        "fft/cosine_simd.h",
        "if (result.finite()) return store_group(result, y, to, plan.length);\n",
        "return store_group(result, y, to, plan.length);\n",
        "a NaN spreads to the line that shares an FFT with its own",
        tests="dct",
    ),
    Fault(
        "fft/cosine_simd.h",
        "const T sign = n % 2 ? T(-1) : T(1);\n",
        "const T sign = T(1);\n",
        "every other odd output of the sine transform of an even length has the wrong sign",
        tests="dct",
    ),
    Fault(
        "common/vector_simd.h",
        "return !__builtin_ia32_ptestz256((Words)mask, (Words)mask);",
        "return !__builtin_ia32_ptestz256((Words)mask, (Words){-1, -1, -1, 0});",
        "with AVX2, what happens in the upper lanes alone is not noticed: k-max misses values",
        simd="avx2",
        tests="sequence_pool",
    ),
    Fault(
        "common/widen_simd.h",
        "bits + 0x7fff + (bits >> 16 & 1)",
        "bits + 0x8000",
        "bfloat16 results that lie in the middle are rounded up, not to even",
        tests="corner_pool",
    ),
    Fault(
        "poisson/poisson_cpu.cpp",
        "const T* c = colour ? colour + first * plane : nullptr;",
        "const T* c = colour;",
        "planes of a batch above 16 MB are solved with the colours of the first ones",
    ),
    Fault(
        "poisson/rows_simd.h",
        "i % h ? c - w : c, i % h + 1 < h",
        "i ? c - w : c, i % h + 1 < h",
        "the screened colours of a plane's first row see the plane before",
    ),
    Fault(
        "poisson/poisson_cpu_simd.h",
        "sums.from_row(plane * h), u, u + h * L",
        "sums, u, u + h * L",
        "planes are solved with the mean of the first one",
    ),
    Fault(
        "masked_poisson/masked_poisson_cpu_simd.h",
        "if (finite && largest > 0) scale = std::ldexp(1.0, -std::ilogb(largest));\n",
        "",
        "right sides near float32's limits are solved badly",
    ),
    Fault(
        "masked_poisson/masked_poisson_cpu_simd.h",
        "rule.max_iterations - iterations, w)",
        "rule.max_iterations, w)",
        "more iterations are made than were allowed",
    ),
    *CPU_LOSS_FAULTS,
]
