// Builds the hierarchy: the finest level's weights from the mask, then one Galerkin product per level. Included by
// masked_poisson_cpu_simd.h.
//
// P is a product of one-dimensional interpolations, so P^T A P is computed one axis at a time. Rows of the fine stencil
// are first contracted along x ("narrow" rows: the same five couplings, half as many columns), then narrow rows 2I - 1,
// 2I and 2I + 1 are summed to coarse row I.

namespace pydlx {
namespace PYDLX_SIMD {

// The five couplings of one row of a stencil, see Level.
struct StencilRow {
  float *centre, *east, *south_west, *south, *south_east;
};

inline StencilRow stencil_row(Level& level, int64_t i) {
  return {level.centre.row(i), level.east.row(i), level.south_west.row(i), level.south.row(i), level.south_east.row(i)};
}

inline StencilRow scratch_row(Plane<float>& scratch, int64_t first) {
  return {scratch.row(first), scratch.row(first + 1), scratch.row(first + 2), scratch.row(first + 3),
          scratch.row(first + 4)};
}

// The finest level's weights, damping / n_p. Within a row only the first and last column can have fewer neighbours.
inline void fill_finest_weights(Level& level, const bool* mask, const Canvas& canvas) {
  const Box& box = canvas.box;
  parallel_for(level.height, 65536 / level.width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool* unknown = canvas.row(mask, i);
      float* weight = level.weight.row(i);
      const int64_t y = box.top + i;
      const float vertical = static_cast<float>((y > 0) + (y + 1 < canvas.height));
      const float inner = kDamping / (vertical + 2);
#pragma omp simd
      for (int64_t j = 0; j < level.width; ++j) weight[j] = unknown[j] ? inner : 0.0f;
      for (const int64_t j : {int64_t{0}, level.width - 1}) {
        const int64_t x = box.left + j;
        const float neighbours = vertical + static_cast<float>((x > 0) + (x + 1 < canvas.width));
        weight[j] = unknown[j] ? kDamping / neighbours : 0.0f;
      }
    }
  });
}

// Computes a row of the finest level's stencil, which is not stored.
[[gnu::noinline]] inline void finest_stencil_row(const Level& level, int64_t i, const StencilRow& row) {
  const float *here = level.weight.row(i), *below = level.weight.row(i + 1);
#pragma omp simd
  for (int64_t j = 0; j < level.width; ++j) {
    row.centre[j] = here[j] != 0 ? kDamping / here[j] : 0.0f;
    row.east[j] = here[j] != 0 && here[j + 1] != 0 ? -1.0f : 0.0f;
    row.south[j] = here[j] != 0 && below[j] != 0 ? -1.0f : 0.0f;
  }
}

// narrow = the fine row contracted along x. With `fold` the fine row ends at an odd column, which interpolates from the
// last coarse column alone, with weight 1 instead of 1/2.
[[gnu::noinline]] inline void contract_columns(const StencilRow& fine, int64_t coarse_width, bool fold,
                                               const StencilRow& narrow) {
  const float *c = fine.centre, *e = fine.east, *sw = fine.south_west, *s = fine.south, *se = fine.south_east;
#pragma omp simd
  for (int64_t J = 0; J < coarse_width; ++J) {
    const int64_t j = 2 * J;
    narrow.centre[J] = c[j] + 0.25f * (c[j - 1] + c[j + 1]) + e[j - 1] + e[j];
    narrow.east[J] = 0.25f * c[j + 1] + 0.5f * (e[j] + e[j + 1]);
  }
#pragma omp simd
  for (int64_t J = 0; J < coarse_width; ++J) {
    const int64_t j = 2 * J;
    narrow.south[J] = s[j] + 0.25f * (s[j - 1] + s[j + 1]) + 0.5f * (se[j - 1] + se[j] + sw[j] + sw[j + 1]);
    narrow.south_east[J] = 0.25f * s[j + 1] + 0.5f * (se[j] + se[j + 1]);
    narrow.south_west[J] = 0.25f * s[j - 1] + 0.5f * (sw[j] + sw[j - 1]);
  }
  if (fold) {
    const int64_t J = coarse_width - 1, j = 2 * J;
    narrow.centre[J] += 0.75f * c[j + 1] + e[j];
    narrow.south[J] += 0.75f * s[j + 1] + 0.5f * (se[j] + sw[j + 1]);
  }
}

// Coarse row I from the narrow rows 2I - 1, 2I and 2I + 1; `below` is the weight of the last.
[[gnu::noinline]] inline void contract_rows(const StencilRow& above, const StencilRow& here, const StencilRow& next,
                                            float below, int64_t coarse_width, const StencilRow& out) {
#pragma omp simd
  for (int64_t J = 0; J < coarse_width; ++J) {
    out.centre[J] = here.centre[J] + 0.25f * above.centre[J] + below * below * next.centre[J] + above.south[J] +
                    2 * below * here.south[J];
    out.east[J] = here.east[J] + 0.25f * above.east[J] + below * below * next.east[J] +
                  0.5f * (above.south_east[J] + above.south_west[J + 1]) +
                  below * (here.south_east[J] + here.south_west[J + 1]);
  }
#pragma omp simd
  for (int64_t J = 0; J < coarse_width; ++J) {
    out.south[J] = 0.25f * next.centre[J] + 0.5f * (here.south[J] + next.south[J]);
    out.south_east[J] = 0.25f * next.east[J] + 0.5f * (here.south_east[J] + next.south_east[J]);
    out.south_west[J] = 0.25f * next.east[J - 1] + 0.5f * (here.south_west[J] + next.south_west[J]);
  }
}

// Zeroes the couplings to and from known coarse pixels; coarse pixel (I, J) is known if fine pixel (2I, 2J) is.
[[gnu::noinline]] inline void drop_known(const Level& fine, int64_t I, const Level& coarse, const StencilRow& row) {
  const float* here = fine.weight.row(2 * I);
  const float* below = fine.weight.row(I + 1 < coarse.height ? 2 * I + 2 : -1);
  for (int64_t J = 0; J < coarse.width; ++J) {
    const int64_t j = 2 * J;
    const bool kept = here[j] != 0;
    row.centre[J] = kept ? row.centre[J] : 0.0f;
    row.east[J] = kept && here[j + 2] != 0 ? row.east[J] : 0.0f;
    row.south_west[J] = kept && below[j - 2] != 0 ? row.south_west[J] : 0.0f;
    row.south[J] = kept && below[j] != 0 ? row.south[J] : 0.0f;
    row.south_east[J] = kept && below[j + 2] != 0 ? row.south_east[J] : 0.0f;
  }
}

// Computes the coarse stencil for coarse rows [first, last). Rows outside of the fine grid are zero.
inline void galerkin_rows(Level& fine, bool finest, Level& coarse, int64_t first, int64_t last) {
  const bool fold_columns = 2 * coarse.width == fine.width, fold_rows = 2 * coarse.height == fine.height;
  Plane<float> wide(5, fine.width), narrow(20, coarse.width);
  const auto narrow_row = [&](int64_t i) {
    const StencilRow row = scratch_row(narrow, i < 0 || i >= fine.height ? 15 : i % 3 * 5);
    if (i < 0 || i >= fine.height) return row;
    const StencilRow from = finest ? scratch_row(wide, 0) : stencil_row(fine, i);
    if (finest) finest_stencil_row(fine, i, from);
    contract_columns(from, coarse.width, fold_columns, row);
    return row;
  };
  StencilRow above = narrow_row(2 * first - 1);
  for (int64_t I = first; I < last; ++I) {
    const StencilRow here = narrow_row(2 * I), next = narrow_row(2 * I + 1);
    const bool fold = fold_rows && I + 1 == coarse.height;
    const StencilRow out = stencil_row(coarse, I);
    contract_rows(above, here, next, fold ? 1.0f : 0.5f, coarse.width, out);
    drop_known(fine, I, coarse, out);
    above = next;
  }
}

// Weight = damping / diagonal. If couplings have both signs, the sum of their magnitudes may exceed the diagonal; then
// damping is divided by the mean of the two, so that the Jacobi sweep is stable on every mask (by Gershgorin no
// eigenvalue exceeds 2).
[[gnu::noinline]] inline void fill_coarse_weights(Level& level, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    const StencilRow row = stencil_row(level, i), up = stencil_row(level, i - 1);
    float* weight = level.weight.row(i);
    for (int64_t j = 0; j < level.width; ++j) {
      const float couplings = std::fabs(row.east[j]) + std::fabs(row.east[j - 1]) + std::fabs(row.south[j]) +
                              std::fabs(row.south_east[j]) + std::fabs(row.south_west[j]) + std::fabs(up.south[j]) +
                              std::fabs(up.south_east[j - 1]) + std::fabs(up.south_west[j + 1]);
      const float mean = 0.5f * (row.centre[j] + couplings);
      const float diagonal = row.centre[j] > mean ? row.centre[j] : mean;
      weight[j] = row.centre[j] > 0 ? kDamping / diagonal : 0.0f;
    }
  }
}

// Sets a flag for each column that has an unknown pixel in rows [first, last); `flags` has space for 16 more columns on
// either side.
inline void flag_unknowns(const Level& level, int64_t first, int64_t last, uint8_t* flags) {
  for (int64_t i = first; i < last; ++i) {
    const float* weight = level.weight.row(i);
#pragma omp simd
    for (int64_t j = 0; j < level.width; ++j) flags[j] |= weight[j] != 0;
  }
}

// Cuts rows [first, last) into blocks around their unknown pixels; known columns between two blocks are skipped.
inline void append_blocks(const Level& level, int64_t first, int64_t last, std::vector<Block>& blocks) {
  constexpr int64_t kStrip = 16;
  const int64_t width = round_up(level.width, kStrip);
  std::vector<uint8_t> memory(width + 2 * kStrip, 0);
  uint8_t* flags = memory.data() + kStrip;
  flag_unknowns(level, first, last, flags);
  bool open = false;
  for (int64_t j = 0; j < width; j += kStrip) {
    const bool wanted = std::memchr(flags + j - 1, 1, kStrip + 2) != nullptr;
    if (wanted && !open) blocks.push_back({first, last, j, j});
    if (wanted) blocks.back().end = j + kStrip;
    open = wanted;
  }
}

inline void fill_blocks(Level& level) {
  const int64_t bands = (level.height + Level::kBlockRows - 1) / Level::kBlockRows;
  std::vector<std::vector<Block>> parts(bands);
  parallel_for(bands, level.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * Level::kBlockRows;
      append_blocks(level, first, std::min(level.height, first + Level::kBlockRows), parts[b]);
    }
  });
  for (const std::vector<Block>& part : parts) level.blocks.insert(level.blocks.end(), part.begin(), part.end());
}

// A level's regular stencil from that of the finer level: contract_columns and contract_rows for constant couplings.
inline RegularStencil coarser(const RegularStencil& fine) {
  const float centre = 1.5f * fine.centre + 2 * fine.side, east = 0.25f * fine.centre + fine.side;
  const float south = 1.5f * fine.side + 2 * fine.corner, south_east = 0.25f * fine.side + fine.corner;
  RegularStencil coarse{};
  coarse.centre = 1.5f * centre + 2 * south;
  coarse.side = 1.5f * east + 2 * south_east;
  coarse.corner = 0.25f * east + south_east;
  coarse.weight = kDamping / coarse.centre;
  return coarse;
}

[[gnu::noinline]] inline void flag_irregular(Level& level, bool finest, int64_t i, uint8_t* flags) {
  const RegularStencil typical = level.typical;
  const float* weight = level.weight.row(i);
#pragma omp simd
  for (int64_t j = 0; j < level.width; ++j) flags[j] = weight[j] != typical.weight;
  if (finest) return;
  const StencilRow row = stencil_row(level, i), up = stencil_row(level, i - 1);
#pragma omp simd
  for (int64_t j = 0; j < level.width; ++j) {
    const bool sides = (row.east[j] == typical.side) & (row.east[j - 1] == typical.side) &
                       (row.south[j] == typical.side) & (up.south[j] == typical.side);
    const bool corners = (row.south_west[j] == typical.corner) & (row.south_east[j] == typical.corner) &
                         (up.south_west[j + 1] == typical.corner) & (up.south_east[j - 1] == typical.corner);
    flags[j] |= !(sides & corners & (row.centre[j] == typical.centre));
  }
}

// Finds the regular runs of every row, in strips of 8 columns; short runs are ignored, as they are not worth a call.
inline void fill_regular(Level& level, bool finest) {
  constexpr int64_t kStrip = 8, kShortest = 32;
  const int64_t strips = level.width / kStrip;
  parallel_for(level.height, 1 + 65536 / level.width, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> flags(level.width);
    for (int64_t i = begin; i < end; ++i) {
      flag_irregular(level, finest, i, flags.data());
      for (int64_t strip = 0, first = 0; strip <= strips; ++strip) {
        if (strip < strips && !std::memchr(flags.data() + kStrip * strip, 1, kStrip)) continue;
        if (kStrip * (strip - first) >= kShortest) level.regular[i].push_back({kStrip * first, kStrip * strip});
        first = strip + 1;
      }
    }
  });
}

inline void factor_coarsest(const Level& level, CoarsestSolve& solve) {
  for (int64_t i = 0; i < level.height; ++i) {
    for (int64_t j = 0; j < level.width; ++j) {
      if (level.weight.row(i)[j] != 0) solve.pixels.emplace_back(i, j);
    }
  }
  const auto coupling = [&](const std::pair<int64_t, int64_t>& p, const std::pair<int64_t, int64_t>& q) -> double {
    // q comes after p in reading order.
    const int64_t di = q.first - p.first, dj = q.second - p.second;
    if (di == 0 && dj == 0) return level.centre.row(p.first)[p.second];
    if (di == 0 && dj == 1) return level.east.row(p.first)[p.second];
    if (di != 1 || std::abs(dj) > 1) return 0;
    return (dj < 0 ? level.south_west : dj == 0 ? level.south : level.south_east).row(p.first)[p.second];
  };
  const size_t n = solve.pixels.size();
  solve.factor.assign(n * n, 0.0);
  double* factor = solve.factor.data();
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k <= i; ++k) {
      const double entry = coupling(solve.pixels[k], solve.pixels[i]);
      double rest = entry;
      for (size_t t = 0; t < k; ++t) rest -= factor[i * n + t] * factor[k * n + t];
      // Pivots are positive in exact arithmetic; the lower bound keeps them positive despite rounding.
      factor[i * n + k] = i == k ? std::sqrt(std::max(rest, 1e-9 * entry)) : rest / factor[k * n + k];
    }
  }
}

inline void build_hierarchy(Hierarchy& hierarchy, const bool* mask, const Canvas& canvas) {
  std::vector<Level>& levels = hierarchy.levels;
  fill_finest_weights(levels[0], mask, canvas);
  fill_blocks(levels[0]);
  levels[0].typical = {4, -1, 0, kDamping / 4};
  fill_regular(levels[0], true);
  for (size_t l = 1; l < levels.size(); ++l) {
    Level &fine = levels[l - 1], &coarse = levels[l];
    const auto each_rows = [&](const auto& body) { parallel_for(coarse.height, 1 + 65536 / coarse.width, body); };
    each_rows([&](int64_t begin, int64_t end) { galerkin_rows(fine, l == 1, coarse, begin, end); });
    each_rows([&](int64_t begin, int64_t end) { fill_coarse_weights(coarse, begin, end); });
    fill_blocks(coarse);
    coarse.typical = coarser(fine.typical);
    fill_regular(coarse, false);
  }
  factor_coarsest(levels.back(), hierarchy.coarsest);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
