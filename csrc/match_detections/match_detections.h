// Greedy matching of detections with truths, and precision over recall: the protocol of the COCO evaluation.
//
// Rows. Detections and truths come in groups, one per image and category, ordered by category; group i has the
// detections [detection_offsets[i], detection_offsets[i + 1]), and truths likewise. `similarity` is the groups'
// row-major (detections, truths) matrices, concatenated, so its offsets follow from the others.
//
// Matching, for every area range a and threshold t. The first max_detections detections of a group, in order of
// descending score (ties in the order of the rows), are matched one after another. Each is matched with the truth that
// is most similar to it, by at least min(t, 1 - 1e-10), where
//   * a truth can be matched once, but a crowd region any number of times;
//   * ignored truths are considered only if no truth that counts matches;
//   * of equally similar truths the last one wins;
//   * NaN matches nothing.
// The outcome of a detection is kTrue if its truth counts and kIgnored if its truth is ignored. Without a match it is
// kIgnored if the detection is outside the area range, else kFalse. Detections past max_detections are kIgnored.
// A truth may be "unrecorded": it is matched, but its detection then counts as unmatched (or as ignored if the truth
// is). This reproduces what happens to annotations with id 0 in the original implementation.
//
//   similarity (P,) float64, scores (D,) float64, detection_offsets and truth_offsets (n + 1,) int64,
//   detection_outside (A, D) bool, truth_ignored (A, G) bool, truth_crowd and truth_unrecorded (G,) bool,
//   thresholds (T,) float64 -> outcome (A, T, D) uint8, rank (D,) int64: the rank of each detection in its group.
//
// Precision over recall, for every category, a, t and limit m of detections per group. Go through all detections of the
// category with rank < m in order of descending score (ties in the order of the rows), with tp and fp the numbers of
// true and false positives so far:
//   recall = tp / positives, precision = tp / (fp + tp + 2^-52), replaced by its running maximum from the right.
// The curve is sampled at the first detection whose recall reaches each recall threshold; 0 if none does. Everything is
// -1 if positives = 0.
//
//   outcome, rank, scores as above, category_offsets (C + 1,) int64 over the rows, positives (A, C) int64,
//   recall_thresholds (R,) float64, max_detections (M) ->
//   precision (T, R, C, A, M), recall (T, C, A, M), score at each sample (T, R, C, A, M), float64.
//
// Bytes: matching reads P + D numbers and writes A T D outcomes, one byte each; the curves read those once per m.
#pragma once

#include <cstdint>

namespace pydlx {

enum Outcome : uint8_t { kFalse = 0, kTrue = 1, kIgnored = 2 };

}  // namespace pydlx
