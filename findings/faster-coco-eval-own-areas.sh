#!/usr/bin/env bash
# faster-coco-eval 1.8.0: with area ranges of one's own, stats has another length and another order than pycocotools'.
#
# One would guess: it stands in for pycocotools, so stats[3], [4] and [5] are AP of small, medium and large, and there
# are twelve numbers, -1 where a label is missing. Seen: with a range "tiny" before the three, stats has 14 numbers,
# [3] is tiny and [5] is medium; with "all" and "small" alone it has 8, and [4] is a recall.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check faster-coco-eval==1.8.0 pycocotools==2.0.11 numpy
"$folder/venv/bin/python" - <<'PY'
import contextlib
import copy
import io

import faster_coco_eval
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

boxes = [[0, 0, 5, 5], [50, 0, 8, 8], [100, 0, 40, 40], [200, 0, 120, 120]]
truth = {
    "images": [{"id": 1, "width": 500, "height": 500}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [
        {"id": i + 1, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, box in enumerate(boxes)
    ],
}
found = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9} for box in boxes[1:3]]
four = {"all": [0, 1e10], "tiny": [0, 30], "small": [30, 100], "medium": [100, 1e4], "large": [1e4, 1e10]}
two = {"all": [0, 1e10], "small": [0, 1000]}


def stats(coco, evaluator, areas):
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = coco()
        annotations.dataset = copy.deepcopy(truth)
        annotations.createIndex()
        evaluation = evaluator(annotations, annotations.loadRes(copy.deepcopy(found)), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = list(areas.values()), list(areas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [round(float(value), 3) for value in evaluation.stats]


one = (COCO, COCOeval)
other = (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
for areas in (four, two):
    print(list(areas), "pycocotools", stats(*one, areas), "faster-coco-eval", stats(*other, areas))
assert stats(*one, four)[3:6] == [1, 1, 0] and len(stats(*one, four)) == 12
assert stats(*other, four)[3:7] == [0, 1, 1, 0] and len(stats(*other, four)) == 14
assert stats(*one, two)[3:6] == [0.505, -1, -1] and len(stats(*one, two)) == 12
assert stats(*other, two)[3:6] == [0.505, 0.25, 0.5] and len(stats(*other, two)) == 8
PY
echo "as stated"
