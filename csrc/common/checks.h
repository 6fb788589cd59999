// Checks of an op's arguments, made before any pointer is followed. pydlx/ops has already checked the same with
// friendly messages; these keep direct calls of torch.ops.pydlx from reading or writing outside of a tensor. They
// compare a few integers and allocate nothing; each error is one sentence that names the argument.
#pragma once

#include <string>

#include "common/tensor_utils.h"

namespace pydlx {

// Matches any size in an expected shape.
constexpr int64_t kAnySize = -1;

inline std::string shape_text(IntHeaderOnlyArrayRef sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) {
    text += (i ? ", " : "") + (sizes[i] == kAnySize ? std::string("*") : std::to_string(sizes[i]));
  }
  return text + (sizes.size() == 1 ? ",)" : ")");
}

inline bool has_shape(const Tensor& x, IntHeaderOnlyArrayRef wanted) {
  const IntHeaderOnlyArrayRef sizes = x.sizes();
  return sizes.size() == wanted.size() &&
         std::equal(sizes.begin(), sizes.end(), wanted.begin(), [](auto a, auto b) { return a == b || b == kAnySize; });
}

// Checks the arguments of one call. `first` is the tensor whose device, dtype and shape others are compared with.
class Arguments {
 public:
  Arguments(const char* op, const char* name, const Tensor& first) : op_(op), first_name_(name), first_(first) {}

  void check_device(const char* name, const Tensor& x) const {
    const bool same = x.is_cpu() ? first_.is_cpu() : x.device() == first_.device();
    STD_TORCH_CHECK(same, op_, ": ", name, " must be on the device of ", first_name_);
  }

  void check_dtype(const char* name, const Tensor& x, ScalarType wanted) const {
    STD_TORCH_CHECK(x.scalar_type() == wanted, op_, ": ", name, " must be of type ",
                    torch::headeronly::toString(wanted), ", got ", torch::headeronly::toString(x.scalar_type()));
  }

  void check_shape(const char* name, const Tensor& x, IntHeaderOnlyArrayRef wanted) const {
    STD_TORCH_CHECK(has_shape(x, wanted), op_, ": ", name, " must have shape ", shape_text(wanted), ", got ",
                    shape_text(x.sizes()));
  }

  void check_dims(const char* name, const Tensor& x, int64_t least, int64_t most) const {
    STD_TORCH_CHECK(x.dim() >= least && x.dim() <= most, op_, ": ", name, " must have ", least, " to ", most,
                    " dimensions, got ", x.dim());
  }

  void check(const char* name, const Tensor& x, ScalarType dtype, IntHeaderOnlyArrayRef shape) const {
    check_device(name, x);
    check_dtype(name, x, dtype);
    check_shape(name, x, shape);
  }

  // Requires the device, dtype and shape of the first tensor.
  void check_alike(const char* name, const Tensor& x) const { check(name, x, first_.scalar_type(), first_.sizes()); }

  // Requires offsets (n + 1,) on the CPU, non-decreasing from 0 to the number of rows.
  void check_offsets(const char* name, const Tensor& offsets, int64_t rows) const {
    check(name, offsets, ScalarType::Long, {kAnySize});
    STD_TORCH_CHECK(rises(made_contiguous(offsets), rows), op_, ": ", name, " must rise from 0 to the number of rows, ",
                    rows);
  }

  void check_range(const char* name, int64_t value, int64_t least, int64_t most) const {
    STD_TORCH_CHECK(value >= least && value <= most, op_, ": ", name, " must be from ", least, " to ", most, ", got ",
                    value);
  }

  void check_positive(const char* name, int64_t value) const {
    STD_TORCH_CHECK(value > 0, op_, ": ", name, " must be positive, got ", value);
  }

 private:
  static bool rises(const Tensor& offsets, int64_t rows) {
    const auto *first = input_data<int64_t>(offsets), *end = first + offsets.numel();
    return first < end && *first == 0 && end[-1] == rows && std::is_sorted(first, end);
  }

  const char *op_, *first_name_;
  const Tensor& first_;
};

}  // namespace pydlx
