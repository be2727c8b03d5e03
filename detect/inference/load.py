"""Loading a model for inference."""

from __future__ import annotations

from pathlib import Path

import torch

from detect.errors import CheckpointError
from detect.inference.predictor import Predictor
from detect.io.links import fetch_link, is_link, naming_origin
from detect.models import checkpoint, pretrained
from detect.models.architecture import Architecture, detector_architecture
from detect.models.builder import build
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.models.cpu.fuse_bn import fuse_for_inference
from detect.models.zoo import BUNDLED, DETECTORS, check_model
from detect.options import suggest_keywords
from detect.runtime import pick_device


@suggest_keywords
def load_model(
    model: str | Path = "balloon", *, device: str = "auto", imgsz: int | None = None, threshold: float | None = None
) -> Predictor:
    """Load a model and return its Predictor.

    model: name of a bundled model ("balloon"), name of a torchvision detector with COCO weights ("v2", "maskrcnn_v2"
        ...), path of a checkpoint (.safetensors), or URL of one.
    device: "auto", "cpu", "cuda", "cuda:0" or "mps".
    imgsz: length in pixels to which the short side of an image is resized; by default the checkpoint's.
    threshold: minimum score of a detection, 0..1; by default the checkpoint's, else 0.5.

    Raises UsageError for an unknown name or a size that the model does not support, FetchError for a failed download
    and CheckpointError for a file that is not a valid checkpoint.
    """
    name = str(model)
    check_model(name)
    target = pick_device(device)
    if name in DETECTORS:
        return _torchvision_detector(name, target, imgsz, threshold)
    if name in BUNDLED:
        path = pretrained.bundled(name)
    else:
        path = fetch_link(name, hint=pretrained.OFFLINE_HINT) if is_link(name) else Path(name)
    with naming_origin(name):
        saved = checkpoint.load(path)
        return predictor_from_checkpoint(saved, device=target, imgsz=imgsz, threshold=threshold, source=str(path))


def predictor_from_checkpoint(
    saved: checkpoint.Checkpoint,
    *,
    device: torch.device | str = "cpu",
    imgsz: int | None = None,
    threshold: float | None = None,
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
        device=device,
    )


def _torchvision_detector(name: str, device: torch.device, imgsz: int | None, threshold: float | None) -> Predictor:
    weights = pretrained.published_detector(name)
    assert weights.class_names is not None and weights.class_rows is not None
    model = build(detector_architecture(name, imgsz), 1 + max(weights.class_rows))
    model.load_state_dict(weights.state)
    fuse_for_inference(model)
    return Predictor(
        model,
        weights.class_names,
        class_rows=weights.class_rows,
        threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
        device=device,
    )
