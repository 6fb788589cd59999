"""Faults of the CPU kernels of losses."""

from __future__ import annotations

from mutants.fault import Fault

CPU_LOSS_FAULTS = [
    Fault(
        "global_pointer_loss/head.h",
        "      if (cell > begin && cell[-1] == *cell) continue;\n",
        "",
        "a gold span that is given twice counts twice",
    ),
    Fault(
        "global_pointer_loss/head.h",
        " || (shape.triangle && row > column)) continue;",
        ") continue;",
        "gold spans that end before they start count",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "diagonal ? row_of_tile / kStrip * kStrip : 0",
        "diagonal ? row_of_tile : 0",
        "products of a diagonal tile take in slopes that nobody wrote",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "      std::fill(row + tile.columns, row + width, kNone);\n",
        "",
        "places behind the last token count with score 0",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "std::fill(row, row + std::min(i, width), kNone)",
        "std::fill(row, row + std::max<int64_t>(0, i - 1), kNone)",
        "spans count that end one token before they start",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "          if (score != kNone) sums[type].gold.add(-score);\n          score = kNone;\n",
        "          if (score != kNone) sums[type].gold.add(-score);\n",
        "gold spans are among the others as well",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "even * cosine + odd * sine, odd * cosine - even * sine",
        "even * cosine - odd * sine, odd * cosine + even * sine",
        "gradients are turned on, not back",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "type == 0 ? slope : Vec<A>(load(to) + slope)",
        "slope",
        "of types that share a head only the last one has a gradient",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "std::min(tile.rows, begin + kStrip)",
        "std::min(tile.rows, begin)",
        "keys miss the gradient of the tile on the diagonal",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "    sum.raise(largest_of_lanes<A>(peaks));\n",
        "",
        "sums overflow",
    ),
    Fault(
        "global_pointer_loss/global_pointer_loss_cpu_simd.h",
        "shape_.rotary ? position * width_ : 0",
        "position * width_",
        "without rotary positions the table of turns is read behind its end",
    ),
    Fault(
        "global_pointer_loss/product_simd.h",
        "  groups(std::integral_constant<int, 1>{});\n",
        "",
        "rows beyond the last four are not computed",
    ),
    Fault(
        "global_pointer_loss/product_simd.h",
        "{});\n  tiles(std::integral_constant<int, 1>{});\n",
        "{});\n",
        "with AVX2, the last of an odd number of vectors is not computed",
        simd="avx2",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu.cpp",
        "      for (int64_t i = 1; i < chunks; ++i) all.add(sums[row * chunks + i]);\n",
        "",
        "of long rows only the first chunk counts",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu_simd.h",
        "std::min(at + kZlprBlock, last)",
        "last",
        "cells of long rows count several times",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu_simd.h",
        "(x.counts & ~is_label) ? e : zero",
        "x.counts ? e : zero",
        "labels are among the others as well",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu_simd.h",
        "  sums.labels.raise(largest_of_lanes<A>(label_peaks));\n",
        "",
        "labels with scores far below 0 overflow",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu_simd.h",
        "first = row * cells.cells + number % chunks * cells.chunk",
        "first = row * cells.cells",
        "chunks of long rows have no gradient",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu_simd.h",
        "    found.counts = found.score != none;\n",
        "    found.counts = found.score == found.score;\n",
        "labels in cells of -inf have infinite loss",
    ),
    Fault(
        "zlpr_loss/zlpr_loss_cpu_simd.h",
        "  const Vec<A> root = exp_to_one<A>(x / A(2));\n  return weight * root * root;\n",
        "  return weight * exp_to_one<A>(x);\n",
        "the gradient of a soft label that is almost 0 overflows",
    ),
    Fault(
        "common/log_sum.h",
        "peak > 0 ? peak + A(std::log(sum + std::exp(-S(peak))))",
        "peak > 0 ? peak + A(std::log1p(sum + std::expm1(-S(peak))))",
        "soft labels that are almost 0 have loss -inf",
        tests="zlpr_loss",
    ),
]
