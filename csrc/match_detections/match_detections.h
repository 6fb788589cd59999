// Greedy matching of detections with truths, and precision over recall: the protocol of the COCO evaluation.
//
// Rows. Detections and truths come in groups, one per image and category, category after category; group i holds the
// detections [detection_offsets[i], detection_offsets[i + 1]) and the truths likewise. `similarity` holds group after
// group the row-major (detections, truths) matrix, so its offsets follow from the others.
//
// Matching, for every area range a and threshold t. A group's detections take turns by falling score (ties in the order
// of the rows), the first max_detections of them. Each takes the truth that is most similar to it, at least
// min(t, 1 - 1e-10), where
//   * a truth is taken once, but a crowd region any number of times;
//   * truths that count are looked at before ignored ones, and an ignored one is not looked for once one that counts
//     is found;
//   * of equally similar truths the last one wins;
//   * NaN is similar to nothing.
// The outcome is kTrue for a truth that counts, kIgnored for an ignored one, and without a match kIgnored for a
// detection outside the area range, else kFalse. Detections past max_detections are kIgnored.
// A truth may be unrecorded: it is taken, but leaves its detection as if unmatched (ignored if the truth is). That is
// what becomes of annotations whose id is 0 in the original implementation.
//
//   similarity (P,) float64, scores (D,) float64, detection_offsets and truth_offsets (n + 1,) int64,
//   detection_outside (A, D) bool, truth_ignored (A, G) bool, truth_crowd and truth_unrecorded (G,) bool,
//   thresholds (T,) float64 -> outcome (A, T, D) uint8, rank (D,) int64: the place of each detection in its group.
//
// Precision over recall, for every category, a, t and limit m of detections per group. Over all detections of the
// category with rank < m by falling score (ties in the order of the rows) let tp and fp count what was met so far:
//   recall = tp / positives, precision = tp / (fp + tp + 2^-52), made non-increasing from the right.
// Sampled at the first detection whose recall reaches each wanted one; 0 past the last. All -1 where positives = 0.
//
//   outcome, rank, scores as above, category_offsets (C + 1,) int64 over the rows, positives (A, C) int64,
//   recall_thresholds (R,) float64, max_detections (M) ->
//   precision (T, R, C, A, M), recall (T, C, A, M), score at each sample (T, R, C, A, M), float64.
//
// Bytes: matching reads P + D numbers and writes A T D outcomes; the curves read those once per m.
#pragma once

#include <cstdint>

namespace pydlx {

enum Outcome : uint8_t { kFalse = 0, kTrue = 1, kIgnored = 2 };

}  // namespace pydlx
