// The masked Poisson solver on CUDA: memory, launches and registration. The method is in masked_poisson.h, the kernels
// in masked_poisson.cuh and what it includes.
//
// The host reads the number of finished planes every kBatch iterations: 2 times for the 7 to 12 iterations that float32
// takes, 3 times for float64. Launching all max_iterations without reading it would cost 2 to 3 microseconds for each
// launch that has nothing to do, about a thousand by default. That is done only while a CUDA graph is captured, because
// a capture cannot wait; every replay then has that cost.
#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "common/launch.cuh"
#include "masked_poisson/masked_poisson.cuh"
#include "masked_poisson/vcycle.cuh"

namespace pydlx {
namespace {

constexpr int64_t kLastLevelsBytes = 64 * 1024;  // shared memory that a block may have on every GPU

/// The right sides of all planes, and the output pointers.
template <class T>
struct Problem {
  int64_t masks, planes_of_each, height, width;
  const T *rhs, *initial;  // initial may be null
  const bool* mask;
  T* solution;
  double* residuals;
  StoppingRule rule;

  int64_t planes() const { return masks * planes_of_each; }
  int64_t pixels() const { return height * width; }
};

/// Sizes of all coarse grids, from fine to coarse; at least one.
std::vector<GridSize> coarse_sizes(int64_t height, int64_t width) {
  std::vector<GridSize> sizes;
  do {
    height = (height + 1) / 2;
    width = (width + 1) / 2;
    sizes.push_back({static_cast<int>(height), static_cast<int>(width)});
  } while (height * width > kCoarsestPixels);
  return sizes;
}

/// Shared memory that the last levels need if they start at level `first`.
int64_t last_levels_bytes(const std::vector<GridSize>& sizes, size_t first) {
  int64_t floats = 2 * (int64_t{sizes[first].height} + 2) * (int64_t{sizes[first].width} + 2);
  for (size_t l = first; l < sizes.size(); ++l) floats += sizes[l].pixels();
  return floats * static_cast<int64_t>(sizeof(float));
}

/// One tensor that holds an array for each coarse grid.
class Shares {
 public:
  /// sizes[l] elements for level l.
  Shares(const Tensor& like, const std::vector<int64_t>& sizes, ScalarType dtype) {
    for (const int64_t size : sizes) {
      starts_.push_back(count_);
      count_ += (size + kAlignment - 1) / kAlignment * kAlignment;
    }
    memory_ = uninitialised(like, {count_}, dtype);
  }

  template <class T>
  T* of(size_t level) const {
    return output_data<T>(memory_) + starts_[level];
  }
  int64_t count() const { return count_; }

 private:
  static constexpr int64_t kAlignment = 32;  // numbers: 128 bytes of float32
  std::vector<int64_t> starts_;
  int64_t count_ = 0;
  Tensor memory_;
};

template <class T>
class Solve {
 public:
  Solve(const Problem<T>& problem, const Tensor& like, cudaStream_t stream)
      : problem_(problem),
        stream_(stream),
        sizes_(coarse_sizes(problem.height, problem.width)),
        planes_(problem.masks, problem.planes_of_each),
        max_iterations_(
            static_cast<int>(std::min<int64_t>(problem.rule.max_iterations, std::numeric_limits<int>::max()))),
        batch_(std::min(kBatch, max_iterations_)),
        tiling_(problem.height, problem.width),
        weights_(like, per_level(problem.masks), ScalarType::Float),
        stencils_(like, per_level(5 * problem.masks), ScalarType::Float),
        rhs_(like, per_level(problem.planes()), ScalarType::Float),
        fix_(like, per_level(problem.planes()), ScalarType::Float),
        coarse_busy_(like, tiles_per_level(problem.masks), ScalarType::Byte),
        busy_(uninitialised(like, {problem.masks * tiling_.count}, ScalarType::Byte)),
        inverses_(uninitialised(like, {problem.masks * kCoarsestPixels * kCoarsestPixels}, ScalarType::Float)),
        residual_(uninitialised(like, {numbers()})),
        correction_(uninitialised(like, {numbers()}, ScalarType::Float)),
        directions_(uninitialised(like, {batch_ * numbers()})),
        solution_(uninitialised(like, {numbers()}, ScalarType::Double)),
        parts_(uninitialised(like, {problem.planes() * tiling_.count}, ScalarType::Double)),
        states_(uninitialised(like, {state_bytes() + static_cast<int64_t>(sizeof(unsigned))}, ScalarType::Byte)) {
    while (last_levels_bytes(sizes_, first_last_) > kLastLevelsBytes) ++first_last_;
    for (size_t l = first_last_; l < sizes_.size(); ++l) {
      last_.levels[last_.count++] = {grid(l), Divisor<int32_t>(sizes_[l].width), Divisor<int32_t>(sizes_[l].width + 2)};
    }
    last_.inverses = output_data<float>(inverses_);
    last_bytes_ = static_cast<int>(last_levels_bytes(sizes_, first_last_));
    allow_shared(last_levels_kernel, last_bytes_, "masked_poisson");
  }

  void run() {
    build();
    start();
    const bool waits = may_wait();
    // Every plane that is not done makes at least one iteration per batch.
    const int batches = waits ? max_iterations_ : (max_iterations_ - 1) / batch_ + 1;
    for (int k = 1; k <= batches; ++k) {
      for (int number = 0; number < batch_; ++number) iterate(number);
      advance();
      check(k == batches);
      if (waits && all_done()) break;
    }
    store();
  }

 private:
  std::vector<int64_t> per_level(int64_t copies) const {
    std::vector<int64_t> counts;
    for (const GridSize& size : sizes_) counts.push_back(copies * size.pixels());
    return counts;
  }
  std::vector<int64_t> tiles_per_level(int64_t copies) const {
    std::vector<int64_t> counts;
    for (const GridSize& size : sizes_) counts.push_back(copies * Tiling(size.height, size.width).count);
    return counts;
  }
  int64_t numbers() const { return problem_.planes() * problem_.pixels(); }
  int64_t state_bytes() const { return problem_.planes() * static_cast<int64_t>(sizeof(PlaneState)); }

  FinestGrid finest() const {
    const GridSize size{static_cast<int>(problem_.height), static_cast<int>(problem_.width)};
    return {size, tiling_, problem_.mask, output_data<uint8_t>(busy_)};
  }
  CoarseGrid grid(size_t l) const {
    return {sizes_[l], Tiling(sizes_[l].height, sizes_[l].width), weights_.of<float>(l), stencils_.of<float>(l),
            coarse_busy_.of<uint8_t>(l)};
  }
  PlaneState* states() const { return reinterpret_cast<PlaneState*>(output_data<uint8_t>(states_)); }
  unsigned* done() const { return reinterpret_cast<unsigned*>(output_data<uint8_t>(states_) + state_bytes()); }
  double* parts() const { return output_data<double>(parts_); }
  Report report() const { return {problem_.residuals, done()}; }
  T* direction(int number) const { return output_data<T>(directions_) + number * numbers(); }

  static unsigned blocks(int64_t planes, const Tiling& tiling) { return static_cast<unsigned>(planes * tiling.count); }
  unsigned mask_blocks(const Tiling& tiling) const { return blocks(problem_.masks, tiling); }
  unsigned plane_blocks(const Tiling& tiling) const { return blocks(problem_.planes(), tiling); }

  void build() const {
    PYDLX_LAUNCH(flag_tiles_kernel, mask_blocks(tiling_), kTileThreads, 0, stream_, finest());
    for (size_t l = 0; l <= first_last_; ++l) {
      const CoarseGrid coarse = grid(l);
      const unsigned blocks = mask_blocks(coarse.tiling);
      if (l == 0) {
        PYDLX_LAUNCH(coarse_couplings_kernel<FinestGrid>, blocks, kTileThreads, 0, stream_, finest(), coarse);
      } else {
        PYDLX_LAUNCH(coarse_couplings_kernel<CoarseGrid>, blocks, kTileThreads, 0, stream_, grid(l - 1), coarse);
      }
      PYDLX_LAUNCH(coarse_weights_kernel, blocks, kTileThreads, 0, stream_, coarse);
    }
    PYDLX_LAUNCH(build_last_levels_kernel, static_cast<unsigned>(problem_.masks), kBuildThreads, 0, stream_, last_);
  }

  void start() const {
    // Corrections of coarse levels must be zero on tiles without an unknown pixel, which no kernel writes.
    cudaMemsetAsync(fix_.of<float>(0), 0, static_cast<size_t>(fix_.count()) * sizeof(float), stream_);
    cudaMemsetAsync(states(), 0, static_cast<size_t>(state_bytes()) + sizeof(unsigned), stream_);
    PYDLX_LAUNCH(peak_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_, problem_.rhs,
                 states(), parts());
    PYDLX_LAUNCH(start_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_, problem_.rhs,
                 problem_.initial, problem_.rule.tolerance, output_data<double>(solution_), output_data<T>(residual_),
                 states(), parts(), report());
    if (problem_.initial) check(false);
  }

  void iterate(int number) const {
    precondition();
    PYDLX_LAUNCH(direction_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_,
                 input_data<float>(correction_), direction(number > 0 ? number - 1 : batch_ - 1), direction(number),
                 states(), parts());
    PYDLX_LAUNCH(reduce_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_,
                 direction(number), number, max_iterations_, output_data<T>(residual_), states(), parts());
  }

  void precondition() const {
    PYDLX_LAUNCH((restrict_kernel<FinestGrid, T>), plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), grid(0),
                 planes_, states(), input_data<T>(residual_), rhs_.of<float>(0));
    for (size_t l = 0; l < first_last_; ++l) {
      PYDLX_LAUNCH((restrict_kernel<CoarseGrid, float>), plane_blocks(grid(l).tiling), kTileThreads, 0, stream_,
                   grid(l), grid(l + 1), planes_, states(), rhs_.of<float>(l), rhs_.of<float>(l + 1));
    }
    PYDLX_LAUNCH(last_levels_kernel, static_cast<unsigned>(problem_.planes()), kLastThreads, last_bytes_, stream_,
                 last_, planes_, states(), rhs_.of<float>(first_last_), fix_.of<float>(first_last_));
    for (size_t l = first_last_; l-- > 0;) {
      PYDLX_LAUNCH((correct_kernel<CoarseGrid, float>), plane_blocks(grid(l).tiling), kTileThreads, 0, stream_, grid(l),
                   sizes_[l + 1], planes_, states(), rhs_.of<float>(l), fix_.of<float>(l + 1), fix_.of<float>(l),
                   nullptr);
    }
    PYDLX_LAUNCH((correct_kernel<FinestGrid, T>), plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), sizes_[0],
                 planes_, states(), input_data<T>(residual_), fix_.of<float>(0), output_data<float>(correction_),
                 parts());
  }

  void advance() const {
    PYDLX_LAUNCH(advance_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_, states(),
                 input_data<T>(directions_), numbers(), output_data<double>(solution_));
  }

  void check(bool ends) const {
    PYDLX_LAUNCH(check_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_, problem_.rhs,
                 input_data<double>(solution_), max_iterations_, ends, output_data<T>(residual_), states(), parts(),
                 report());
  }

  void store() const {
    PYDLX_LAUNCH(store_kernel<T>, plane_blocks(tiling_), kTileThreads, 0, stream_, finest(), planes_, states(),
                 input_data<double>(solution_), problem_.solution);
  }

  bool may_wait() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream_, &status) == cudaSuccess) return status == cudaStreamCaptureStatusNone;
    cudaGetLastError();  // clear the error: the query is not allowed while another thread captures
    return true;
  }

  /// Waits for the device. Also true if that fails; check_launch then reports the error.
  bool all_done() const {
    unsigned count = 0;
    if (cudaMemcpyAsync(&count, done(), sizeof(count), cudaMemcpyDeviceToHost, stream_) != cudaSuccess) return true;
    return cudaStreamSynchronize(stream_) != cudaSuccess || count == static_cast<unsigned>(problem_.planes());
  }

  const Problem<T> problem_;
  const cudaStream_t stream_;
  const std::vector<GridSize> sizes_;  // of the coarse grids
  const Planes planes_;
  const int max_iterations_, batch_;
  const Tiling tiling_;
  const Shares weights_, stencils_, rhs_, fix_, coarse_busy_;
  const Tensor busy_, inverses_, residual_, correction_, directions_, solution_, parts_, states_;
  size_t first_last_ = 0;  // index of the coarse grid at which the last levels start
  LastLevels last_;
  int last_bytes_ = 0;
};

/// Requires that numbers of blocks and pixels fit into 32 bits.
void check_sizes(const Tensor& rhs) {
  const int64_t height = rhs.size(2), width = rhs.size(3);
  const int64_t tiles = ((height + kTileRows - 1) / kTileRows) * ((width + kTileColumns - 1) / kTileColumns);
  const int64_t most = std::numeric_limits<int32_t>::max();
  STD_TORCH_CHECK(std::max(height, width) < most / 2 && rhs.size(0) * rhs.size(1) <= most / tiles,
                  "masked_poisson: rhs is too large");
}

std::tuple<Tensor, Tensor> masked_poisson(const Tensor& rhs, const Tensor& mask, const std::optional<Tensor> initial,
                                          double tolerance, int64_t max_iterations) {
  check_masked_poisson(rhs, mask, initial, max_iterations);
  const DeviceScope scope(rhs);
  const Tensor b = made_contiguous(rhs), m = made_contiguous(mask);
  const Tensor start = initial ? made_contiguous(*initial) : b;
  if (b.numel() == 0) {
    return {uninitialised_like(b), torch::stable::new_zeros(b, {b.size(0), b.size(1)}, ScalarType::Double)};
  }
  check_sizes(b);
  Tensor u = uninitialised(b, b.sizes());
  Tensor residual = uninitialised(b, {b.size(0), b.size(1)}, ScalarType::Double);
  dispatch_full_precision(b.scalar_type(), "masked_poisson", [&](auto zero) {
    using T = decltype(zero);
    const Problem<T> problem{b.size(0),
                             b.size(1),
                             b.size(2),
                             b.size(3),
                             input_data<T>(b),
                             initial ? input_data<T>(start) : nullptr,
                             input_data<bool>(m),
                             output_data<T>(u),
                             output_data<double>(residual),
                             {tolerance, max_iterations}};
    Solve<T>(problem, b, scope.stream()).run();
  });
  check_launch("masked_poisson");
  return {u, residual};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) { m.impl("masked_poisson", TORCH_BOX(&pydlx::masked_poisson)); }
