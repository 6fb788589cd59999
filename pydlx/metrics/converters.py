"""Results of other libraries as the COCO metrics take them: a dict of tensors for each image.

Objects are read by the attributes that the libraries document, so none of them needs to be installed. The layouts are
those of torchvision 0.20 (``torchvision.models.detection``), ultralytics 8.3 (``ultralytics.engine.results.Results``),
mmpose 1.3 (``PoseDataSample``) and detectron2 0.6 (``Instances``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import described, is_number, listed


def from_torchvision(outputs: Iterable[Mapping[str, Any]], *, mask_threshold: float = 0.5) -> list[dict[str, Any]]:
    """What torchvision's detectors give, in ``eval`` mode, for a batch of images.

    Boxes are xyxy. Masks (n, 1, H, W), which hold probabilities, become bool (n, H, W). ``keypoints_scores`` are not
    used: COCO ranks detections by ``scores``.

    Args:
        outputs: a dict for each image, with ``boxes``, ``labels``, ``scores``, and perhaps ``masks`` and ``keypoints``.
        mask_threshold: the probability above which a pixel belongs to the mask, torchvision's own 0.5 by default.
    """
    name = "from_torchvision"
    if not is_number(mask_threshold):
        raise TypeError(f"{name}: mask_threshold must be a number, got {described(mask_threshold)}")
    images = []
    for place, output in enumerate(_images(name, "outputs", outputs)):
        if not isinstance(output, Mapping) or not {"boxes", "labels", "scores"} <= set(output):
            raise TypeError(
                f'{name}: outputs[{place}] must be a dict with "boxes", "labels" and "scores", got {_kind(output)}'
            )
        keys = ("boxes", "labels", "scores", "keypoints")
        image = {key: torch.as_tensor(output[key]) for key in keys if key in output}
        if "masks" in output:
            masks = torch.as_tensor(output["masks"])
            image["masks"] = masks.reshape(-1, *masks.shape[-2:]) > mask_threshold
        images.append(image)
    return images


def from_ultralytics(results: Iterable[Any]) -> list[dict[str, Any]]:
    """What ultralytics' models give for a batch of images.

    Boxes are xyxy in pixels of the image. Masks are taken from their outlines, ``masks.xy``, which are in pixels of the
    image too, whereas ``masks.data`` is of the size the network worked on. Labels are ultralytics' class numbers.

    Args:
        results: a ``Results`` for each image, on any device.
    """
    images = []
    for place, result in enumerate(_images("from_ultralytics", "results", results)):
        boxes = _attribute("from_ultralytics", f"results[{place}]", result, "boxes")
        image: dict[str, Any] = {
            "boxes": _tensor(boxes.xyxy),
            "scores": _tensor(boxes.conf),
            "labels": _tensor(boxes.cls).long(),
        }
        if getattr(result, "keypoints", None) is not None:
            image["keypoints"] = _tensor(result.keypoints.xy)
        if getattr(result, "masks", None) is not None:
            height, width = result.orig_shape
            nothing = {"size": [height, width], "counts": [height * width]}  # ultralytics found no outline
            outlines = [_tensor(outline) for outline in result.masks.xy]
            image["masks"] = [[each.flatten().tolist()] if len(each) > 2 else nothing for each in outlines]
            image["size"] = (height, width)
        elif not len(boxes.cls):  # of an image without objects a model for masks gives none
            image["masks"] = []
        images.append(image)
    return images


def from_mmpose(samples: Iterable[Any], *, keypoint_threshold: float = 0.2) -> list[dict[str, Any]]:
    """What mmpose's models give for a batch of images.

    A person's score is, as in mmpose's ``CocoMetric`` (``score_mode="bbox_keypoint"``), that of the box times the mean
    of the keypoint scores above a threshold.

    Args:
        samples: a ``PoseDataSample`` for each image, or its ``pred_instances``; on any device.
        keypoint_threshold: the score above which a keypoint's score counts, mmpose's 0.2 by default.
    """
    name = "from_mmpose"
    if not is_number(keypoint_threshold):
        raise TypeError(f"{name}: keypoint_threshold must be a number, got {described(keypoint_threshold)}")
    images = []
    for place, sample in enumerate(_images(name, "samples", samples)):
        people = getattr(sample, "pred_instances", sample)
        points = _tensor(_attribute(name, f"samples[{place}]", people, "keypoints")).double()
        each = _tensor(_attribute(name, f"samples[{place}]", people, "keypoint_scores"))
        counts = each > keypoint_threshold  # in their own dtype, as mmpose compares them
        scores = (each.double() * counts).sum(1) / counts.sum(1).clamp(min=1)
        if getattr(people, "bbox_scores", None) is not None:
            scores = scores * _tensor(people.bbox_scores).double()
        image = {"keypoints": points, "scores": scores}
        if getattr(people, "bboxes", None) is not None:
            image["boxes"] = _tensor(people.bboxes)
        images.append(image)
    return images


def from_detectron2(outputs: Iterable[Any]) -> list[dict[str, Any]]:
    """What detectron2's models give for a batch of images.

    Boxes are xyxy. Labels are detectron2's contiguous class numbers, not the ids of COCO's file.

    Args:
        outputs: for each image ``{"instances": Instances}``, or its ``Instances``; on any device.
    """
    name = "from_detectron2"
    images = []
    for place, output in enumerate(_images(name, "outputs", outputs)):
        found = output["instances"] if isinstance(output, Mapping) and "instances" in output else output
        boxes = _attribute(name, f"outputs[{place}]", found, "pred_boxes")
        image = {
            "boxes": _tensor(getattr(boxes, "tensor", boxes)),
            "scores": _tensor(_attribute(name, f"outputs[{place}]", found, "scores")),
            "labels": _tensor(_attribute(name, f"outputs[{place}]", found, "pred_classes")),
        }
        # Instances raise for a field they do not have, so the default of getattr is not enough.
        fields = found.get_fields() if hasattr(found, "get_fields") else vars(found)
        if "pred_masks" in fields:
            image["masks"] = _tensor(fields["pred_masks"]).bool()
        if "pred_keypoints" in fields:
            image["keypoints"] = _tensor(fields["pred_keypoints"])
        images.append(image)
    return images


def _images(name: str, argument: str, given: Any) -> list[Any]:
    return listed(name, argument, given, "a list with an entry for each image")


def _attribute(name: str, place: str, value: Any, attribute: str) -> Any:
    found = getattr(value, attribute, None)
    if found is None:
        raise TypeError(f'{name}: {place} must have "{attribute}", got {_kind(value)}')
    return found


def _kind(value: Any) -> str:
    return f"a dict with {sorted(map(str, value))}" if isinstance(value, Mapping) else type(value).__name__


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value)
