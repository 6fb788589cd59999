// Decoding of spans on CUDA: launches and registration. The kernel is in decode_spans.cuh.
#include "common/launch.cuh"
#include "decode_spans/decode_spans.cuh"

namespace pydlx {
namespace {

std::tuple<Tensor, Tensor> decode_spans(const Tensor& start, const Tensor& end, const std::optional<Tensor> mask,
                                        int64_t max_length, int64_t top_k) {
  const DeviceScope scope(start);
  const SpanCall call(start, end, mask, max_length, top_k);
  const int64_t blocks = std::min(call.task.batch, kMaxBlocks);
  if (blocks == 0) return {call.first, call.last};
  dispatch_floating(start.scalar_type(), "decode_spans", [&](auto zero) {
    using T = decltype(zero);
    using A = accumulate_t<T>;
    const ScalarType wide = sizeof(A) == 8 ? ScalarType::Double : ScalarType::Float;
    const Tensor scores = uninitialised(call.start, {blocks, 3, call.task.length}, wide);
    const Tensor ends_found = uninitialised(call.start, {blocks, call.task.length}, ScalarType::Long);
    PYDLX_LAUNCH(decode_spans_kernel<T>, dim3(static_cast<unsigned>(blocks)), kSpanThreads, 0, scope.stream(),
                 call.task, input_data<T>(call.start), input_data<T>(call.end), call.allowed(), output_data<A>(scores),
                 output_data<int64_t>(ends_found), output_data<int64_t>(call.first), output_data<int64_t>(call.last));
  });
  check_launch("decode_spans");
  return {call.first, call.last};
}

}  // namespace
}  // namespace pydlx

STABLE_TORCH_LIBRARY_IMPL(pydlx, PYDLX_DEVICE_KEY, m) { m.impl("decode_spans", TORCH_BOX(&pydlx::decode_spans)); }
