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

  // box_iou
  m.def(
      "ragged_box_iou(Tensor boxes, Tensor truths, Tensor crowd, Tensor detection_offsets, Tensor truth_offsets) -> "
      "Tensor",
      {at::Tag::pt2_compliant_tag});

  // match_detections
  m.def(
      "match_detections(Tensor similarity, Tensor scores, Tensor detection_offsets, Tensor truth_offsets, Tensor "
      "detection_outside, Tensor truth_ignored, Tensor truth_crowd, Tensor? truth_unrecorded, Tensor thresholds, int "
      "max_detections) -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "precision_curves(Tensor outcome, Tensor rank, Tensor scores, Tensor category_offsets, Tensor positives, Tensor "
      "recall_thresholds, int[] max_detections) -> (Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});

  // oks
  m.def("oks(Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? boxes) -> Tensor",
        {at::Tag::pt2_compliant_tag});
  m.def(
      "_oks_backward(Tensor grad, Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? "
      "boxes) -> (Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "oks_ragged(Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? boxes, Tensor "
      "pred_offsets, Tensor truth_offsets, Tensor pair_offsets, SymInt pairs) -> Tensor",
      {at::Tag::pt2_compliant_tag});

  // confusion_matrix
  m.def(
      "confusion_matrix(Tensor pred, Tensor target, SymInt num_classes, int? ignore_index, bool per_image) -> (Tensor, "
      "Tensor)",
      {at::Tag::pt2_compliant_tag});

  // nms
  m.def(
      "box_nms(Tensor boxes, Tensor scores, Tensor? labels, int method, float sigma, float threshold, float "
      "score_threshold, float pixel_offset) -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "pose_nms(Tensor points, Tensor scores, Tensor area, Tensor sigmas, int method, float sigma, float threshold, "
      "float score_threshold) -> (Tensor, Tensor)",
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
