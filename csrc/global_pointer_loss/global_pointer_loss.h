// The zlpr loss of GlobalPointer's span scores (arXiv 2208.03054), computed tile by tile. With query and key (B, H, L,
// d), rotated by their positions if rotary is set, and H = C types or 1, the span of type c from token m to token n has
//
//     s_c(m, n) = scale q_m . k_n [ + start_bias_c,m + end_bias_c,n ]
//
// A span counts if the mask (B, L) is true at both tokens, the score is not -inf and, with a triangle, m <= n. With the
// gold spans G among them:
//
//     P = log(1 + sum over G of exp(-s))        ds = - dP exp(-s - P)   in G
//     N = log(1 + sum over the others of exp(s))     + dN exp(s - N)    elsewhere
//
// P and N are `parts` (B, C, 2). Besides the arguments, only they are saved for the backward pass, which computes the
// scores again and from the slopes dS the gradients dQ += dS K and dK += dS^T Q and those of the biases, the sums of dS
// over rows and columns. The table of scores is never stored. N is summed without the gold spans; they are not
// subtracted, which would cancel. Padding is ignored and has gradient 0.
//
// Rotary: with theta_i = 10000^(-2 i / d), at position p
//     (x_2i, x_2i+1) -> (x_2i cos p theta_i - x_2i+1 sin p theta_i, x_2i+1 cos p theta_i + x_2i sin p theta_i)
//
// `cells` (2, N) has the gold spans' flat indices in tables (B, C, start, end) and (B, C, end, start), each row sorted.
// Indices that are negative, duplicates or in padding have no effect.
//
// Work: L^2 d multiply-adds for each item and head in the forward pass and three times as many in the backward, half of
// that with a triangle, and C L^2 exponentials in each. Bytes: the vectors of a tile's tokens for each tile, which is
// little in comparison.
#pragma once

#include <cmath>
#include <optional>
#include <tuple>

#include "common/accumulate.h"
#include "common/checks.h"
#include "common/log_sum.h"
#include "common/tensor_utils.h"

namespace pydlx {

struct GlobalPointerShape {
  int64_t batch, heads, types, length, size;
  bool rotary, triangle;
  double scale;

  PYDLX_HOST_DEVICE int64_t types_of_head() const { return types / heads; }
};

// Strides of (B, H, L, d): the elements of a vector must be contiguous, the other strides are arbitrary.
struct VectorStrides {
  int64_t item, head, token;

  explicit VectorStrides(const Tensor& x) : item(x.stride(0)), head(x.stride(1)), token(x.stride(2)) {}
  PYDLX_HOST_DEVICE int64_t place(int64_t i, int64_t h, int64_t position) const {
    return i * item + h * head + position * token;
  }
};

// Pointers of one call, null if not given. The biases, parts and their gradients have the accumulation type A.
template <class T>
struct GlobalPointerArrays {
  using A = accumulate_t<T>;
  const T *query, *key;
  VectorStrides query_strides, key_strides;
  const int64_t* cells;
  int64_t gold;  // N, the length of a row of cells
  const bool* mask;
  const A *start_bias, *end_bias;
  A* parts = nullptr;
  const A* grad = nullptr;
  T *grad_query = nullptr, *grad_key = nullptr;  // contiguous
  A *grad_start = nullptr, *grad_end = nullptr;
};

// theta_pair, the angle per position by which pair `pair` of a vector of `size` elements is rotated.
PYDLX_HOST_DEVICE inline double rotary_angle(int64_t pair, int64_t size) {
  return std::pow(10000.0, -2.0 * static_cast<double>(pair) / static_cast<double>(size));
}

// The checked arguments of a call, with supported strides.
struct GlobalPointerOperands {
  Tensor query, key, cells;
  std::optional<Tensor> mask, start_bias, end_bias;
  GlobalPointerShape shape;

  GlobalPointerOperands(const char* op, const char* name, const Tensor& first, const Tensor& query_, const Tensor& key_,
                        const Tensor& cells_, const std::optional<Tensor>& mask_,
                        const std::optional<Tensor>& start_bias_, const std::optional<Tensor>& end_bias_, bool rotary,
                        bool triangle, std::optional<double> scale) {
    const Arguments arguments(op, name, first);
    arguments.check_device("query", query_);
    arguments.check_shape("query", query_, {kAnySize, kAnySize, kAnySize, kAnySize});
    const int64_t batch = query_.size(0), heads = query_.size(1), length = query_.size(2), size = query_.size(3);
    arguments.check_positive("d", size);
    STD_TORCH_CHECK(!rotary || size % 2 == 0, op, ": rotary needs vectors of even size, got ", size);
    arguments.check("key", key_, query_.scalar_type(), query_.sizes());
    arguments.check("cells", cells_, ScalarType::Long, {2, kAnySize});
    if (mask_) arguments.check("mask", *mask_, ScalarType::Bool, {batch, length});
    STD_TORCH_CHECK(start_bias_.has_value() == end_bias_.has_value(), op,
                    ": start_bias and end_bias must be given together");
    int64_t types = heads;
    if (start_bias_) {
      const ScalarType wide = wide_dtype(query_);
      arguments.check("start_bias", *start_bias_, wide, {batch, kAnySize, length});
      types = start_bias_->size(1);
      STD_TORCH_CHECK(heads == 1 || heads == types, op, ": query must have 1 head or one for each of ", types,
                      " types, got ", heads);
      arguments.check("end_bias", *end_bias_, wide, {batch, types, length});
      start_bias = made_contiguous(*start_bias_);
      end_bias = made_contiguous(*end_bias_);
    }
    query = with_adjacent_numbers(query_);
    key = with_adjacent_numbers(key_);
    cells = made_contiguous(cells_);
    if (mask_) mask = made_contiguous(*mask_);
    shape = {batch, heads, types, length, size, rotary, triangle, scale.value_or(1 / std::sqrt(double(size)))};
  }

  static Tensor with_adjacent_numbers(const Tensor& x) { return x.stride(3) == 1 ? x : made_contiguous(x); }

  // Pointers to the inputs; the caller sets those of the outputs and of the incoming gradient.
  template <class T>
  GlobalPointerArrays<T> arrays() const {
    using A = accumulate_t<T>;
    return {input_data<T>(query),
            input_data<T>(key),
            VectorStrides(query),
            VectorStrides(key),
            input_data<int64_t>(cells),
            cells.size(1),
            mask ? input_data<bool>(*mask) : nullptr,
            start_bias ? input_data<A>(*start_bias) : nullptr,
            end_bias ? input_data<A>(*end_bias) : nullptr};
  }
};

// The op on a Device, which has a Scope, check_cells(const Tensor&) and
//   static void run(scope, const GlobalPointerOperands&, const GlobalPointerArrays<T>&, bool backward)
template <class Device>
struct GlobalPointerLossOp {
  static Tensor forward(const Tensor& query, const Tensor& key, const Tensor& cells, const std::optional<Tensor> mask,
                        const std::optional<Tensor> start_bias, const std::optional<Tensor> end_bias, bool rotary,
                        bool triangle, const std::optional<double> scale) {
    const typename Device::Scope scope(query);
    const GlobalPointerOperands operands("global_pointer_loss", "query", query, query, key, cells, mask, start_bias,
                                         end_bias, rotary, triangle, scale);
    Device::check_cells(operands.cells);
    const GlobalPointerShape& shape = operands.shape;
    const Tensor parts = uninitialised(query, {shape.batch, shape.types, 2}, wide_dtype(query));
    if (parts.numel() == 0) return parts;
    dispatch_floating(query.scalar_type(), "global_pointer_loss", [&](auto zero) {
      using T = decltype(zero);
      GlobalPointerArrays<T> arrays = operands.arrays<T>();
      arrays.parts = output_data<accumulate_t<T>>(parts);
      Device::run(scope, operands, arrays, false);
    });
    return parts;
  }

  static std::tuple<Tensor, Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& parts,
                                                             const Tensor& query, const Tensor& key,
                                                             const Tensor& cells, const std::optional<Tensor> mask,
                                                             const std::optional<Tensor> start_bias,
                                                             const std::optional<Tensor> end_bias, bool rotary,
                                                             bool triangle, const std::optional<double> scale) {
    const typename Device::Scope scope(grad);
    const GlobalPointerOperands operands("_global_pointer_loss_backward", "grad", grad, query, key, cells, mask,
                                         start_bias, end_bias, rotary, triangle, scale);
    Device::check_cells(operands.cells);
    const GlobalPointerShape& shape = operands.shape;
    const Arguments arguments("_global_pointer_loss_backward", "grad", grad);
    arguments.check("grad", grad, wide_dtype(query), {shape.batch, shape.types, 2});
    arguments.check_alike("parts", parts);
    const Tensor above = made_contiguous(grad), kept = made_contiguous(parts);
    const Tensor grad_query = uninitialised(query, query.sizes()), grad_key = uninitialised(query, query.sizes());
    const std::vector<int64_t> biases =
        start_bias ? std::vector<int64_t>{shape.batch, shape.types, shape.length} : std::vector<int64_t>{0};
    const Tensor grad_start = uninitialised(grad, biases), grad_end = uninitialised(grad, biases);
    if (shape.batch * shape.heads * shape.length == 0) return {grad_query, grad_key, grad_start, grad_end};
    dispatch_floating(query.scalar_type(), "global_pointer_loss", [&](auto zero) {
      using T = decltype(zero);
      using A = accumulate_t<T>;
      GlobalPointerArrays<T> arrays = operands.arrays<T>();
      arrays.parts = const_cast<A*>(input_data<A>(kept));
      arrays.grad = input_data<A>(above);
      arrays.grad_query = output_data<T>(grad_query);
      arrays.grad_key = output_data<T>(grad_key);
      arrays.grad_start = start_bias ? output_data<A>(grad_start) : nullptr;
      arrays.grad_end = start_bias ? output_data<A>(grad_end) : nullptr;
      Device::run(scope, operands, arrays, true);
    });
    return {grad_query, grad_key, grad_start, grad_end};
  }
};

}  // namespace pydlx
