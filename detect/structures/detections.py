"""The objects that a model detects in one image."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detect.errors import UsageError
from detect.foreign_names import DETECTIONS
from detect.options import build, check_threshold, suggest_keywords
from detect.structures import detections_json, masks
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.structures.masks import Rle
from detect.text import counted, first_few

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, repr=False)
class Detections:
    """Objects detected in one image, sorted by descending score.

    image_hw: (height, width) of the original image in pixels.
    boxes: float32 [N, 4], xyxy, absolute pixels of the original image.
    scores: float32 [N], 0..1, descending.
    labels: int64 [N], 1..K.
    masks: N compressed COCO RLEs of size ``image_hw``; None from a model without masks.
    keypoints: float32 [N, P, 3]: x and y in absolute pixels and the score of each point (the maximum of its heat map,
        a logit); None from a model without keypoints.
    class_names: ClassNames of the model, which give each label its name and category id; None if unknown.
    image: uint8 RGB [H, W, 3], the image itself; None if it was not kept.
    limit_reached: whether the model stopped at its maximum number of detections per image (``max_detections``), so
        that objects with lower scores may be missing.
    track_ids: int64 [N], 1 and above: the number of each object, equal in all frames of a video; None for detections
        that were not tracked.

    Raises ValueError if the arrays have the wrong type, shape or range, or do not fit together.
    """

    image_hw: tuple[int, int]
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    masks: list[Rle] | None = None
    keypoints: np.ndarray | None = None
    class_names: ClassNames | None = field(default=None, compare=False)
    image: np.ndarray | None = field(default=None, compare=False)
    limit_reached: bool = field(default=False, compare=False)
    track_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes)
        arrays = [("boxes", "float32", [n, 4]), ("scores", "float32", [n]), ("labels", "int64", [n])]
        arrays += [("track_ids", "int64", [n])] if self.track_ids is not None else []
        for name, dtype, size in arrays:
            array = getattr(self, name)
            if list(array.shape) != size or array.dtype != dtype:
                raise ValueError(f"{name} must be {dtype} {size}, not {array.dtype} {array.shape}")
        if self.masks is not None and len(self.masks) != n:
            raise ValueError(f"{n} boxes but {len(self.masks)} masks")
        if self.keypoints is not None and (self.keypoints.ndim != 3 or self.keypoints.shape[::2] != (n, 3)):
            raise ValueError(f"keypoints must be [{n}, P, 3], not {self.keypoints.shape}")
        if n and not np.all(np.isfinite(self.boxes)):
            raise ValueError("boxes must be finite")
        # Written as "not inside the range" because every comparison with NaN is false.
        if n and not (self.scores.min() >= 0 and self.scores.max() <= 1 and np.all(np.diff(self.scores) <= 0)):
            raise ValueError("scores must lie in 0..1 and descend")
        if n and self.labels.min() < 1:
            raise ValueError(f"labels must be at least 1, not {self.labels.min()}; 0 is background, never a detection")
        if n and self.track_ids is not None and self.track_ids.min() < 1:
            raise ValueError(f"track_ids must be at least 1, not {self.track_ids.min()}")
        if n and self.class_names is not None and self.labels.max() > len(self.class_names):
            raise ValueError(f"label {self.labels.max()} is not in 1..{len(self.class_names)}")
        for rle in self.masks or []:
            if tuple(rle["size"]) != tuple(self.image_hw):
                raise ValueError(f"masks must have the size {self.image_hw} (h, w) of the image, not {rle['size']}")
        shape = (*self.image_hw, 3)
        if self.image is not None and (self.image.shape != shape or self.image.dtype != np.uint8):
            raise ValueError(f"image must be uint8 {list(shape)}, not {self.image.dtype} {list(self.image.shape)}")

    @classmethod
    def of_record(cls, record: ImageRecord) -> Detections:
        """Return the ground truth of an image as detections with score 1, for example to draw it."""
        rles = None if record.masks is None else [masks.from_coco(mask, record.image_hw) for mask in record.masks]
        return cls(record.image_hw, record.boxes, np.ones(len(record), np.float32), record.labels, rles)

    if not TYPE_CHECKING:  # else every attribute would have a type

        def __getattr__(self, name):
            hint = f"; use {DETECTIONS[name]}" if name in DETECTIONS else ""
            raise AttributeError(f"'Detections' object has no attribute '{name}'{hint}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        height, width = self.image_hw
        parts = [f"{count} {name}" for name, count in Counter(self.names).most_common()]
        total = counted(len(self), "detection") + (" (limit reached)" if self.limit_reached else "")
        return f"<{': '.join([total, ', '.join(parts)]) if parts else total}; image {height}x{width} (h x w)>"

    def __getitem__(self, index: int | Sequence[int] | np.ndarray | slice) -> Detections:
        """Return the detections at ``index``: one integer, several, a boolean mask [N] or a slice."""
        kept = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            labels=self.labels[kept],
            masks=None if self.masks is None else [self.masks[i] for i in kept],
            keypoints=None if self.keypoints is None else self.keypoints[kept],
            track_ids=None if self.track_ids is None else self.track_ids[kept],
        )

    @property
    def names(self) -> list[str]:
        """The class name of each detection; ``class 3`` for label 3 where ``class_names`` is None."""
        labels = self.labels.tolist()
        return [f"class {i}" if self.class_names is None else self.class_names.name(i) for i in labels]

    def summary(self, max_scores: int = 5) -> str:
        """Return the detections in words, such as ``2 balloon (0.98 0.61), 1 kite (0.77)``.

        Classes are ordered by their best score; each shows its ``max_scores`` highest scores.
        """
        scores: dict[str, list[str]] = {}
        for name, score in zip(self.names, self.scores.tolist(), strict=True):
            scores.setdefault(name, []).append(f"{score:.2f}")
        parts = []
        for name, values in scores.items():
            more = " ..." if len(values) > max_scores else ""
            parts.append(f"{len(values)} {name} ({' '.join(values[:max_scores])}{more})")
        return ", ".join(parts) or "no detections"

    def filter(self, threshold: float | Mapping[str, float] = 0.0, labels: Sequence[int] | None = None) -> Detections:
        """Return the detections that score at least ``threshold`` and, if given, have one of ``labels``.

        threshold: minimum score, 0..1, of all classes or of each, by name, such as ``Predictor.class_thresholds``.

        Raises UsageError for a threshold outside 0..1 and for a class without one.
        """
        if isinstance(threshold, Mapping):
            of_label = self._thresholds_of_labels(threshold)
            minimum = of_label[self.labels]
            lowest = of_label[1:] if labels is None else of_label[list(labels)]
        else:
            check_threshold(threshold)
            minimum = lowest = np.array(threshold, np.float32)
        keep = self.scores >= minimum
        # The detections that the model left out score less than all others, and are not wanted below the thresholds.
        limit_reached = self.limit_reached and bool((self.scores >= lowest.min(initial=np.inf)).all())
        if labels is not None:
            keep &= np.isin(self.labels, labels)
        return replace(self[keep], limit_reached=limit_reached)

    def _thresholds_of_labels(self, thresholds: Mapping[str, float]) -> np.ndarray:
        """Return the minimum score of each label, float32 [1 + K], 0 for the background."""
        if self.class_names is None:
            raise UsageError("these detections have no class names, so `threshold` must be one number for all classes")
        if missing := [name for name in self.class_names.names if name not in thresholds]:
            raise UsageError(f"`threshold` has no minimum score for {first_few(missing)}")
        for threshold in thresholds.values():
            check_threshold(threshold)
        return np.array([0, *(thresholds[name] for name in self.class_names.names)], np.float32)

    @suggest_keywords
    def draw(
        self,
        image: np.ndarray | None = None,
        *,
        line_width: int | None = None,
        font: str | None = None,
        hide_labels: bool = False,
        hide_scores: bool = False,
        hide_boxes: bool = False,
        hide_masks: bool = False,
        color_instances: bool = False,
        tint: bool = True,
    ) -> Image.Image:
        """Return a PIL image with boxes, masks, keypoints and labels drawn on it.

        image: uint8 RGB [H, W, 3] to draw on; by default the image that was given to the predictor.
        line_width: width of boxes and contours in pixels; by default fitted to the image and to each object.
        font: file of a TrueType or OpenType font for the labels; by default DejaVu Sans, and a font of the system for
            scripts that it lacks.
        hide_labels, hide_scores, hide_boxes, hide_masks: what to leave out.
        color_instances: whether each instance has its own color, in place of that of its class.
        tint: whether masks are filled; otherwise only their contours are drawn.

        Raises UsageError if there is no image, its size is not ``image_hw``, or a value is invalid, such as a
        font that does not exist.
        """
        from PIL import Image

        from detect.media.drawing import draw
        from detect.media.drawing_style import DrawingStyle

        canvas = self.image if image is None else image
        if canvas is None:
            raise UsageError("these detections keep no image; pass one: draw(image)")
        class_names = self._known_class_names()
        style = build(
            DrawingStyle,
            "Detections.draw",
            line_width=line_width,
            font=font,
            hide_labels=hide_labels,
            hide_scores=hide_scores,
            hide_boxes=hide_boxes,
            hide_masks=hide_masks,
        )
        return Image.fromarray(draw(canvas, self, class_names, style, color_instances=color_instances, tint=tint))

    @suggest_keywords
    def to_json(self, format: str = "detect", *, source: str | None = None, mask_format: str | None = None) -> Any:
        """Return the detections ready for ``json.dumps``.

        format: "detect" for the document that every program writes, with one entry of ``images`` (see
            ``image_entry`` in ``detect.structures.detections_json``); or what other tools read: "coco" (results, for
            the image 1; see ``to_coco``), "huggingface" or "roboflow".
        source: name of the image, for "detect".
        mask_format: "rle" or "polygons"; by default RLE, and polygons for "roboflow".

        Raises UsageError for another format.
        """
        detections_json.check_formats(format, mask_format)
        names = self._known_class_names()
        if format == "coco":
            return self.to_coco(1, mask_format=mask_format)
        if format == "huggingface":
            return detections_json.huggingface_rows(self, names)
        if format == "roboflow":
            return detections_json.roboflow_response(self, names, mask_format)
        entry = detections_json.image_entry(self, names, mask_format)
        return detections_json.document([{"source": source} | entry])

    def to_coco(self, image_id: int, *, mask_format: str | None = None) -> list[dict[str, Any]]:
        """Return the detections in COCO's results format (https://cocodataset.org/#format-results), ready for JSON.

        mask_format: "rle" (the default) or "polygons".

        Each dict has image_id, category_id, bbox (xywh, absolute pixels), score and, from a model with masks,
        segmentation. Tracked detections also have track_id. category_id is the id of the training annotations, or the
        label where ``class_names`` is None. Numbers are the shortest decimals that give the same float32 again; width
        and height are the differences of those of the box.
        """
        detections_json.check_formats("coco", mask_format)
        rows = []
        for i, label in enumerate(self.labels.tolist()):
            row: dict[str, Any] = {"image_id": image_id, "category_id": self._category_id(label)}
            row["bbox"] = detections_json.box_xywh(self.boxes[i])
            row["score"] = detections_json.shortest(self.scores[i])
            if self.masks is not None:
                row["segmentation"] = detections_json.segmentation(self.masks[i], mask_format)
            if self.track_ids is not None:
                row["track_id"] = int(self.track_ids[i])
            rows.append(row)
        return rows

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections``: xyxy, confidence, class_id (the labels, 1..K), mask, tracker_id and,
        under ``data["class_name"]``, the class names.

        Masks become a bool [N, H, W] array. Raises UsageError if the package supervision is not installed.
        """
        supervision = _optional_package("supervision")
        bitmaps = None
        if self.masks is not None:
            bitmaps = np.zeros((len(self), *self.image_hw), bool)
            for i, rle in enumerate(self.masks):
                bitmaps[i] = masks.to_bitmap(rle)
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=bitmaps,
            confidence=self.scores.copy(),
            class_id=self.labels.copy(),
            tracker_id=None if self.track_ids is None else self.track_ids.copy(),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per detection: name, category_id, score, x_min, y_min, x_max and
        y_max (absolute pixels), and track_id if the detections were tracked.

        Raises UsageError if the package pandas is not installed.
        """
        pandas = _optional_package("pandas")
        columns: dict[str, Any] = {
            "name": self.names,
            "category_id": [self._category_id(label) for label in self.labels.tolist()],
            "score": self.scores,
        }
        columns |= dict(zip(("x_min", "y_min", "x_max", "y_max"), self.boxes.T, strict=True))
        if self.track_ids is not None:
            columns["track_id"] = self.track_ids
        return pandas.DataFrame(columns)

    def _known_class_names(self) -> ClassNames:
        """Return ``class_names``, or names such as ``class 3`` where they are None."""
        labels = range(1, int(self.labels.max(initial=1)) + 1)
        return self.class_names or ClassNames(tuple(f"class {i}" for i in labels))

    def _category_id(self, label: int) -> int:
        return label if self.class_names is None else self.class_names.category_id(label)


def _optional_package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(f"to_{name}() needs the package {name}: pip install {name}") from None
