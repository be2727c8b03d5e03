"""The model that ``benchmark.py inference`` measures, as files: a checkpoint and its exports in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks.random_weights import settle
from detect.deployment.export import export_unverified
from detect.errors import FetchError
from detect.inference.load import read_model
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models import checkpoint, pretrained
from detect.models.architecture import detector_architecture
from detect.models.builder import build
from detect.models.checkpoint import Checkpoint
from detect.models.zoo import DETECTORS
from detect.structures.class_names import ClassNames


@dataclass(frozen=True)
class Subject:
    """The measured model.

    name: as the user gave it.
    folder: temporary folder of its files.
    imgsz: short side of the resized images in pixels; None for the model's.
    class_names: of the model.
    has_random_weights: whether the weights of a torchvision model could not be downloaded.
    calibration: returns the images that calibrate the export in 8 bits, uint8 RGB [H, W, 3].
    """

    name: str
    folder: Path
    imgsz: int | None
    class_names: ClassNames
    has_random_weights: bool
    calibration: Callable[[], Sequence[np.ndarray]]

    def file(self, kind: str) -> Path:
        """Return the checkpoint, or an export that is written when it is first needed.

        kind: a key of ``variants.PACKAGES``. Raises UsageError where the model cannot be exported.
        """
        exports = {"onnx": "_onnx", "openvino": "_openvino", "openvino_int8": "_openvino_int8"}
        return getattr(self, exports[kind]) if kind in exports else self._checkpoint

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "model.safetensors"

    @cached_property
    def _onnx(self) -> Path:
        return self._export("onnx")

    @cached_property
    def _openvino(self) -> Path:
        return self._export("openvino")

    @cached_property
    def _openvino_int8(self) -> Path:
        return self._export("openvino", self.calibration())

    def _export(self, to: str, calibration: Sequence[np.ndarray] | None = None) -> Path:
        """Export without a comparison, since the benchmark measures AP itself."""
        folder = self.folder / (to if calibration is None else f"{to}_int8")
        folder.mkdir()
        return export_unverified(self._checkpoint, to, folder, imgsz=self.imgsz, calibration=calibration)


def prepare_subject(
    name: str,
    imgsz: int | None,
    folder: Path,
    images: Sequence[np.ndarray],
    calibration: Callable[[], Sequence[np.ndarray]],
) -> Subject:
    """Write the checkpoint of a model to ``folder``.

    name: as for ``load_model``. A torchvision model whose weights cannot be downloaded gets random ones, which are
        settled on ``images``, see ``benchmarks.random_weights``.
    calibration: see ``Subject``.
    Raises what ``load_model`` raises.
    """
    is_random = False
    try:
        saved, _, _ = read_model(name, imgsz)
    except FetchError:
        if name not in DETECTORS:
            raise
        saved, is_random = _with_random_weights(name, imgsz, images), True
    # Without its faster settings, since each variant has its own.
    plain = Checkpoint(
        saved.state, saved.architecture, saved.class_names, saved.class_rows, saved.threshold, saved.class_thresholds
    )
    subject = Subject(name, folder, imgsz, saved.class_names, is_random, calibration)
    checkpoint.save(plain, subject.file("torch"))
    return subject


def _with_random_weights(name: str, imgsz: int | None, images: Sequence[np.ndarray]) -> Checkpoint:
    torch.manual_seed(0)
    architecture = detector_architecture(name, imgsz)
    class_names, class_rows = pretrained.coco_classes(name)
    model = build(architecture, 1 + max(class_rows))
    predictor = Predictor(TorchRuntime(model), class_names, class_rows=class_rows)
    settle(predictor, images)
    return Checkpoint(
        model.state_dict(), architecture.to_json(), class_names, class_rows, threshold=predictor.threshold
    )
