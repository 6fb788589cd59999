// CornerNet's decoding on CUDA: launches and registration. The kernels are in decode_corners.cuh.
#include "common/launch.cuh"
#include "decode_corners/decode_corners.cuh"

namespace pydlx {
namespace {

// The most chunks of a heat map, and the least number of pixels that a chunk has per slot of its ranking.
constexpr int64_t kMostChunks = 64, kCellsOfPlace = 4;

// Slots that a ranking of `count` items needs: a power of two.
int64_t ranking_room(int64_t count) {
  int64_t room = 1;
  while (room < count + kDecodeThreads) room *= 2;
  return room;
}

DecodeChunks chunks_of(const DecodeTask& task) {
  const int64_t room = ranking_room(task.corners);
  const int64_t cells = std::max(kCellsOfPlace * room, (task.cells() + kMostChunks - 1) / kMostChunks);
  return {(task.cells() + cells - 1) / cells, cells, room};
}

template <class Item>
Tensor workspace(const Tensor& like, int64_t count) {
  return uninitialised(like, {count * static_cast<int64_t>(sizeof(Item))}, ScalarType::Byte);
}

template <class T>
void decode(const DecodeCall& call, cudaStream_t stream) {
  using A = accumulate_t<T>;
  const DecodeTask& task = call.task;
  const DecodeChunks chunks = chunks_of(task);
  const int64_t maps = 2 * task.batch, room = ranking_room(std::max(task.corners, task.rows));
  const dim3 grid(static_cast<unsigned>(chunks.count), static_cast<unsigned>(std::min(maps, kMaxBlocks)));
  const dim3 entries(static_cast<unsigned>(std::min(task.batch, kMaxBlocks)));
  const Tensor of_chunks = workspace<Ranked<A>>(call.tl.heat, chunks.place(maps, 0));
  const Tensor ranked = workspace<Ranked<A>>(call.tl.heat, entries.x * room);
  const Tensor corners = workspace<Corner<A>>(call.tl.heat, entries.x * 2 * task.corners);
  const CornerMaps<T> tl = corner_maps<T>(call.tl), br = corner_maps<T>(call.br);
  PYDLX_LAUNCH(rank_cells_kernel<T>, grid, kDecodeThreads, 0, stream, task, chunks, tl.heat, br.heat,
               output_data<Ranked<A>>(of_chunks));
  PYDLX_LAUNCH(pair_corners_kernel<T>, entries, kDecodeThreads, 0, stream, task, chunks, room, tl, br,
               input_data<Ranked<A>>(of_chunks), output_data<Ranked<A>>(ranked), output_data<Corner<A>>(corners),
               call.results<A>());
}

std::tuple<Tensor, Tensor, Tensor, Tensor> decode_corners(const Tensor& heat_tl, const Tensor& heat_br,
                                                          const Tensor& tag_tl, const Tensor& tag_br,
                                                          const Tensor& offset_tl, const Tensor& offset_br,
                                                          int64_t top_k, int64_t kernel_size, double tag_threshold,
                                                          int64_t max_detections) {
  const DeviceScope scope(heat_tl);
  const DecodeCall call({heat_tl, tag_tl, offset_tl}, {heat_br, tag_br, offset_br}, top_k, kernel_size, tag_threshold,
                        max_detections);
  if (call.scores.numel() == 0) return call.outputs();
  dispatch_floating(heat_tl.scalar_type(), "decode_corners",
                    [&](auto zero) { decode<decltype(zero)>(call, scope.stream()); });
  check_launch("decode_corners");
  return call.outputs();
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) { m.impl("decode_corners", TORCH_BOX(&pydlx::decode_corners)); }
