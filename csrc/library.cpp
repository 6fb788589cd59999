// The schema table: every op's signature and nothing else. Kernels register themselves at the end of their own files;
// shape inference, autograd and autocast live in pydlx/ops/<op>.py.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(pydlx, m) {
  // soft_pool
  m.def("soft_pool(Tensor x, int[] window, bool ceil_mode, bool straight_through) -> Tensor",
        {at::Tag::pt2_compliant_tag});
  m.def("_soft_pool_backward(Tensor grad, Tensor x, int[] window, bool ceil_mode, bool straight_through) -> Tensor",
        {at::Tag::pt2_compliant_tag});

  // sequence_pool
  m.def("sequence_pool(Tensor x, Tensor? ends, Tensor? mask, int mode, SymInt k) -> (Tensor, Tensor)",
        {at::Tag::pt2_compliant_tag});
  m.def(
      "_sequence_pool_backward(Tensor grad, Tensor? x, Tensor? index, Tensor? ends, Tensor? mask, SymInt[] shape) -> "
      "Tensor",
      {at::Tag::pt2_compliant_tag});

  // corner_pool
  m.def("corner_pool(Tensor x, int direction) -> Tensor", {at::Tag::pt2_compliant_tag});
  m.def("_corner_pool_backward(Tensor grad, Tensor x, int direction) -> Tensor", {at::Tag::pt2_compliant_tag});
  m.def("corner_pool_pair(Tensor vertical, Tensor horizontal, bool top_left) -> Tensor", {at::Tag::pt2_compliant_tag});

  // dct
  m.def("dct(Tensor x, int type, bool sine, int[] axes, int norm, bool adjoint) -> Tensor",
        {at::Tag::pt2_compliant_tag});

  // poisson
  m.def("poisson(Tensor rhs, bool dirichlet, float screening) -> Tensor", {at::Tag::pt2_compliant_tag});
  m.def("gaussian_poisson(Tensor rhs, Tensor colour, int formulation, float beta, float centre, float side) -> Tensor",
        {at::Tag::pt2_compliant_tag});

  // masked_poisson
  m.def(
      "masked_poisson(Tensor rhs, Tensor mask, Tensor? initial, float tolerance, SymInt max_iterations) -> (Tensor, "
      "Tensor)",
      {at::Tag::pt2_compliant_tag});

  // ssim
  m.def(
      "ssim(Tensor x, Tensor y, int window, float sigma, float covariance, float c1, float c2, bool luminance, bool "
      "map) "
      "-> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "_ssim_backward(Tensor grad, Tensor x, Tensor y, int window, float sigma, float covariance, float c1, float c2, "
      "bool luminance, bool map, bool wants_x, bool wants_y) -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}
