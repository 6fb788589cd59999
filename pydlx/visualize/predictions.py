"""Pictures of what a network predicts: coloured labels over an image, and boxes drawn into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pydlx._checks import check_type, described, is_number, listed, numbers, whole
from pydlx._optional import needed_for


def label_colours(num_classes: int) -> np.ndarray:
    """A colour for each class, those of Pascal VOC: the bits of the number, spread over red, green and blue.

    Args:
        num_classes: Up to 256.

    Returns:
        (num_classes, 3) uint8; class 0 is black.
    """
    numbers = np.arange(whole("label_colours", "num_classes", num_classes, 1, 256))
    colours = np.zeros((len(numbers), 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def colour_labels(labels: np.ndarray, num_classes: int, image: np.ndarray | None = None, opacity: float = 0.6) -> Any:
    """A label map as a picture, alone or over its image.

    Args:
        labels: (H, W), integers. What is none of the classes, such as an ignore index, becomes white, or stays as the
            image has it.
        num_classes: How many classes there are.
        image: (H, W, 3) uint8.
        opacity: Of the colours over the image, from 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: If the image has another size, or opacity is out of range.
    """
    name = "colour_labels"
    check_type(name, "labels", labels, np.ndarray, "an array")
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise ValueError(f"{name}: labels must be integers (H, W), got {described(labels)}")
    num_classes = whole(name, "num_classes", num_classes, 1, 256)
    if image is not None:
        _check_image(name, image)
    if not (is_number(opacity) and 0 <= opacity <= 1):
        raise ValueError(f"{name}: opacity must be from 0 to 1, got {described(opacity)}")
    known = (labels >= 0) & (labels < num_classes)
    colours = label_colours(num_classes)[np.where(known, labels, 0)]
    if image is None:
        return np.where(known[..., None], colours, np.uint8(255))
    if image.shape != (*labels.shape, 3):
        raise ValueError(f"{name}: image must have shape {(*labels.shape, 3)}, got {image.shape}")
    mixed = (image * (1 - opacity) + colours * opacity).round().astype(np.uint8)
    return np.where(known[..., None], mixed, image)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    scores: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """An image with boxes drawn into it, each with the name of its class and its score.

    Args:
        image: (H, W, 3) uint8.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels.
        labels: n numbers of classes, which choose the colours.
        scores: n numbers, or None.
        class_names: Of the classes; their numbers if None.

    Returns:
        (H, W, 3) uint8.
    """
    name = "draw_boxes"
    _check_image(name, image)
    check_type(name, "boxes", boxes, np.ndarray, "an array")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf":
        raise ValueError(f"{name}: boxes must be numbers (n, 4), got {described(boxes)}")
    classes = [whole(name, "labels", label, 0) for label in listed(name, "labels", labels, "n whole numbers")]
    sure = None if scores is None else numbers(name, "scores", scores)
    names = None if class_names is None else listed(name, "class_names", class_names, "a sequence of names")
    for argument, given in (("labels", classes), ("scores", sure)):
        if given is not None and len(given) != len(boxes):
            raise ValueError(f"{name}: {argument} must be {len(boxes)}, as the boxes are, got {len(given)}")
    if names is not None and classes and max(classes) >= len(names):
        raise ValueError(f"{name}: class_names must name class {max(classes)}, got {len(names)} names")
    with needed_for("drawing boxes", extra="images"):
        from PIL import Image, ImageDraw
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    thick, size = max(1, round(min(picture.size) / 200)), max(10, round(min(picture.size) / 30))
    # The lowest first, so that the best boxes and their names are seen.
    for n in reversed(range(len(boxes))):
        colour = tuple(int(c) for c in label_colours(256)[1 + classes[n] % 255])
        x1, y1, x2, y2 = (float(value) for value in boxes[n])
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=thick)
        label = names[classes[n]] if names else str(classes[n])
        text = label if sure is None else f"{label} {sure[n]:.2f}"
        left, top, right, bottom = draw.textbbox((x1, y1), text, font_size=size)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=colour)
        light = sum(weight * part for weight, part in zip((0.299, 0.587, 0.114), colour, strict=True)) > 140
        draw.text((x1, y1), text, fill=(0, 0, 0) if light else (255, 255, 255), font_size=size)
    return np.asarray(picture)


def _check_image(name: str, image: Any) -> None:
    check_type(name, "image", image, np.ndarray, "an array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name}: image must be uint8 (H, W, 3), got {described(image)}")
