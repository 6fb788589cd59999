"""Data sets for semantic segmentation: folders of images and label maps, CamVid, Pascal VOC, and class weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pydlx._checks import check_integers, check_one_of, check_path, check_type, described, listed, whole
from pydlx.data.label_maps import SUFFIXES, read_label_map
from pydlx.data.pairs import PICTURES
from pydlx.files import read_rgb

# Endings of file names after the common name of a pair. Cityscapes has aachen_000000_000019_leftImg8bit.png and
# aachen_000000_000019_gtFine_labelTrainIds.png.
_IMAGE_ENDINGS = ("_leftImg8bit", "")
_LABEL_ENDINGS = ("_gtFine_labelTrainIds", "_gtFine_labelIds", "_gtCoarse_labelIds", "_labelIds", "_L", "")

CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
)  # fmt: skip
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)  # fmt: skip


class LabelledImage(NamedTuple):
    """An image and its label map."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8
    labels: np.ndarray  # (H, W) int64, in [0, num_classes) or the data set's ignore_index


class ImageLabelFolders(Sequence[LabelledImage]):
    """Images in one folder and label maps in another, paired by their paths without suffix, also in subfolders.

    Files have the same names in both folders, or Cityscapes' names (``x_leftImg8bit.png`` and
    ``x_gtFine_labelTrainIds.png``). They are read on access.

    Args:
        images: Folder of images. Grey ones get three equal channels, alpha channels are dropped.
        labels: Folder with a label map for each image; other label maps are ignored.
        num_classes: Number of classes.
        ignore_index: Label of pixels that are ignored.
        void: Labels in the files that are replaced by ``ignore_index``, such as CamVid's 11.
        names: Names of the pairs in this split, as paths without suffix; by default all.
        class_names: Names of the classes.

    Raises:
        FileNotFoundError: If a folder is missing or empty, or an image has no label map.
        ValueError: If two files have the same name; on access, if image and label map differ in size, or a label is no
            class.
        OSError: On access, if a file is no picture.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        labels: str | os.PathLike[str],
        num_classes: int,
        *,
        ignore_index: int = 255,
        void: Iterable[int] = (),
        names: Iterable[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        check_path("ImageLabelFolders", "images", images)
        check_path("ImageLabelFolders", "labels", labels)
        self.num_classes = whole("ImageLabelFolders", "num_classes", num_classes, 1)
        self.ignore_index = whole("ImageLabelFolders", "ignore_index", ignore_index)
        self.void = tuple(whole("ImageLabelFolders", "void", label) for label in _listed("void", void))
        self.class_names = tuple(_listed("class_names", class_names or [f"class {c}" for c in range(num_classes)]))
        if len(self.class_names) != num_classes:
            raise ValueError(f"ImageLabelFolders: class_names must be {num_classes}, got {len(self.class_names)}")
        pictures, maps = _by_name(images, PICTURES, _IMAGE_ENDINGS), _by_name(labels, SUFFIXES, _LABEL_ENDINGS)
        chosen = sorted(pictures) if names is None else _listed("names", names)
        for name in chosen:
            if missing := [folder for folder, found in ((images, pictures), (labels, maps)) if name not in found]:
                raise FileNotFoundError(f"ImageLabelFolders: '{missing[0]}' has no file called '{name}'")
        self.paths = [(name, pictures[name], maps[name]) for name in chosen]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> LabelledImage:  # type: ignore[override]
        name, image_path, label_path = self.paths[index]
        image, labels = read_rgb(image_path), read_label_map(label_path)
        if image.shape[:2] != labels.shape:
            raise ValueError(
                f"ImageLabelFolders: '{label_path}' must have the size of its image, {image.shape[:2]}, "
                f"got {labels.shape}"
            )
        labels = labels.astype(np.int64)
        labels[np.isin(labels, self.void)] = self.ignore_index
        wrong = (labels != self.ignore_index) & ((labels < 0) | (labels >= self.num_classes))
        if wrong.any():
            raise ValueError(
                f"ImageLabelFolders: '{label_path}' must hold labels from 0 to {self.num_classes - 1}, got "
                f"{sorted(set(labels[wrong].tolist()))[:5]}; name those that do not count as void"
            )
        return LabelledImage(name, image, labels)


def camvid(folder: str | os.PathLike[str], split: str) -> ImageLabelFolders:
    """Open CamVid with 11 classes: folders ``split/images`` and ``split/labels``, whose label 11 is void.

    Args:
        folder: Folder of the data set.
        split: ``"train"``, ``"val"`` or ``"test"``.
    """
    check_path("camvid", "folder", folder)
    check_one_of("camvid", "split", split, ("train", "val", "test"))
    place = Path(folder) / split
    return ImageLabelFolders(place / "images", place / "labels", 11, void=(11,), class_names=CAMVID_CLASSES)


def voc(folder: str | os.PathLike[str], split: str) -> ImageLabelFolders:
    """Open Pascal VOC's segmentation data with 21 classes; 255 is ignored, at the borders of objects.

    Args:
        folder: Folder of a year, such as ``VOCdevkit/VOC2012``.
        split: Name of a list in ``ImageSets/Segmentation``, such as ``"train"`` or ``"seg11valid"``.
    """
    check_path("voc", "folder", folder)
    place = Path(folder)
    lists = {path.stem: path for path in sorted((place / "ImageSets" / "Segmentation").glob("*.txt"))}
    if not lists:
        raise FileNotFoundError(f"voc: '{folder}' holds no ImageSets/Segmentation/*.txt")
    check_one_of("voc", "split", split, tuple(lists))
    names = lists[split].read_text().split()
    return ImageLabelFolders(
        place / "JPEGImages", place / "SegmentationClass", 21, names=names, class_names=VOC_CLASSES
    )


def class_pixels(dataset: Iterable[LabelledImage], num_classes: int) -> torch.Tensor:
    """Count the pixels of each class; returns (C,) int64."""
    check_type("class_pixels", "dataset", dataset, Iterable, "labelled images")
    counts = np.zeros(whole("class_pixels", "num_classes", num_classes, 1), np.int64)
    for item in dataset:
        check_type("class_pixels", "dataset", item, LabelledImage, "labelled images")
        labels = item.labels
        counts += np.bincount(labels[(labels >= 0) & (labels < num_classes)], minlength=num_classes)
    return torch.from_numpy(counts)


def median_frequency_weights(pixels: torch.Tensor) -> torch.Tensor:
    """Return class weights by median frequency: the median of the classes' frequencies, divided by each class's own.

    Eigen and Fergus, arXiv 1411.4734, section 6.3.2, but with frequencies among all pixels. A class without pixels gets
    weight 0.

    Args:
        pixels: (C,) integers, from :func:`class_pixels`.

    Returns:
        (C,) float32.
    """
    check_integers("median_frequency_weights", "pixels", pixels)
    if pixels.dim() != 1 or pixels.is_meta or not bool((pixels >= 0).all()) or not bool(pixels.any()):
        raise ValueError(f"median_frequency_weights: pixels must be counts (C,), not all zero, got {described(pixels)}")
    share = pixels.double() / pixels.sum()
    return torch.where(pixels > 0, share[pixels > 0].median() / share, 0).float()


def _listed(argument: str, value: Any) -> list[Any]:
    return listed("ImageLabelFolders", argument, value, "a sequence")


def _by_name(folder: str | os.PathLike[str], suffixes: Sequence[str], endings: Sequence[str]) -> dict[str, Path]:
    """Return the files below a folder, by their path in it without suffix and ending."""
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"ImageLabelFolders: no such folder: '{folder}'")
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in suffixes and path.name[0] != "."]
    if not files:
        raise FileNotFoundError(f"ImageLabelFolders: '{folder}' holds no files of the kind {', '.join(suffixes)}")
    # All files of a folder have one ending: the first of the list that any file has.
    ending = next(ending for ending in endings if any(path.stem.endswith(ending) for path in files))
    found: dict[str, Path] = {}
    for path in files:
        if not path.stem.endswith(ending):
            continue
        name = path.relative_to(root).with_suffix("").as_posix().removesuffix(ending)
        if name in found:
            raise ValueError(f"ImageLabelFolders: '{found[name]}' and '{path.name}' have the same name")
        found[name] = path
    return found
