"""Detectors that ``benchmark.py inference`` times, one for each variant; their work, and their peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from benchmarks.torchvision_eager import TorchvisionDetector
from benchmarks.variants import EXTRA, Variant
from detect import runtime
from detect.errors import DetectError
from detect.evaluation.predict import BatchDetector
from detect.inference.load import load_model
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models.summary import MultiplyAddCounter
from detect.runtime import hide_gpu_warning
from detect.text import one_line
from detect.training.logging.progress import peak_memory_bytes


class CannotRunError(DetectError):
    """A variant cannot be measured on this machine, or for this model."""


@dataclass(frozen=True)
class Detector:
    """A variant, ready to run.

    detect: the timed function, from a decoded image, uint8 RGB [H, W, 3], to its detections; returns their number.
    scored: gives the same detections as Detections.
    imgsz: short side of the resized images in pixels.
    model: the module, where torch runs it.
    """

    detect: Callable[[np.ndarray], int]
    scored: BatchDetector
    imgsz: int
    model: Any = None


@dataclass(frozen=True)
class Work:
    """Work per image, means over images.

    multiply_adds: see ``MultiplyAddCounter``.
    proposals: number that reach the box head; None for one-stage models.  objects: number of detections.
    """

    multiply_adds: float
    proposals: float | None
    objects: float


def check_machine(variant: Variant) -> None:
    """Raise CannotRunError if a package or an instruction set of the variant is missing."""
    if package := variant.missing_package():
        raise CannotRunError(f"the package {package} is not installed: {EXTRA} (requirements-export.txt)")
    if variant.precision == "bf16" and not runtime.has_bfloat16(torch.device("cpu")):
        raise CannotRunError("this CPU has neither AVX-512 BF16 nor AMX")


def load_detector(variant: Variant, path: Path, imgsz: int | None, proposals: int) -> Detector:
    """Return the detector of a variant.

    path: file that it loads.  imgsz: short side in pixels; None for the model's.
    proposals: number that a fast variant classifies.
    """
    if variant.file == "torchvision":
        theirs = TorchvisionDetector(path, imgsz)
        return Detector(lambda image: len(theirs.detect(image)["scores"]), theirs, theirs.imgsz, theirs.model)
    options: dict[str, Any] = {"proposals": proposals} if variant.is_fast else {}
    if variant.file != "openvino_int8":  # others have the precision of the export
        options["precision"] = variant.precision
    predictor = load_model(path, device="cpu", imgsz=imgsz, **options)
    model = predictor.runtime.model if isinstance(predictor.runtime, TorchRuntime) else None
    if variant.is_compiled:
        for network in _networks(model):
            network.compile()
    return Detector(lambda image: len(predictor.predict_batch([image])[0]), predictor, predictor.imgsz, model)


def warm_up(variant: Variant, detector: Detector, images: Sequence[np.ndarray]) -> None:
    """Run the first calls, which are slower. Raises CannotRunError if the compilation fails."""
    try:
        for image in images:
            detector.detect(image)
    except Exception as error:  # torch.compile raises many kinds
        if not variant.is_compiled:
            raise
        raise CannotRunError(f"torch.compile failed: {one_line(str(error))[:200]}") from None


def seconds_of(detector: Detector, images: Sequence[np.ndarray]) -> float:
    """Return the time of one pass over the images."""
    start = time.perf_counter()
    for image in images:
        detector.detect(image)
    return time.perf_counter() - start


_loaded: list[Detector] = []  # in a process of its own


def load_for_timing(variant: Variant, path: Path, imgsz: int | None, proposals: int, threads: int) -> None:
    """Load a detector for ``seconds_of_loaded`` in a process that has no other use."""
    hide_gpu_warning()
    torch.set_num_threads(threads)
    _loaded[:] = [load_detector(variant, path, imgsz, proposals)]


def seconds_of_loaded(images: Sequence[np.ndarray]) -> float:
    """Return ``seconds_of`` the detector of ``load_for_timing``."""
    return seconds_of(_loaded[0], images)


def work_of(detector: Detector, images: Sequence[np.ndarray]) -> Work:
    """Count the work of a detector that torch runs without compilation."""
    box_head = getattr(getattr(detector.model, "roi_heads", None), "box_head", None)
    proposals: list[int] = []

    def observe(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        if module is box_head:
            proposals.append(len(inputs[0]))

    with register_module_forward_hook(observe), MultiplyAddCounter() as counter:
        objects = [detector.detect(image) for image in images]
    return Work(
        counter.multiply_adds / len(images),
        statistics.mean(proposals) if proposals else None,
        statistics.mean(objects),
    )


def peak_memory(
    variant: Variant, path: Path, imgsz: int | None, proposals: int, images: Sequence[np.ndarray]
) -> int | None:
    """Return the peak memory in bytes of this process, which should be a new one, after it has loaded a detector and
    run it on each image once."""
    hide_gpu_warning()
    runtime.configure_process()
    detector = load_detector(variant, path, imgsz, proposals)
    for image in images:
        detector.detect(image)
    return peak_memory_bytes()


def _networks(model: Any) -> list[nn.Module]:
    """Return the parts of a detector with weights."""
    if not hasattr(model, "roi_heads"):
        return [model.backbone, model.head]
    names = [f"{kind}_{part}" for kind in ("box", "mask", "keypoint") for part in ("head", "predictor")]
    heads = [getattr(model.roi_heads, name, None) for name in names]
    return [model.backbone, model.rpn.head, *(head for head in heads if head is not None)]
