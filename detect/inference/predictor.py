"""Image -> Detections, for every program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes

from detect.errors import CheckpointError
from detect.io.links import fetch_link, is_link, telling_origin
from detect.models import checkpoint, pretrained
from detect.models.architecture import Architecture, detector_architecture
from detect.models.builder import Detector, build, score_owner
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.models.cpu.fuse_bn import fold_norms
from detect.models.names import check_model
from detect.models.zoo import BUNDLED, DETECTORS
from detect.runtime import pick_device
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.masks import Rle


class Predictor:
    """A model with its classes and threshold, on its device, ready to look at images.

    threshold: detections that score less are not returned. It is set in the model itself, so that the mask head
        never sees what would be thrown away.
    """

    def __init__(
        self,
        model: Detector,
        class_names: ClassNames,
        *,
        class_rows: Sequence[int] | None = None,
        threshold: float = DEFAULT_THRESHOLD,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model = model.to(device)
        self.class_names = class_names
        self.threshold = threshold
        self.device = torch.device(device)
        # Row of the box head -> label; 0 for background and for rows that belong to no class (COCO's "N/A").
        rows = tuple(class_rows or range(1, len(class_names) + 1))
        self._label_of_row = np.zeros(max(rows) + 1, np.int64)
        self._label_of_row[list(rows)] = np.arange(1, len(rows) + 1)

    def __call__(
        self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None, threshold: float | None = None
    ) -> list[Detections]:
        """Detections in each of ``images`` (uint8 RGB [H, W, 3]) on its original pixels, of ``labels`` if given, that
        score ``threshold`` or, where it is not given, the predictor's own.

        Images padded into one batch would influence each other's features, so only images whose resized size
        is equal share one.
        """
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"image {i} is {image.dtype} {image.shape}, not uint8 RGB [H, W, 3]")
            by_size[self.model.transform.resized_hw(image.shape[:2])].append(i)
        found: dict[int, Detections] = {}
        for members in by_size.values():
            outputs = self._detect([images[i] for i in members], self.threshold if threshold is None else threshold)
            for i, one in zip(members, outputs, strict=True):
                found[i] = one if labels is None else one.filter(labels=labels)
        return [found[i] for i in range(len(images))]

    @torch.inference_mode()
    def _detect(self, images: list[np.ndarray], threshold: float) -> list[Detections]:
        tensors = [torch.from_numpy(image).to(self.device).permute(2, 0, 1) for image in images]
        was_training = self.model.training
        owner: Any = score_owner(self.model)
        former = owner.score_thresh
        self.model.eval()
        # torchvision keeps what scores more than this; here a score equal to the threshold counts too.
        owner.score_thresh = float(np.nextafter(np.float32(threshold), np.float32(-1)))
        try:
            outputs = self.model(tensors)
        finally:
            owner.score_thresh = former
            self.model.train(was_training)
        pairs = zip(outputs, images, strict=True)
        return [self._detections({k: v.cpu() for k, v in o.items()}, im.shape[:2]) for o, im in pairs]

    def _detections(self, output: dict[str, Tensor], image_hw: tuple[int, int]) -> Detections:
        labels = self._label_of_row[output["labels"].numpy()]
        scores = output["scores"].numpy().astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        order = order[labels[order] > 0]
        boxes = output["boxes"].numpy().astype(np.float32)[order]
        rles = None
        if "masks" in output:
            rles = [paste(output["masks"][i, 0], output["boxes"][i], image_hw) for i in order]
        points = None
        if "keypoints" in output:  # torchvision's third number says that a point is there, which it says of all
            seen = torch.cat([output["keypoints"][..., :2], output["keypoints_scores"][..., None]], dim=-1)
            points = seen.numpy().astype(np.float32)[order]
        return Detections(image_hw, boxes, scores[order], labels[order], rles, points)


def paste(probabilities: Tensor, box: Tensor, image_hw: tuple[int, int], threshold: float = 0.5) -> Rle:
    """One instance's mask on the image, as run-length code.

    probabilities: float32 [M, M] in 0..1 inside ``box`` [4] xyxy pixels. The arithmetic is that of torchvision's
    ``paste_masks_in_image`` (pad by one, grow the box accordingly, truncate to whole pixels, bilinear), but one
    mask at a time and only as large as its box.
    """
    side = probabilities.shape[-1]
    padded = F.pad(probabilities, (1, 1, 1, 1))
    x0, y0, x1, y1 = expand_boxes(box[None], (side + 2) / side)[0].to(torch.int64).tolist()
    size = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
    inside = F.interpolate(padded[None, None], size=size, mode="bilinear", align_corners=False)[0, 0] > threshold
    height, width = image_hw
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1 + 1, width), min(y1 + 1, height)
    crop = inside[top - y0 : bottom - y0, left - x0 : right - x0].numpy()
    return masks.from_pasted(crop, (left, top), image_hw)


def load_predictor(
    model: str, *, device: str = "auto", imgsz: int | None = None, threshold: float | None = None
) -> Predictor:
    """The predictor of ``--model``: a bundled model's name, a detector's (COCO weights), or a checkpoint, as a file
    or a web address.

    imgsz: short side in pixels, None for the checkpoint's.  threshold: None for the checkpoint's.
    Raises UsageError for an unknown name, FetchError, CheckpointError.
    """
    check_model(model)
    where = pick_device(device)
    if model in DETECTORS:
        weights = pretrained.published_detector(model)
        assert weights.class_names is not None and weights.class_rows is not None
        architecture = detector_architecture(model, imgsz)
        network = build(architecture, 1 + max(weights.class_rows))
        network.load_state_dict(weights.state)
        fold_norms(network)
        return Predictor(
            network,
            weights.class_names,
            class_rows=weights.class_rows,
            threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
            device=where,
        )
    if model in BUNDLED:
        path = pretrained.bundled(model)
    else:
        path = fetch_link(model, hint=pretrained.OFFLINE_HINT) if is_link(model) else Path(model)
    with telling_origin(model):
        saved = checkpoint.load(path)
        return from_checkpoint(saved, device=where, imgsz=imgsz, threshold=threshold, source=str(path))


def from_checkpoint(
    saved: checkpoint.Checkpoint,
    *,
    device: torch.device | str = "cpu",
    imgsz: int | None = None,
    threshold: float | None = None,
    source: str = "checkpoint",
) -> Predictor:
    """Rebuild the model of a checkpoint. CheckpointError where its tensors do not fit its own description."""
    try:
        architecture = Architecture.from_json(saved.architecture)
        network = build(architecture, saved.num_rows)
        network.load_state_dict(saved.state)
        fold_norms(network)
    except (RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{source} does not describe its weights: {' '.join(str(error).split())[:200]}"
        ) from None
    if imgsz is not None:
        network.transform.set_size(imgsz)
    return Predictor(
        network,
        saved.class_names,
        class_rows=saved.class_rows,
        threshold=saved.threshold if threshold is None else threshold,
        device=device,
    )
