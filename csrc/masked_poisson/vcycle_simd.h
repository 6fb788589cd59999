// The preconditioner: one V-cycle, in two passes over every level. Included by masked_poisson_cpu_simd.h.
//
//     down:  coarse rhs = P^T (rhs - A s),  s = weight rhs
//     up:    z = s + P (coarse fix),        fix = z + weight (rhs - A z)
//
// Both passes stream over rows and keep only three rows of s or z in scratch memory.

namespace pydlx {
namespace PYDLX_SIMD {

// Runs body(block, scratch) for all blocks in parallel and sums the results in the order of the blocks. `scratch` has
// `rows` rows of `width` elements and is used by one body at a time.
template <class T, class Body>
inline double sum_over_blocks(const Level& level, int64_t rows, int64_t width, const Body& body) {
  const int64_t count = static_cast<int64_t>(level.blocks.size());
  std::vector<double> sums(count, 0.0);
  parallel_for(count, level.grain(), [&](int64_t begin, int64_t end) {
    Plane<T> scratch(rows, width);
    for (int64_t b = begin; b < end; ++b) sums[b] = body(level.blocks[b], scratch);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

template <Grid kGrid, class T>
inline void restrict_residual(const Level& fine, const Plane<T>& rhs, const Level& coarse, Plane<float>& coarse_rhs) {
  // A last fine row or column with an odd index interpolates from the last coarse one alone: weight 1, not 1/2.
  const bool fold_rows = 2 * coarse.height == fine.height, fold_columns = 2 * coarse.width == fine.width;
  sum_over_blocks<float>(coarse, 7, fine.width, [&](const Block& block, Plane<float>& scratch) {
    const int64_t begin = 2 * block.begin, end = std::min(2 * block.end, round_up(fine.width, 16));
    const auto smooth = [&](int64_t i) {
      float* s = scratch.row(i % 3);
      each_part<kGrid>(fine, i, begin, end, [&](const auto&, const auto& weight, int64_t from, int64_t to) {
        smooth_row(weight, rhs.row(i), s, from, to);
      });
      finish_row(s, begin, end, fine.width);
    };
    int64_t next = std::max<int64_t>(0, 2 * block.first_row - 1);  // the next row to compute the residual of
    for (int64_t i = std::max<int64_t>(0, next - 1); i <= next; ++i) smooth(i);
    const auto residual_up_to = [&](int64_t last) {
      for (; next <= std::min(last, fine.height - 1); ++next) {
        if (next + 1 < fine.height) smooth(next + 1);
        const RowTriple<float> s = ring_around(scratch, next, fine.height);
        each_part<kGrid>(fine, next, begin, end,
                         [&](const auto& stencil, const auto& weight, int64_t from, int64_t to) {
                           residual_row(stencil, weight, rhs.row(next), s, scratch.row(3 + next % 3), from, to);
                         });
      }
    };
    const int64_t last_row = std::min(block.last_row, (fine.height + 1) / 2);  // coarse rows from there on are known
    for (int64_t I = block.first_row; I < last_row; ++I) {
      residual_up_to(2 * I + 1);
      const float above_weight = I > 0 ? 0.5f : 0.0f;
      const float below_weight = 2 * I + 1 >= fine.height ? 0.0f : fold_rows && I + 1 == coarse.height ? 1.0f : 0.5f;
      float* sum = scratch.row(6);
      restrict_rows(scratch.row(3 + (2 * I + 2) % 3), above_weight, scratch.row(3 + 2 * I % 3),
                    scratch.row(3 + (2 * I + 1) % 3), below_weight, sum, begin, end);
      if (fold_columns && end >= fine.width) sum[fine.width - 1] *= 2;
      restrict_columns(sum, coarse.weight.row(I), coarse_rhs.row(I), block.begin, block.end);
    }
    return 0.0;
  });
}

// Returns rhs . fix
template <Grid kGrid, class T>
inline double correct_and_relax(const Level& fine, const Plane<T>& rhs, const Level& coarse,
                                const Plane<float>& coarse_fix, Plane<float>& fix) {
  return sum_over_blocks<float>(fine, 5, fine.width, [&](const Block& block, Plane<float>& scratch) {
    const int64_t begin = block.begin, end = block.end;
    const auto correct = [&](int64_t i) {
      const float* line = coarse_fix.row(i / 2);
      if (i % 2 == 1) {
        float* mean = scratch.row(3);
        mean_row(line, coarse_fix.row(std::min(i / 2 + 1, coarse.height - 1)), mean, begin / 2, end / 2 + 1);
        line = mean;
      }
      float *correction = scratch.row(4), *z = scratch.row(i % 3);
      prolong_columns(line, correction, begin / 2, end / 2);
      each_part<kGrid>(fine, i, begin, end, [&](const auto&, const auto& weight, int64_t from, int64_t to) {
        correct_row(weight, rhs.row(i), correction, z, from, to);
      });
      finish_row(z, begin, end, fine.width);
    };
    double sum = 0;
    for (int64_t i = std::max<int64_t>(0, block.first_row - 1); i <= block.first_row; ++i) correct(i);
    for (int64_t i = block.first_row; i < block.last_row; ++i) {
      if (i + 1 < fine.height) correct(i + 1);
      const RowTriple<float> z = ring_around(scratch, i, fine.height);
      each_part<kGrid>(fine, i, begin, end, [&](const auto& stencil, const auto& weight, int64_t from, int64_t to) {
        relax_row(stencil, weight, rhs.row(i), z, fix.row(i), from, to);
      });
      finish_row(fix.row(i), begin, end, fine.width);
      sum += dot_row(rhs.row(i), fix.row(i), begin, std::min(end, fine.width));
    }
    return sum;
  });
}

inline void solve_coarsest(const CoarsestSolve& solve, const Level& level, const Plane<float>& rhs, Plane<float>& fix) {
  const size_t n = solve.pixels.size();
  const double* factor = solve.factor.data();
  std::vector<double> y(n);
  for (size_t i = 0; i < n; ++i) {
    double rest = rhs.row(solve.pixels[i].first)[solve.pixels[i].second];
    for (size_t k = 0; k < i; ++k) rest -= factor[i * n + k] * y[k];
    y[i] = rest / factor[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    y[i] /= factor[i * n + i];
    for (size_t k = 0; k < i; ++k) y[k] -= factor[i * n + k] * y[i];
    fix.row(solve.pixels[i].first)[solve.pixels[i].second] = static_cast<float>(y[i]);
  }
  for (int64_t i = 0; i < level.height; ++i) finish_row(fix.row(i), 0, round_up(level.width, 16), level.width);
}

// correction = V residual; returns their inner product.
template <class T>
inline double precondition(const Hierarchy& hierarchy, Workspace<T>& w) {
  const std::vector<Level>& levels = hierarchy.levels;
  restrict_residual<Grid::kFinest>(levels[0], w.residual, levels[1], w.coarse_rhs[0]);
  for (size_t l = 1; l + 1 < levels.size(); ++l) {
    restrict_residual<Grid::kCoarse>(levels[l], w.coarse_rhs[l - 1], levels[l + 1], w.coarse_rhs[l]);
  }
  solve_coarsest(hierarchy.coarsest, levels.back(), w.coarse_rhs.back(), w.coarse_fix.back());
  for (size_t l = levels.size() - 2; l > 0; --l) {
    correct_and_relax<Grid::kCoarse>(levels[l], w.coarse_rhs[l - 1], levels[l + 1], w.coarse_fix[l],
                                     w.coarse_fix[l - 1]);
  }
  return correct_and_relax<Grid::kFinest>(levels[0], w.residual, levels[1], w.coarse_fix[0], w.correction);
}

}  // namespace PYDLX_SIMD
}  // namespace pydlx
