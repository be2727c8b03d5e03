"""Size and speed of models: every line of the tables BACKBONES and DETECTORS, under equal load.

The weights are random, so nothing is downloaded; ``benchmarks.random_weights`` gives all models the same load.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from benchmarks import report
from benchmarks.random_weights import settle
from benchmarks.report import Result
from benchmarks.settings import ModelsSettings
from detect import progress, runtime
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.media.images import read_image
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.summary import MultiplyAddCounter
from detect.models.zoo import BACKBONES, DETECTORS, HEADS
from detect.structures.class_names import ClassNames

COCO_ROWS = 91
IMAGE = Path(__file__).resolve().parents[1] / "input" / "balloons_1.jpg"


@dataclass
class Entry:
    """One measured model.

    name: of the backbone or torchvision model.  kind: ``backbone`` or ``model``.  head: of HEADS.
    parameters: number of parameters. Frozen batch norms do not count, as in torchvision's ``num_params``.
    input_hw: pixels that the backbone processes, padded to whole strides.
    proposals: number of proposals that reach the box head; None for one-stage models.
    objects: number of detections in the image, and so of masks that are predicted and pasted.
    multiply_adds: number of multiply-add operations for one image, see ``MultiplyAddCounter``.
    ap: COCO AP in percent (``box_map``, and ``mask_map`` or ``kp_map``), and top1: ImageNet accuracy of the backbone
        in percent, both as torchvision publishes them with its weights; empty or None for other weights.
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


def run(settings: ModelsSettings) -> Result:
    """Measure the chosen models in turns."""
    device = runtime.pick_device(settings.device)
    image = read_image(IMAGE)
    lines = progress.bar(choose(settings.models, settings.heads), desc="building")
    models = [prepare(name, head, settings.imgsz, image, device) for name, head in lines]
    for _ in progress.bar(range(settings.rounds), desc="rounds"):
        for entry, predictor in models:  # in turns, so that other load affects all equally
            start = time.perf_counter()
            predictor.predict_batch([image])
            entry.seconds.append(time.perf_counter() - start)
    entries = [entry for entry, _ in models]
    facts = {"image_hw": image.shape[:2], "models": [asdict(entry) for entry in entries]}
    return page(entries, image.shape[:2]), facts


def choose(names: Sequence[str] | None, every_head: bool) -> list[tuple[str, str]]:
    """Return (name, head) of each model to measure."""
    lines = []
    for name in dict.fromkeys(names or (*BACKBONES, *DETECTORS)):
        heads = (DETECTORS[name].head,) if name in DETECTORS else HEADS if every_head else HEADS[:1]
        lines += [(name, head) for head in heads]
    return lines


def prepare(name: str, head: str, imgsz: int, image: np.ndarray, device: torch.device) -> tuple[Entry, Predictor]:
    """Return the Entry of a model, still without ``seconds``, and its Predictor, which has processed ``image``.

    The predictor has a threshold at which it detects OBJECTS objects in ``image``, or all if it finds fewer.

    head: detection head of a backbone; ignored for a torchvision model.  imgsz: short side in pixels; torchvision
    models with a fixed or a smaller size keep it.  image: uint8 RGB [H, W, 3].
    """
    torch.manual_seed(0)
    is_backbone = name not in DETECTORS
    architecture = backbone_architecture(name, head, imgsz) if is_backbone else _detector(name, imgsz)
    published = {} if is_backbone else _published(DETECTORS[name].builder, "COCO_V1")
    rows = COCO_ROWS if is_backbone else len(published["categories"])
    model: Any = build(architecture, rows)
    classes = ClassNames(tuple(f"class {row}" for row in range(1, rows)))
    predictor = Predictor(TorchRuntime(model, device=device), classes)
    settle(predictor, [image])
    observed: dict[str, Any] = {"proposals": None}
    heads = getattr(model, "roi_heads", None)

    def observe(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module is model.backbone:
            observed["input_hw"] = tuple(inputs[0].shape[2:])
        elif module is getattr(heads, "box_head", None):
            observed["proposals"] = len(inputs[0])

    with register_module_forward_hook(observe), MultiplyAddCounter() as counter:
        (found,) = predictor.predict_batch([image])
    weights = BACKBONES[name].weights if name in BACKBONES else None
    imagenet = _published(name, "IMAGENET1K_V1") if weights and not weights.url else None
    entry = Entry(
        name=name,
        kind="backbone" if is_backbone else "model",
        head=architecture.head,
        parameters=sum(p.numel() for p in model.parameters()),
        objects=len(found),
        multiply_adds=counter.multiply_adds,
        ap=published["_metrics"]["COCO-val2017"] if published else {},
        top1=imagenet["_metrics"]["ImageNet-1K"]["acc@1"] if imagenet else None,
        **observed,
    )
    return entry, predictor


def page(entries: Sequence[Entry], image_hw: tuple[int, ...]) -> str:
    """Return how the models were measured, and the table, as Markdown."""
    rows = [
        [
            f"`--{e.kind} {e.name}`",
            e.head,
            f"{e.parameters / 1e6:.1f}",
            f"{e.input_hw[0]}×{e.input_hw[1]}",
            "–" if e.proposals is None else str(e.proposals),
            f"{e.multiply_adds / 1e9:.1f}",
            *("–" if p is None else f"{p:.1f}" for p in (*map(e.ap.get, ("box_map", "mask_map", "kp_map")), e.top1)),
            f"{1000 * statistics.median(e.seconds):.0f}",
        ]
        for e in entries
    ]
    header = ("model", "head", "M parameters", "pixels", "proposals", "GFLOP", "COCO box AP", "mask AP", "keypoint AP")
    objects = sorted({e.objects for e in entries})
    return (
        f"Milliseconds: median of {len(entries[0].seconds)} rounds, all models in turn in one process, from the "
        f"decoded image ({IMAGE.name}, {image_hw[0]}×{image_hw[1]} pixels) to its detections, "
        f"{' to '.join(map(str, dict.fromkeys((objects[0], objects[-1]))))} objects each.\n\n"
        + report.table((*header, "ImageNet top-1", "ms"), rows)
    )


def _detector(name: str, imgsz: int) -> Architecture:
    line = DETECTORS[name]
    return detector_architecture(name, None if line.short == line.long or line.short <= imgsz else imgsz)


def _published(builder: str, weights: str) -> dict[str, Any]:
    """Return torchvision's metadata of the ``weights`` of a model, such as categories and metrics."""
    return torchvision.models.get_model_weights(builder)[weights].meta
