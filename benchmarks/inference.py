"""Size and speed of models: every line of the tables BACKBONES and DETECTORS, under equal load.

The weights are random, so nothing is downloaded. Random deep networks alone would make the load a matter of chance:
activations explode or vanish, and then no proposal and no object, or hundreds, reach the heads. So batch norms get the
statistics of the image, and each model the score threshold at which it detects OBJECTS objects.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from benchmarks import complexity, published, report
from benchmarks.settings import InferenceSettings
from detect import progress, runtime
from detect.cli.startup import start_program
from detect.errors import UsageError
from detect.inference.predictor import Predictor
from detect.media.images import read_image
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, TIMM
from detect.structures.class_names import ClassNames
from detect.text import unknown

OBJECTS = 10
COCO_ROWS = 91
IMAGE = Path(__file__).resolve().parents[1] / "input" / "balloons_1.jpg"


@dataclass
class Entry:
    """One measured model.

    name: of the backbone or torchvision model.  kind: ``backbone`` or ``model``.  head: of HEADS.
    parameters: number of parameters.  input_hw: pixels that the backbone processes, padded to whole strides.
    proposals: number of proposals that reach the box head; None for one-stage models.
    objects: number of detections in the image, and so of masks that are predicted and pasted.
    multiply_adds: for one image, as ``complexity.multiply_adds`` counts them.
    ap: COCO AP in percent, and top1: ImageNet accuracy of the backbone in percent, both as torchvision publishes them.
    seconds: of each round, from the decoded image to its Detections.
    """

    name: str
    kind: str
    head: str
    parameters: int
    input_hw: tuple[int, int]
    proposals: int | None
    objects: int
    multiply_adds: int
    ap: dict[str, float]
    top1: float | None
    seconds: list[float] = field(default_factory=list)


def run(settings: InferenceSettings) -> None:
    """Measure the chosen models in turns, and publish the table."""
    lines = choose(settings.models, settings.heads)
    report.check_output(settings.json)
    start_program(settings.quiet)
    device = runtime.pick_device(settings.device)
    image = read_image(IMAGE)
    entries, calls = {}, {}
    for name, head in progress.bar(lines, desc="building"):
        entry, predictor = prepare(name, head, settings.imgsz, image, device)
        entries[name, head] = entry
        calls[name, head] = partial(predictor.predict_batch, [image])
    for key, seconds in complexity.interleaved(calls, settings.rounds).items():
        entries[key].seconds = seconds
    machine = report.machine(device)
    facts = {"machine": machine, "image_hw": image.shape[:2]}
    facts |= {"models": [asdict(entry) for entry in entries.values()]}
    report.publish(page([*entries.values()], image.shape[:2], machine), facts, settings.json)


def choose(names: Sequence[str] | None, every_head: bool) -> list[tuple[str, str]]:
    """Return (name, head) of each model to measure. Raises UsageError for an unknown name."""
    known = (*BACKBONES, *DETECTORS)
    for name in names or ():
        if name not in known and not name.startswith(TIMM):
            raise UsageError(unknown("model", name, known))
    lines = []
    for name in dict.fromkeys(names or known):
        heads = (DETECTORS[name].head,) if name in DETECTORS else HEADS if every_head else HEADS[:1]
        lines += [(name, head) for head in heads]
    return lines


def prepare(name: str, head: str, imgsz: int, image: np.ndarray, device: torch.device) -> tuple[Entry, Predictor]:
    """Return a model that has run once under the stated load, and its Entry without the seconds.

    head: of a backbone; a torchvision model has its own.  imgsz: short side in pixels; torchvision models made for
    less keep their own.  image: uint8 RGB [H, W, 3].
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
    scores = predictor.predict_batch([image], threshold=0.0)[0].scores
    # Between two scores, since their last digits differ from run to run.
    predictor.threshold = float(scores[OBJECTS - 1 : OBJECTS + 1].mean()) if len(scores) > OBJECTS else 0.0
    observed: dict[str, Any] = {"proposals": None}
    with _observing(model, observed):
        multiply_adds = complexity.multiply_adds(
            lambda: observed.update(objects=len(predictor.predict_batch([image])[0]))
        )
    entry = Entry(
        name=name,
        kind="backbone" if is_backbone else "model",
        head=architecture.head,
        parameters=complexity.parameters(model),
        multiply_adds=multiply_adds,
        ap={} if is_backbone else published.coco_ap(name),
        top1=published.imagenet_top1(name) if name in BACKBONES else None,
        **observed,
    )
    return entry, predictor


def page(entries: Sequence[Entry], image_hw: tuple[int, ...], machine: str) -> str:
    """Return how the models were measured, and the table, as Markdown."""
    rows = [
        [
            f"`--{e.kind} {e.name}`",
            e.head,
            f"{e.parameters / 1e6:.1f}",
            f"{e.input_hw[0]}×{e.input_hw[1]}",
            "–" if e.proposals is None else str(e.proposals),
            f"{e.multiply_adds / 1e9:.1f}",
            *(f"{e.ap[k]:.1f}" if k in e.ap else "–" for k in ("box_map", "mask_map", "kp_map")),
            "–" if e.top1 is None else f"{e.top1:.1f}",
            f"{1000 * statistics.median(e.seconds):.0f}",
        ]
        for e in entries
    ]
    header = ("model", "head", "M parameters", "pixels", "proposals", "GFLOP", "COCO box AP", "mask AP", "keypoint AP")
    objects = sorted({e.objects for e in entries})
    return (
        f"`{report.command()}` on {machine}. Milliseconds: median of {len(entries[0].seconds)} rounds, all models in "
        f"turn in one process, from the decoded image ({IMAGE.name}, {image_hw[0]}×{image_hw[1]} pixels) to its "
        f"detections, {' to '.join(map(str, dict.fromkeys((objects[0], objects[-1]))))} objects each.\n\n"
        + report.table((*header, "ImageNet top-1", "ms"), rows)
    )


def _detector(name: str, imgsz: int) -> Architecture:
    line = DETECTORS[name]
    return detector_architecture(name, None if line.short == line.long or line.short <= imgsz else imgsz)


@contextmanager
def _settling_norms(model: nn.Module) -> Iterator[None]:
    """Give every batch norm, frozen or not, the statistics of its input in the block."""

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
def _observing(model: Any, observed: dict[str, Any]) -> Iterator[None]:
    """Record the size of the backbone's input and, for two-stage models, the number of proposals."""

    def pixels(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        observed["input_hw"] = tuple(inputs[0].shape[2:])

    def proposals(_: nn.Module, __: Any, output: tuple[list[Tensor], Any]) -> None:
        observed["proposals"] = len(output[0][0])

    with ExitStack() as hooks:
        hooks.callback(model.backbone.register_forward_pre_hook(pixels).remove)
        if hasattr(model, "rpn"):
            hooks.callback(model.rpn.register_forward_hook(proposals).remove)
        yield
