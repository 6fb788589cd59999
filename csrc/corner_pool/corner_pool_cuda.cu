// Corner pooling on CUDA: which kernel takes what, launches and registration.
#include "common/launch.cuh"
#include "corner_pool/corner_pair.cuh"

namespace pydlx {
namespace {

// From here on planes fill a GPU with a block each. Fewer ones of more than a block's elements are better cut up
// further, by a kernel for the columns and one for the rows.
constexpr int64_t kManyPlanes = 64, kSmallPlane = 16384;
// Up to here blocks hold as much of a plane as they can, for a GPU has room for them all at once.
constexpr int64_t kFewPlanes = 256;
constexpr int kPairThreadsOfMany = 256;
// How deep a block may be.
constexpr int64_t kMostDeep = 64;
// What a block may have of shared memory on every GPU.
constexpr int64_t kMostRoom = 48 * 1024;

// Columns of a block, and groups of elements along each: as few chunks as can be, about the same in all of them.
dim3 column_block(int64_t length) {
  const int64_t most = kMostColumnGroups * kColumnCells, chunks = (length + most - 1) / most;
  const int64_t groups = (length + chunks * kColumnCells - 1) / (chunks * kColumnCells);
  return dim3(static_cast<unsigned>(kColumnThreads / groups / kWarp * kWarp), static_cast<unsigned>(groups));
}

// Calls launch(columns, columns of a thread), the latter a constant.
template <class T, class Launch, class... Addresses>
void for_columns(const CornerScan& s, const Launch& launch, const Addresses*... addresses) {
  dispatch_vectors<kColumnsOfThread<T>>(
      s.inner,
      [&](auto vector) {
        dispatch_index(s.outer * s.inner, [&](auto zero) { launch(CornerColumns<decltype(zero)>(s, vector), vector); });
      },
      addresses...);
}

// With kAdd, the maxima are added to what `add` holds, which may be y.
template <bool kAdd, class T>
void scan_columns(const CornerScan& s, const T* x, const T* add, T* y, cudaStream_t stream) {
  const auto launch = [&](auto columns, auto vector) {
    const auto kernel = corner_columns_kernel<T, decltype(vector)::value, typename decltype(columns)::Count, kAdd>;
    const dim3 block = column_block(s.length);
    PYDLX_LAUNCH(kernel, blocks_for(columns.bundles, block.x), block, 0, stream, columns, x, add, y);
  };
  for_columns<T>(s, launch, x, y);
}

template <class T>
void scan_rows(const CornerScan& s, const T* x, T* y, cudaStream_t stream) {
  const auto launch = [&](auto vector) {
    constexpr int V = decltype(vector)::value;
    const CornerRows rows(s, V);
    const unsigned grid = blocks_for(s.outer, kRowThreads / kWarp * rows.rows_of_warp(kPieces<T, V>));
    PYDLX_LAUNCH((corner_rows_kernel<T, V>), grid, kRowThreads, 0, stream, rows, x, y);
  };
  dispatch_vectors<kVectorSize<T>, kCellsOfLane<T>>(s.length, launch, x, y);
}

template <class T>
void columns_gradient(const CornerScan& s, const T* grad, const T* x, T* dx, cudaStream_t stream) {
  const auto launch = [&](auto columns, auto vector) {
    const auto kernel = corner_columns_backward_kernel<T, decltype(vector)::value, typename decltype(columns)::Count>;
    const dim3 block = column_block(s.length);
    PYDLX_LAUNCH(kernel, blocks_for(columns.bundles, block.x), block, 0, stream, columns, grad, x, dx);
  };
  for_columns<T>(s, launch, grad, x, dx);
}

template <class T>
void rows_gradient(const CornerScan& s, const T* grad, const T* x, T* dx, cudaStream_t stream) {
  const auto launch = [&](auto vector) {
    constexpr int V = decltype(vector)::value;
    const CornerRows rows(s, V);
    const unsigned grid = blocks_for(s.outer, kRowThreads / kWarp * rows.rows_of_warp(kPieces<T, V>));
    PYDLX_LAUNCH((corner_rows_backward_kernel<T, V>), grid, kRowThreads, 0, stream, rows, grad, x, dx);
  };
  dispatch_vectors<kVectorSize<T>, kCellsOfLane<T>>(s.length, launch, grad, x, dx);
}

template <class T>
void scan(const CornerScan& s, const T* x, T* y, cudaStream_t stream) {
  if (s.inner == 1) return scan_rows(s, x, y, stream);
  scan_columns<false, T>(s, x, nullptr, y, stream);
}

template <class T>
void gradient(const CornerScan& s, const T* grad, const T* x, T* dx, cudaStream_t stream) {
  if (s.inner == 1) return rows_gradient(s, grad, x, dx, stream);
  columns_gradient(s, grad, x, dx, stream);
}

Tensor corner_pool(const Tensor& input, int64_t direction) {
  const DeviceScope scope(input);
  const Tensor x = dense(input);
  const CornerScan s = corner_scan(x, direction);
  Tensor y = uninitialised_like(x);
  if (y.numel() == 0) return y;
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    scan(s, input_data<T>(x), output_data<T>(y), scope.stream());
  });
  check_launch("corner_pool");
  return y;
}

Tensor corner_pool_backward(const Tensor& grad_output, const Tensor& input, int64_t direction) {
  Arguments("_corner_pool_backward", "x", input).check_alike("grad", grad_output);
  const DeviceScope scope(input);
  const Tensor x = dense(input), grad = in_format(grad_output, is_channels_last(x));
  const CornerScan s = corner_scan(x, direction);
  Tensor dx = uninitialised_like(x);
  if (dx.numel() == 0) return dx;
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    gradient(s, input_data<T>(grad), input_data<T>(x), output_data<T>(dx), scope.stream());
  });
  check_launch("corner_pool");
  return dx;
}

// The planes of contiguous maps that one kernel for both scans is to take, if it is.
std::optional<CornerPlanes> planes_of_pair(const Tensor& a, const Tensor& b, bool top_left) {
  if (is_channels_last(a) || is_channels_last(b)) return {};
  const CornerPlanes planes{a.size(0) * a.size(1), a.size(2), a.size(3), top_left};
  if (planes.planes < kManyPlanes && planes.cells() > kSmallPlane) return {};
  return planes;
}

int64_t power_of_two(int64_t at_least) {
  int64_t power = 1;
  while (power < at_least) power *= 2;
  return power;
}

// Lanes along a line of V elements each, groups of kPairCells / V lines, planes; whole warps in all.
template <int V>
dim3 pair_block(const CornerPlanes& s, int most_threads) {
  const int64_t threads = s.planes > kFewPlanes ? std::min(most_threads, kPairThreadsOfMany) : most_threads;
  constexpr int64_t kLines = kPairCells / V;
  const int64_t lanes = std::min<int64_t>(kWarp, power_of_two((s.width + V - 1) / V));
  const int64_t groups = std::min(threads / lanes, power_of_two((s.height + kLines - 1) / kLines));
  return dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(groups),
              static_cast<unsigned>(std::min<int64_t>(threads / lanes / groups, kMostDeep)));
}

// Whether the planes were taken; there is none for which shared memory is too small but very wide ones.
template <class T>
bool scan_planes(const CornerPlanes& s, const T* a, const T* b, T* y, cudaStream_t stream) {
  bool taken = false;
  const auto launch = [&](auto vector) {
    constexpr int V = decltype(vector)::value;
    const dim3 block = pair_block<V>(s, kPairThreads<T, V>);
    const bool strips = s.height > block.y * (kPairCells / V);
    const int64_t room = pair_room<accumulate_t<T>, V>(s, block.x * block.y * block.z, strips);
    taken = room <= kMostRoom;
    if (!taken) return;
    PYDLX_LAUNCH((corner_pair_kernel<T, V>), blocks_for(s.planes, block.z), block, room, stream, s, a, b, y);
  };
  dispatch_vectors<kPairVector>(s.width, launch, a, b, y);
  return taken;
}

Tensor corner_pool_pair(const Tensor& vertical, const Tensor& horizontal, bool top_left) {
  Arguments("corner_pool_pair", "vertical", vertical).check_alike("horizontal", horizontal);
  const DeviceScope scope(vertical);
  const Tensor a = dense(vertical);
  corner_scan(a, kTop);  // checks it
  const Tensor b = in_format(horizontal, is_channels_last(a));
  Tensor y = uninitialised_like(a);
  if (y.numel() == 0) return y;
  const auto planes = planes_of_pair(a, b, top_left);
  dispatch_floating(a.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    T* const to = output_data<T>(y);
    if (planes && scan_planes(*planes, input_data<T>(a), input_data<T>(b), to, scope.stream())) return;
    scan(corner_scan(b, top_left ? kLeft : kRight), input_data<T>(b), to, scope.stream());
    scan_columns<true, T>(corner_scan(a, top_left ? kTop : kBottom), input_data<T>(a), to, to, scope.stream());
  });
  check_launch("corner_pool");
  return y;
}

// Whether one kernel took both gradients. It knows lines of whole vectors that a warp holds.
template <class T>
bool planes_gradient(const CornerPlanes& s, const T* grad, const T* a, const T* b, const Tensor& d_vertical,
                     const Tensor& d_horizontal, cudaStream_t stream) {
  T *const to_a = output_data<T>(d_vertical), *const to_b = output_data<T>(d_horizontal);
  if (s.width > kWarp * kPairVector || !takes_vectors<kPairVector>(s.width, grad, a, b, to_a, to_b)) return false;
  const dim3 block = pair_block<kPairVector>(s, kPairBackwardThreads<T>);
  PYDLX_LAUNCH((corner_pair_backward_kernel<T>), blocks_for(s.planes, block.z), block, 0, stream, s, grad, a, b, to_a,
               to_b);
  return true;
}

std::tuple<Tensor, Tensor> corner_pool_pair_backward(const Tensor& grad_output, const Tensor& vertical,
                                                     const Tensor& horizontal, bool top_left) {
  const Arguments arguments("_corner_pool_pair_backward", "vertical", vertical);
  arguments.check_alike("grad", grad_output);
  arguments.check_alike("horizontal", horizontal);
  const DeviceScope scope(vertical);
  const Tensor a = dense(vertical), b = dense(horizontal), grad = in_format(grad_output, is_channels_last(a));
  const CornerScan down = corner_scan(a, top_left ? kTop : kBottom);
  const CornerScan along = corner_scan(b, top_left ? kLeft : kRight);
  Tensor d_vertical = uninitialised_like(a), d_horizontal = uninitialised_like(b);
  if (a.numel() == 0) return {d_vertical, d_horizontal};
  const Tensor grad_along = in_format(grad, is_channels_last(b));
  const auto planes = planes_of_pair(a, b, top_left);
  dispatch_floating(a.scalar_type(), "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    const T *const g = input_data<T>(grad), *const from_a = input_data<T>(a), *const from_b = input_data<T>(b);
    if (planes && planes_gradient(*planes, g, from_a, from_b, d_vertical, d_horizontal, scope.stream())) return;
    gradient(down, g, from_a, output_data<T>(d_vertical), scope.stream());
    gradient(along, input_data<T>(grad_along), from_b, output_data<T>(d_horizontal), scope.stream());
  });
  check_launch("corner_pool");
  return {d_vertical, d_horizontal};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) {
  m.impl("corner_pool", TORCH_BOX(&pydlx::corner_pool));
  m.impl("_corner_pool_backward", TORCH_BOX(&pydlx::corner_pool_backward));
  m.impl("corner_pool_pair", TORCH_BOX(&pydlx::corner_pool_pair));
  m.impl("_corner_pool_pair_backward", TORCH_BOX(&pydlx::corner_pool_pair_backward));
}
