// The schemas of all ops. Kernels are registered at the end of their own files; shape inference, autograd and autocast
// are in pydlx/ops/<op>.py.
#include "common/schema_table.h"

namespace pydlx {
namespace {

const SchemaTable table({
    // soft_pool
    "soft_pool(Tensor x, int[] window, bool ceil_mode, bool straight_through) -> Tensor",
    "_soft_pool_backward(Tensor grad, Tensor x, int[] window, bool ceil_mode, bool straight_through) -> Tensor",

    // sequence_pool
    "sequence_pool(Tensor x, Tensor? ends, Tensor? mask, int mode, SymInt k) -> (Tensor, Tensor)",
    "_sequence_pool_backward(Tensor grad, Tensor? x, Tensor? index, Tensor? ends, Tensor? mask, SymInt[] shape) -> "
    "Tensor",

    // attention_rnn
    "attention_rnn(Tensor queries, Tensor keys, Tensor score, Tensor? query_weight, Tensor inputs, Tensor values, "
    "Tensor? gate_inputs, Tensor? gate_values, Tensor? gate_weight, Tensor? weight_ih, Tensor? bias_ih, Tensor "
    "weight_hh, Tensor bias_hh, Tensor? lengths, Tensor? mask, bool lstm, bool reverse) -> (Tensor, Tensor, Tensor)",
    "_attention_rnn_backward(Tensor grad, Tensor y, Tensor attention, Tensor kept, Tensor queries, Tensor keys, Tensor "
    "score, Tensor? query_weight, Tensor inputs, Tensor values, Tensor? gate_inputs, Tensor? gate_values, Tensor? "
    "gate_weight, Tensor? weight_ih, Tensor? bias_ih, Tensor weight_hh, Tensor bias_hh, Tensor? lengths, Tensor? mask, "
    "bool lstm, bool reverse) -> (Tensor, Tensor, Tensor)",

    // corner_pool
    "corner_pool(Tensor x, int direction) -> Tensor",
    "_corner_pool_backward(Tensor grad, Tensor x, int direction) -> Tensor",
    "corner_pool_pair(Tensor vertical, Tensor horizontal, bool top_left) -> Tensor",
    "_corner_pool_pair_backward(Tensor grad, Tensor vertical, Tensor horizontal, bool top_left) -> (Tensor, Tensor)",

    // decode_corners
    "decode_corners(Tensor heat_tl, Tensor heat_br, Tensor tag_tl, Tensor tag_br, Tensor offset_tl, Tensor offset_br, "
    "SymInt top_k, SymInt kernel_size, float tag_threshold, SymInt max_detections) -> (Tensor, Tensor, Tensor, "
    "Tensor)",

    // decode_spans
    "decode_spans(Tensor start, Tensor end, Tensor? mask, SymInt max_length, SymInt top_k) -> (Tensor, Tensor)",

    // trilinear_attention
    "dual_softmax(Tensor similarity, Tensor? context_mask, Tensor? question_mask) -> (Tensor, Tensor)",
    "_dual_softmax_backward(Tensor grad_question, Tensor grad_context, Tensor over_question, Tensor over_context, "
    "Tensor? context_mask, Tensor? question_mask) -> Tensor",

    // global_pointer_loss
    "global_pointer_loss(Tensor query, Tensor key, Tensor cells, Tensor? mask, Tensor? start_bias, Tensor? end_bias, "
    "bool rotary, bool triangle, float? scale) -> Tensor",
    "_global_pointer_loss_backward(Tensor grad, Tensor parts, Tensor query, Tensor key, Tensor cells, Tensor? mask, "
    "Tensor? start_bias, Tensor? end_bias, bool rotary, bool triangle, float? scale) -> (Tensor, Tensor, Tensor, "
    "Tensor)",

    // zlpr_loss
    "zlpr_loss(Tensor scores, Tensor labels, Tensor? mask) -> Tensor",
    "_zlpr_loss_backward(Tensor grad, Tensor parts, Tensor scores, Tensor labels, Tensor? mask) -> Tensor",

    // dct
    "dct(Tensor x, int type, bool sine, int[] axes, int norm, bool adjoint) -> Tensor",

    // poisson
    "poisson(Tensor rhs, bool dirichlet, float screening) -> Tensor",
    "gaussian_poisson(Tensor rhs, Tensor colour, int formulation, float beta, float centre, float side) -> Tensor",

    // masked_poisson
    "masked_poisson(Tensor rhs, Tensor mask, Tensor? initial, float tolerance, SymInt max_iterations) -> (Tensor, "
    "Tensor)",

    // box_iou
    "ragged_box_iou(Tensor boxes, Tensor truths, Tensor crowd, Tensor detection_offsets, Tensor truth_offsets) -> "
    "Tensor",

    // mask_iou
    "ragged_mask_iou(Tensor spans, Tensor span_offsets, Tensor heights, Tensor true_spans, Tensor true_span_offsets, "
    "Tensor true_heights, Tensor crowd, Tensor detection_offsets, Tensor truth_offsets) -> Tensor",

    // match_detections
    "match_detections(Tensor similarity, Tensor scores, Tensor detection_offsets, Tensor truth_offsets, Tensor "
    "detection_outside, Tensor truth_ignored, Tensor truth_crowd, Tensor? truth_unrecorded, Tensor thresholds, int "
    "max_detections) -> (Tensor, Tensor)",
    "precision_curves(Tensor outcome, Tensor rank, Tensor scores, Tensor category_offsets, Tensor positives, Tensor "
    "recall_thresholds, int[] max_detections) -> (Tensor, Tensor, Tensor)",

    // oks
    "oks(Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? boxes) -> Tensor",
    "_oks_backward(Tensor grad, Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? boxes, "
    "bool wants_pred, bool wants_truth) -> (Tensor, Tensor, Tensor)",
    "oks_ragged(Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? boxes, Tensor "
    "pred_offsets, Tensor truth_offsets, Tensor pair_offsets, SymInt pairs) -> Tensor",

    // confusion_matrix
    "confusion_matrix(Tensor pred, Tensor target, SymInt num_classes, int? ignore_index, bool per_image) -> (Tensor, "
    "Tensor)",

    // nms
    "box_nms(Tensor boxes, Tensor scores, Tensor? labels, int method, float sigma, float threshold, float "
    "score_threshold, float pixel_offset) -> (Tensor, Tensor, Tensor)",
    "pose_nms(Tensor points, Tensor scores, Tensor area, Tensor sigmas, int method, float sigma, float threshold, "
    "float score_threshold) -> (Tensor, Tensor, Tensor)",

    // ssim
    "ssim(Tensor x, Tensor y, int window, float sigma, float covariance, float c1, float c2, bool luminance, bool map) "
    "-> Tensor",
    "_ssim_backward(Tensor grad, Tensor x, Tensor y, int window, float sigma, float covariance, float c1, float c2, "
    "bool luminance, bool map, bool wants_x, bool wants_y) -> (Tensor, Tensor)",
});

}  // namespace
}  // namespace pydlx
