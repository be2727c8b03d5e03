"""Loading a model for inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from detect.errors import CheckpointError
from detect.inference.predictor import Predictor
from detect.io.links import fetch_link, is_link, naming_origin
from detect.models import checkpoint, pretrained
from detect.models.architecture import Architecture, detector_architecture
from detect.models.builder import build
from detect.models.checkpoint import Checkpoint
from detect.models.cpu.fuse_bn import fuse_for_inference
from detect.models.zoo import BUNDLED, DETECTORS, check_model
from detect.options import check_imgsz, check_max_detections, check_threshold, suggest_keywords
from detect.runtime import pick_device
from detect.text import type_in_words


@suggest_keywords
def load_model(
    model: str | Path = "balloon",
    *,
    device: str = "auto",
    imgsz: int | None = None,
    threshold: float | None = None,
    max_detections: int | None = None,
) -> Predictor:
    """Load a model and return its Predictor.

    model: name of a bundled model ("balloon"), name of a torchvision detector with COCO weights ("v2", "maskrcnn_v2"
        ...), path of a checkpoint (.safetensors), or URL of one.
    device: "auto", "cpu", "cuda", "cuda:0" or "mps".
    imgsz: length in pixels to which the short side of an image is resized, 32..8192; by default the checkpoint's.
    threshold: minimum score of a detection, 0..1; by default the checkpoint's, else 0.5.
    max_detections: maximum number of detections per image, 1..10000, those with the highest scores; by default the
        checkpoint's. More than the checkpoint's take more time.

    Raises TypeError for a model of another type, UsageError for an unknown name, an invalid number or a size that
    the model does not support, FetchError for a failed download and CheckpointError for a file that is not a valid
    checkpoint.
    """
    if not isinstance(model, str | Path):
        raise TypeError(f"a model must be a name, a path or a URL, not {type_in_words(model)}")
    if imgsz is not None:
        check_imgsz(imgsz)
    if threshold is not None:
        check_threshold(threshold)
    if max_detections is not None:
        check_max_detections(max_detections)
    name = str(model)
    check_model(name)
    target = pick_device(device)
    options: Any = {"device": target, "imgsz": imgsz, "threshold": threshold, "max_detections": max_detections}
    if name in DETECTORS:
        architecture = detector_architecture(name, imgsz).to_json()
        weights = pretrained.published_detector(name)
        saved = Checkpoint(weights.state, architecture, *pretrained.coco_classes(name))
        return predictor_from_checkpoint(saved, source=weights.source, **options)
    if name in BUNDLED:
        path = pretrained.bundled(name)
    else:
        path = fetch_link(name, hint=pretrained.OFFLINE_HINT) if is_link(name) else Path(name)
    with naming_origin(name):
        return predictor_from_checkpoint(checkpoint.load(path), source=str(path), **options)


def predictor_from_checkpoint(
    saved: Checkpoint,
    *,
    device: torch.device | str = "cpu",
    imgsz: int | None = None,
    threshold: float | None = None,
    max_detections: int | None = None,
    source: str = "checkpoint",
) -> Predictor:
    """Build the model that a loaded checkpoint describes and return its Predictor.

    source: name of the file, for messages.

    Raises CheckpointError if the tensors do not fit the architecture that the checkpoint describes.
    """
    try:
        architecture = Architecture.from_json(saved.architecture)
        model = build(architecture, saved.num_rows)
        model.load_state_dict(saved.state)
        fuse_for_inference(model)
    except (RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{source}: the weights do not fit the architecture that it describes: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    if imgsz is not None:
        model.transform.set_size(imgsz)
    return Predictor(
        model,
        saved.class_names,
        class_rows=saved.class_rows,
        threshold=saved.threshold if threshold is None else threshold,
        training_shrink=float(saved.data.get("train_shrink", 1.0)),
        max_detections=max_detections,
        device=device,
    )
