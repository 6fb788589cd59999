"""Results of other libraries, by stand-ins of the layouts that they document."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pydlx.metrics import (
    BoxAP,
    KeypointAP,
    MaskAP,
    from_detectron2,
    from_mmpose,
    from_torchvision,
    from_ultralytics,
)

BOXES = torch.tensor([[10.0, 10.0, 40.0, 30.0], [2.0, 3.0, 20.0, 25.0]])
SCORES, LABELS = torch.tensor([0.9, 0.8]), torch.tensor([1, 2])
POINTS = torch.rand(2, 17, 2, generator=torch.Generator().manual_seed(0)) * 40 + 1
MASKS = torch.zeros(2, 48, 64, dtype=torch.bool)
MASKS[0, 10:30, 10:40] = MASKS[1, 3:25, 2:20] = True


def fields(**values):
    """An object with these attributes that raises for others, as detectron2's Instances does."""
    return SimpleNamespace(get_fields=lambda: values, **values)


def ap(metric, found, **target):
    metric.update(found, [target])
    return pytest.approx(float(metric.compute()["AP"]), abs=1e-9)


def test_torchvision():
    output = {
        "boxes": BOXES,
        "labels": LABELS,
        "scores": SCORES,
        "masks": torch.where(MASKS, 0.7, 0.3)[:, None],
        "keypoints": torch.cat([POINTS, torch.ones(2, 17, 1)], 2),
        "keypoints_scores": torch.zeros(2, 17),
    }
    found = from_torchvision([output])
    assert ap(BoxAP(), found, boxes=BOXES, labels=LABELS) == 1
    assert ap(MaskAP(), found, masks=MASKS, labels=LABELS) == 1
    target = {"keypoints": output["keypoints"], "area": torch.tensor([900.0, 900.0]), "labels": LABELS}
    assert ap(KeypointAP(), found, **target) == 1
    assert not from_torchvision([output], mask_threshold=0.7)[0]["masks"].any()
    nothing = {key: value[:0] for key, value in output.items()}
    assert from_torchvision([nothing])[0]["masks"].shape == (0, 48, 64)


def test_ultralytics():
    outlines = [
        np.array([[10, 10], [40, 10], [40, 30], [10, 30]], dtype=np.float32),
        np.array([[2, 3], [20, 3], [20, 25], [2, 25]], dtype=np.float32),
    ]
    result = SimpleNamespace(
        boxes=SimpleNamespace(xyxy=BOXES, conf=SCORES, cls=LABELS.float()),
        masks=SimpleNamespace(xy=outlines, data=torch.zeros(2, 24, 32)),
        keypoints=SimpleNamespace(xy=POINTS, conf=torch.ones(2, 17)),
        orig_shape=(48, 64),
    )
    found = from_ultralytics([result])
    assert found[0]["labels"].dtype == torch.int64
    assert ap(BoxAP(), found, boxes=BOXES, labels=LABELS) == 1
    assert ap(MaskAP(), found, masks=MASKS, labels=LABELS) == 1
    result.masks.xy[1] = np.zeros((0, 2), dtype=np.float32)
    assert ap(MaskAP(), from_ultralytics([result]), masks=MASKS, labels=LABELS) == 0.5
    assert set(from_ultralytics([SimpleNamespace(boxes=result.boxes, masks=None)])[0]) == {"boxes", "scores", "labels"}
    empty = SimpleNamespace(xyxy=BOXES[:0], conf=SCORES[:0], cls=LABELS[:0].float())
    nothing = SimpleNamespace(boxes=empty, masks=None, orig_shape=(48, 64))  # also of a model for masks
    assert ap(MaskAP(), from_ultralytics([nothing]), masks=MASKS, labels=LABELS) == 0


def test_mmpose():
    keypoint_scores = torch.full((2, 17), 0.5)
    keypoint_scores[0, :7], keypoint_scores[1] = 0.2, 0.1
    people = SimpleNamespace(
        keypoints=POINTS.numpy(),
        keypoint_scores=keypoint_scores.numpy(),
        bbox_scores=SCORES.numpy(),
        bboxes=BOXES.numpy(),
    )
    found = from_mmpose([SimpleNamespace(pred_instances=people)])
    assert found[0]["scores"].tolist() == pytest.approx([0.45, 0.0])
    assert found[0]["boxes"].tolist() == BOXES.tolist()
    target = {"keypoints": torch.cat([POINTS, torch.ones(2, 17, 1)], 2), "area": torch.tensor([900.0, 900.0])}
    assert ap(KeypointAP(), found, **target) == 1
    bare = SimpleNamespace(keypoints=POINTS, keypoint_scores=keypoint_scores)
    assert from_mmpose([bare], keypoint_threshold=0.15)[0]["scores"].tolist() == pytest.approx([(5 + 1.4) / 17, 0])


def test_detectron2():
    found = {
        "pred_boxes": SimpleNamespace(tensor=BOXES),
        "scores": SCORES,
        "pred_classes": LABELS,
        "pred_masks": MASKS,
        "pred_keypoints": torch.cat([POINTS, torch.ones(2, 17, 1)], 2),
    }
    for output in ({"instances": fields(**found)}, fields(**found)):
        image = from_detectron2([output])
        assert ap(BoxAP(), image, boxes=BOXES, labels=LABELS) == 1
        assert ap(MaskAP(), image, masks=MASKS, labels=LABELS) == 1
        assert image[0]["keypoints"].shape == (2, 17, 3)
    boxes_alone = {key: found[key] for key in ("pred_boxes", "scores", "pred_classes")}
    assert set(from_detectron2([fields(**boxes_alone)])[0]) == {"boxes", "scores", "labels"}


@pytest.mark.parametrize(
    ("convert", "given", "message"),
    [
        (from_torchvision, [{"boxes": BOXES}], r"outputs\[0\] must be a dict with .* got a dict with \['boxes'\]"),
        (from_torchvision, 3, "outputs must be a list with an entry for each image, got 3"),
        (from_ultralytics, [3], r'results\[0\] must have "boxes", got int'),
        (from_mmpose, [SimpleNamespace()], r'samples\[0\] must have "keypoints", got SimpleNamespace'),
        (from_detectron2, [{"instances": 3}], r'outputs\[0\] must have "pred_boxes", got int'),
    ],
)
def test_results_of_another_layout(convert, given, message):
    with pytest.raises(TypeError, match=f"^{convert.__name__}: {message}"):
        convert(given)
