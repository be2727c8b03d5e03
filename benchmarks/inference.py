"""How large and how fast the models are: every line of the tables BACKBONES and DETECTORS, under equal load.

The weights are random, so that nothing has to be downloaded. Alone they would make the load a matter of chance:
activations of deep random networks explode or fade, and then no region and no object, or hundreds, reach the heads.
So batch norms get the statistics of the image, and each model the score threshold at which it finds OBJECTS.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from benchmarks import complexity, machine, markdown, published
from detect.inference.predictor import Predictor
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.zoo import DETECTORS
from detect.structures.class_names import ClassNames

OBJECTS = 10
COCO_ROWS = 91


@dataclass
class Entry:
    """A line of the benchmark.

    title: the flag that chooses the model.
    seen_hw: pixels that the network sees, padded to whole strides.
    regions: proposals that reach the box head; None for models in one stage.
    objects: detections of the image, so many masks are predicted and pasted.
    multiply_adds: of one image, as ``cost.multiply_adds`` counts them.
    ap: COCO's, in percent, and top1: ImageNet's of the backbone, both as torchvision publishes them.
    seconds: of every round, from the decoded image to its Detections.
    """

    title: str
    head: str
    parameters: int
    seen_hw: tuple[int, int]
    regions: int | None
    objects: int
    multiply_adds: int
    ap: dict[str, float]
    top1: float | None
    seconds: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.seconds)


def prepare(name: str, head: str, imgsz: int, image: np.ndarray, device: torch.device) -> tuple[Entry, Predictor]:
    """The model ``name``, warm and under the stated load, and its line, which lacks only the seconds.

    head: for a backbone, one of HEADS; a whole model brings its own.  imgsz: short side in pixels; whole models
    made for less keep their own.  image: uint8 RGB [H, W, 3].
    """
    torch.manual_seed(0)
    is_backbone = name not in DETECTORS
    architecture = backbone_architecture(name, head, imgsz) if is_backbone else _detector(name, imgsz)
    rows = COCO_ROWS if is_backbone else published.num_rows(name)
    model = build(architecture, rows)
    classes = ClassNames(tuple(f"class {row}" for row in range(1, rows)))
    predictor = Predictor(model, classes, threshold=1.0, device=device)
    with _settling_norms(model):
        predictor.predict_batch([image])
    predictor.threshold = 0.0
    scores = predictor.predict_batch([image])[0].scores
    # Between two scores, since their last digits are not the same in every run.
    predictor.threshold = float(scores[OBJECTS - 1 : OBJECTS + 1].mean()) if len(scores) > OBJECTS else 0.0
    seen: dict[str, Any] = {"regions": None}
    with _watching(model, seen):
        multiply_adds = complexity.multiply_adds(lambda: seen.update(objects=len(predictor.predict_batch([image])[0])))
    entry = Entry(
        title=f"--backbone {name}" if is_backbone else f"--model {name}",
        head=architecture.head,
        parameters=complexity.parameters(model),
        multiply_adds=multiply_adds,
        ap={} if is_backbone else published.coco_ap(name),
        top1=published.imagenet_top1(name) if is_backbone else None,
        **seen,
    )
    return entry, predictor


def page(entries: list[Entry], image: Path, image_hw: tuple[int, int], command: str, device: torch.device) -> str:
    """Markdown: how it was measured, and the table."""
    rounds = len(entries[0].seconds)
    rows = [
        [
            f"`{e.title}`",
            e.head,
            f"{e.parameters / 1e6:.1f}",
            f"{e.seen_hw[0]}×{e.seen_hw[1]}",
            "–" if e.regions is None else str(e.regions),
            f"{e.multiply_adds / 1e9:.1f}",
            *(f"{e.ap[k]:.1f}" if k in e.ap else "–" for k in ("box_map", "mask_map", "kp_map")),
            "–" if e.top1 is None else f"{e.top1:.1f}",
            f"{e.median_ms:.0f}",
        ]
        for e in entries
    ]
    header = ("model", "head", "M parameters", "pixels", "regions", "GFLOP", "COCO box AP", "mask AP", "keypoint AP")
    found = sorted({e.objects for e in entries})
    return (
        f"Written by `{command}` on {machine.in_words(device)}. Milliseconds: median of {rounds} rounds, all models "
        f"taking turns in one process, from the decoded image ({image.name}, {image_hw[0]}×{image_hw[1]} pixels) "
        f"to its detections, {' to '.join(map(str, dict.fromkeys((found[0], found[-1]))))} objects each.\n\n"
        + markdown.table((*header, "ImageNet top-1", "ms"), rows)
    )


def _detector(name: str, imgsz: int) -> Architecture:
    line = DETECTORS[name]
    return detector_architecture(name, None if line.short == line.long or line.short <= imgsz else imgsz)


@contextmanager
def _settling_norms(model: nn.Module) -> Iterator[None]:
    """Every batch norm, frozen or not, takes the statistics of what it sees, once for all."""

    def settle(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel():
            variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance.clamp(min=1e-5))  # some eps are 0

    with ExitStack() as hooks:
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d | FrozenBatchNorm2d):
                hooks.callback(norm.register_forward_pre_hook(settle).remove)
        yield


@contextmanager
def _watching(model: Any, seen: dict[str, Any]) -> Iterator[None]:
    """Note in ``seen`` the pixels that the backbone gets and, for models in two stages, the regions proposed."""

    def pixels(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen["seen_hw"] = tuple(inputs[0].shape[2:])

    def regions(_: nn.Module, __: Any, output: tuple[list[Tensor], Any]) -> None:
        seen["regions"] = len(output[0][0])

    with ExitStack() as hooks:
        hooks.callback(model.backbone.register_forward_pre_hook(pixels).remove)
        if hasattr(model, "rpn"):
            hooks.callback(model.rpn.register_forward_hook(regions).remove)
        yield
