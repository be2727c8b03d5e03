"""The predictor: a model that turns images into Detections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias, overload

import numpy as np
import torch
from torch import Tensor

from detect.inference import score_threshold
from detect.inference.image_input import ImageInput, to_rgb_array
from detect.inference.mask_pasting import paste_mask
from detect.media.color import check_rgb_array
from detect.models.builder import Detector, max_detections_of, score_owner, set_max_detections
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.options import check_max_detections, check_number, check_threshold, suggest_keywords
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

Images: TypeAlias = list[ImageInput] | tuple[ImageInput, ...]
Classes: TypeAlias = str | int | Sequence[str | int] | None


class Predictor:
    """A detector with its classes and its score threshold, on its device.

    Several threads may call one predictor at the same time. A call changes no state of the model.

    model: Detector in evaluation mode. The constructor sets the mode; whoever trains the model in between sets it
        back before the next call.
    class_names: ClassNames of the model.
    threshold: score in 0..1 below which a detection is not returned, unless a call gives its own. It is applied inside
        the model, so that the mask head only runs on boxes that are returned.
    training_shrink: median factor by which the training images were shrunk, such as 2.0 for images of twice the size
        that the model processes; 1 if it is unknown.
    device: torch.device of the weights.
    """

    def __init__(
        self,
        model: Detector,
        class_names: ClassNames,
        *,
        class_rows: Sequence[int] | None = None,
        threshold: float = DEFAULT_THRESHOLD,
        max_detections: int | None = None,
        training_shrink: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        """class_rows: for each class the row of the box head that scores it, 1..K by default. Detections of other
        rows (COCO's "N/A" categories) are dropped.

        max_detections: maximum number of detections per image, which is set in the model, once; by default the model
        keeps its own. Raises UsageError for one outside 1..10000."""
        if max_detections is not None:
            check_max_detections(max_detections)
            set_max_detections(model, int(max_detections))
        self.model = model.to(device).eval()
        self.class_names = class_names
        self.threshold = threshold
        self.training_shrink = training_shrink
        self.device = torch.device(device)
        score_threshold.allow_override(score_owner(model))
        rows = tuple(class_rows or range(1, len(class_names) + 1))
        self._label_of_row = np.zeros(max(rows) + 1, np.int64)  # 0 for the background and for dropped rows
        self._label_of_row[list(rows)] = np.arange(1, len(rows) + 1)

    @property
    def imgsz(self) -> int:
        """Length in pixels to which the short side of an image is resized."""
        return int(self.model.transform.min_size[-1])

    @property
    def max_detections(self) -> int:
        """Maximum number of detections per image."""
        return max_detections_of(self.model)

    @property
    def has_masks(self) -> bool:
        """Whether the model predicts masks."""
        return getattr(getattr(self.model, "roi_heads", None), "mask_head", None) is not None

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which the model resizes an image of ``image_hw``."""
        return self.model.transform.resized_hw(image_hw)

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
        threshold: minimum score of a detection, 0..1; by default the predictor's.
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
            labels = self.class_names.labels([classes] if isinstance(classes, str | int) else classes)
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
        """Detect objects in arrays, with one forward pass for all images of equal resized size.

        images: uint8 RGB arrays [H, W, 3].
        labels: labels of the classes to return, 1..K; by default all.
        threshold: minimum score, 0..1; by default the predictor's.

        Returns one Detections per image, in pixels of that image, without keeping the image. Images of different
        resized sizes never share a batch, because the padding would change their features.
        """
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            check_rgb_array(image)
            by_size[self.resized_hw(image.shape[:2])].append(i)
        results: dict[int, Detections] = {}
        for members in by_size.values():
            outputs = self._forward([images[i] for i in members], self.threshold if threshold is None else threshold)
            for i, output in zip(members, outputs, strict=True):
                one = self._to_detections(output, images[i].shape[:2])
                results[i] = one if labels is None else one.filter(labels=labels)
        return [results[i] for i in range(len(images))]

    @torch.inference_mode()
    def _forward(self, images: Sequence[np.ndarray], threshold: float) -> list[dict[str, Tensor]]:
        if self.model.training:
            raise RuntimeError("the model is in training mode; call model.eval() before its predictor")
        tensors = [torch.from_numpy(image).to(self.device).permute(2, 0, 1) for image in images]
        # torchvision keeps scores greater than its threshold; here a score equal to the threshold is kept as well.
        with score_threshold.override(float(np.nextafter(np.float32(threshold), np.float32(-1)))):
            outputs = self.model(tensors)
        return [{name: value.cpu() for name, value in output.items()} for output in outputs]

    def _to_detections(self, output: dict[str, Tensor], image_hw: tuple[int, int]) -> Detections:
        labels = self._label_of_row[output["labels"].numpy()]
        scores = output["scores"].numpy().astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        order = order[labels[order] > 0]
        boxes = output["boxes"].numpy().astype(np.float32)[order]
        rles = None
        if "masks" in output:
            rles = [paste_mask(output["masks"][i, 0], output["boxes"][i], image_hw) for i in order]
        keypoints = None
        if "keypoints" in output:  # torchvision's third value per point is a visibility that is always 1
            points = torch.cat([output["keypoints"][..., :2], output["keypoints_scores"][..., None]], dim=-1)
            keypoints = points.numpy().astype(np.float32)[order]
        return Detections(
            image_hw,
            boxes,
            scores[order],
            labels[order],
            rles,
            keypoints,
            self.class_names,
            limit_reached=len(scores) >= self.max_detections,
        )
