"""The predictor: a model that turns images into Detections."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np
import torch

from detect.errors import UsageError
from detect.inference.class_selection import labels_of, loadable_models
from detect.inference.image_input import ImageInput, to_rgb_array
from detect.inference.mask_pasting import paste_mask
from detect.inference.runtimes.base import Runtime
from detect.inference.tiled_detection import ImageDetections, detect_in_tiles
from detect.inference.tiling import TileSize, Tiling, parse_tile
from detect.media.color import check_rgb_array
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.models.prediction.raw_detections import Limits
from detect.options import check_nms, check_number, check_proposals, check_threshold, suggest_keywords
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import unknown

Images: TypeAlias = list[ImageInput] | tuple[ImageInput, ...]
Classes: TypeAlias = str | int | Sequence[str | int] | None


class Predictor:
    """A detector with its classes and their score thresholds, on its device.

    Several threads may call one predictor at the same time. A call changes no state of the model.

    runtime: Runtime that runs the model.
    class_names: ClassNames of the model.
    class_thresholds: class name -> score in 0..1 below which a detection of that class is not returned, for every
        class. A call may give a threshold of its own, for all classes. The lowest one is applied inside the model, so
        that the mask head only runs on boxes that may be returned.
    training_shrink: median factor by which the training images were shrunk, such as 2.0 for images of twice the size
        that the model processes; None if it is unknown.
    training_object_side: median of the square roots of the areas of the training objects' boxes, in pixels of the
        resized images; None if it is unknown.
    nms: IoU above which NMS drops the one with the lower score of two boxes of a class.
    one_label_per_object: whether NMS also compares boxes of different classes.
    tile: side of the tiles of large images, in pixels of the original image, or "auto"; None: no tiles.
    name: the ``model`` that ``load_model`` was given, a URL without its query; "" for one that was built otherwise.
    path: file of the checkpoint, or path of the exported model; None without one.
    """

    def __init__(
        self,
        runtime: Runtime,
        class_names: ClassNames,
        *,
        class_rows: Sequence[int] | None = None,
        threshold: float = DEFAULT_THRESHOLD,
        class_thresholds: Mapping[str, float] | None = None,
        training_shrink: float | None = None,
        training_object_side: float | None = None,
        proposals: int | None = None,
        nms: float | None = None,
        one_label_per_object: bool = False,
        tile: TileSize | str | None = None,
    ) -> None:
        """class_rows: for each class the row of the box head that scores it, 1..K by default. Detections of other
        rows (COCO's "N/A" categories) are dropped.

        threshold: minimum score, 0..1, of the classes without an entry in ``class_thresholds``.

        proposals, nms: by default the model's.

        Raises UsageError for a threshold of an unknown class, a number out of range, and for ``proposals``, ``nms``
        and ``one_label_per_object`` if the runtime cannot change them."""
        for name, minimum in (class_thresholds or {}).items():
            if name not in class_names.names:
                raise UsageError(unknown("class", name, class_names.names))
            check_threshold(minimum)
        self.runtime = runtime
        self.class_names = class_names
        self.class_thresholds = dict.fromkeys(class_names.names, threshold) | dict(class_thresholds or {})
        self.training_shrink, self.training_object_side = training_shrink, training_object_side
        if proposals is not None:
            _check_proposals(proposals, runtime)
        self._proposals = proposals
        _check_nms(nms, one_label_per_object, runtime)
        self.nms = runtime.nms_iou if nms is None else float(nms)
        self.one_label_per_object = one_label_per_object
        self.tile = parse_tile(tile)
        self.name = ""
        self.path: Path | None = None
        rows = tuple(class_rows or range(1, len(class_names) + 1))
        self._label_of_row = np.zeros(max(rows) + 1, np.int64)  # 0 for the background and for dropped rows
        self._label_of_row[list(rows)] = np.arange(1, len(rows) + 1)

    @property
    def proposals(self) -> int | None:
        """Number of proposals per image that an R-CNN classifies; None for a one-stage detector."""
        return self.runtime.proposals if self._proposals is None else self._proposals

    @proposals.setter
    def proposals(self, proposals: int) -> None:
        _check_proposals(proposals, self.runtime)
        self._proposals = proposals

    @property
    def threshold(self) -> float:
        """Minimum score of a detection, 0..1: the lowest of ``class_thresholds``. Setting it sets all of them."""
        return min(self.class_thresholds.values())

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self.class_thresholds = dict.fromkeys(self.class_names.names, threshold)

    @property
    def imgsz(self) -> int:
        """Length in pixels to which the short side of an image is resized."""
        return self.runtime.input_size.short

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.runtime.device

    @property
    def precision(self) -> str:
        """Number format of the networks, such as "fp32"."""
        return self.runtime.precision

    @property
    def max_detections(self) -> int:
        """Maximum number of detections per image; per tile of an image with tiles."""
        return self.runtime.max_detections

    @property
    def tiling(self) -> Tiling:
        """The rule by which images are cut into tiles."""
        return Tiling(self.tile, self.runtime.input_size, self.training_shrink)

    @property
    def has_masks(self) -> bool:
        """Whether the model predicts masks."""
        return self.runtime.has_masks

    def with_settings(self, *, nms: float | None = None, tile: TileSize | str | None = None) -> Predictor:
        """Return a predictor with the same model, and with another ``nms`` and ``tile`` where they are given.

        Raises UsageError as the constructor does.
        """
        _check_nms(nms, False, self.runtime)
        changed = copy.copy(self)
        changed.nms = self.nms if nms is None else float(nms)
        changed.tile = self.tile if tile is None else parse_tile(tile)
        return changed

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which the model resizes an image of ``image_hw``."""
        return self.runtime.input_size.resized_hw(image_hw)

    @overload
    def __call__(
        self, images: ImageInput, *, threshold: float | None = None, classes: Classes = None, batch_size: int = 1
    ) -> Detections: ...

    @overload
    def __call__(
        self, images: Images, *, threshold: float | None = None, classes: Classes = None, batch_size: int = 1
    ) -> list[Detections]: ...

    @suggest_keywords
    def __call__(
        self,
        images: ImageInput | Images,
        *,
        threshold: float | None = None,
        classes: Classes = None,
        batch_size: int = 1,
    ) -> Detections | list[Detections]:
        """Detect objects in one image or in each image of a list.

        images: a path, a URL, a PIL image, a uint8 RGB array [H, W, 3], an RGB tensor [3, H, W] (uint8, or floating
            point in 0..1), or a list or tuple of these.
        threshold: minimum score of a detection of any class, 0..1; by default the predictor's ``class_thresholds``.
        classes: names or category ids of the classes to return; by default all.
        batch_size: number of images per forward pass; only images of equal resized size share one.

        Returns the Detections of one image, or a list with one Detections per image. Boxes and masks are in pixels of
        the original image, and each result keeps its image for ``draw``.
        Raises TypeError for an unsupported type of image, UsageError for an array or tensor of the wrong dtype, shape
        or range, for a threshold outside 0..1 and for an unknown class, and MediaError or FetchError for a file that
        cannot be read or downloaded.
        """
        if threshold is not None:
            check_threshold(threshold)
        check_number("batch_size", batch_size, int, low=1)
        labels = None
        if classes is not None:
            wanted = [classes] if isinstance(classes, str | int) else classes
            labels = labels_of(self.class_names, wanted, loadable_models(self.device.type))
        inputs = images if isinstance(images, list | tuple) else [images]
        results: list[Detections] = []
        for first in range(0, len(inputs), batch_size):
            arrays = [to_rgb_array(image) for image in inputs[first : first + batch_size]]
            detections = self.predict_batch(arrays, labels, threshold)
            results += [replace(one, image=array) for one, array in zip(detections, arrays, strict=True)]
        return results if inputs is images else results[0]

    def predict_batch(
        self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None, threshold: float | None = None
    ) -> list[Detections]:
        """Detect objects in arrays, with one forward pass for all images of equal resized size, if they have no tiles.

        images: uint8 RGB arrays [H, W, 3].
        labels: labels of the classes to return, 1..K; by default all.
        threshold: minimum score for all classes, 0..1; by default the predictor's ``class_thresholds``.

        Returns one Detections per image, in pixels of that image, without keeping the image. Images of different
        resized sizes never share a batch, because padding would change their features. Raises UsageError for another
        array.
        """
        for image in images:
            check_rgb_array(image)
        minimum_scores = self._minimum_scores(labels, threshold)
        limits = Limits(
            float(minimum_scores.min()),
            self.max_detections,
            nms_iou=self.nms,
            class_agnostic=self.one_label_per_object,
            proposals=self._proposals,
        )
        tiling = self.tiling
        found = detect_in_tiles(self.runtime, images, [tiling.tiles(image.shape[:2]) for image in images], limits)
        return [self._to_detections(one, minimum_scores) for one in found]

    def _minimum_scores(self, labels: Sequence[int] | None, threshold: float | None) -> np.ndarray:
        """Return the minimum score of each label, float32 [1 + K]; inf for background and labels not to return."""
        minimum_scores = np.full(1 + len(self.class_names), np.inf, np.float32)
        for label in range(1, 1 + len(self.class_names)) if labels is None else labels:
            own = self.class_thresholds[self.class_names.name(label)]
            minimum_scores[label] = own if threshold is None else threshold
        return minimum_scores

    def _to_detections(self, image: ImageDetections, minimum_scores: np.ndarray) -> Detections:
        """Return those of the detections in an image that have a wanted label and its minimum score."""
        found = image.found
        labels = self._label_of_row[found.rows.numpy()]
        scores = found.scores.numpy().astype(np.float32, copy=False)
        chosen = np.flatnonzero(scores >= minimum_scores[labels])
        rles = None
        if found.masks is not None:
            rles = [paste_mask(found.masks[i], found.boxes[i], image.image_hw) for i in chosen]
        keypoints = None
        if found.keypoints is not None:
            keypoints = found.keypoints.numpy().astype(np.float32, copy=False)[chosen]
        return Detections(
            image.image_hw,
            found.boxes.numpy().astype(np.float32, copy=False)[chosen],
            scores[chosen],
            labels[chosen],
            rles,
            keypoints,
            self.class_names,
            limit_reached=image.limit_reached,
        )


def _check_proposals(proposals: int, runtime: Runtime) -> None:
    check_proposals(proposals)
    if "proposals" not in runtime.applied_limits:
        raise UsageError(f"`proposals={proposals}`: {runtime.why_fixed('proposals')}")


def _check_nms(nms: float | None, one_label_per_object: bool, runtime: Runtime) -> None:
    if nms is not None:
        check_nms(nms)
    is_changed = {"nms_iou": nms not in (None, runtime.nms_iou), "class_agnostic": one_label_per_object}
    shown = {"nms_iou": f"nms={nms}", "class_agnostic": "one_label_per_object"}
    for name, wanted in is_changed.items():
        if wanted and name not in runtime.applied_limits:
            raise UsageError(f"`{shown[name]}`: {runtime.why_fixed(name)}")
