// Using pydlx from C++: link against the op library (or dlopen it), look the op up by name, call it.
//
// The ops run forward here; their gradients are registered from Python. `pydlx::_soft_pool_backward` is an op as well.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdio>

at::Tensor soft_pool2d(const at::Tensor& x, int64_t kernel) {
  using Signature = at::Tensor(const at::Tensor&, at::IntArrayRef, bool, bool);
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("pydlx::soft_pool", "").typed<Signature>();
  // Kernel size, stride, padding and dilation of both axes.
  const int64_t window[] = {kernel, kernel, kernel, kernel, 0, 0, 1, 1};
  return op.call(x, window, /*ceil_mode=*/false, /*straight_through=*/false);
}

int main() {
  const at::Tensor x = at::arange(32, at::kFloat).reshape({1, 2, 4, 4}) / 8;
  const at::Tensor y = soft_pool2d(x, 2);

  // The same by the definition: softmax over each 2 x 2 window.
  const at::Tensor windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4);
  const at::Tensor expected = (windows.softmax(-1) * windows).sum(-1);
  const double error = (y - expected).abs().max().item<double>();
  std::printf("soft_pool2d: (1, 2, 4, 4) -> (%ld, %ld, %ld, %ld), largest error %.1e\n", long(y.size(0)),
              long(y.size(1)), long(y.size(2)), long(y.size(3)), error);
  return error < 1e-6 ? 0 : 1;
}
