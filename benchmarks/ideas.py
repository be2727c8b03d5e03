"""Ideas from the literature that could raise AP on small datasets, each beside the default recipe with the same seed.

A finished run leaves a small record and is not trained again.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision.models.detection import roi_heads
from torchvision.models.detection import rpn as torchvision_rpn
from torchvision.ops import complete_box_iou_loss, generalized_box_iou_loss, sigmoid_focal_loss

from benchmarks import report
from benchmarks.report import Result
from benchmarks.results import SMALL, read_json, train_run
from benchmarks.settings import IdeasSettings
from detect import runtime
from detect.data.augmentation.pipeline import TrainTransform
from detect.errors import UsageError
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.io.files import make_folder, write_text
from detect.models import builder
from detect.models.cpu import rpn as cpu_rpn
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.models.prediction.selection import best_boxes
from detect.models.torchvision_internals import BoxCoder, RoIHeads
from detect.text import unknown
from detect.training import setup
from detect.training.logging.jsonl import MetricsLog
from detect.training.run import LOG

BASE = "default"
LARGE = 416  # pixels
EPOCHS = {"balloon": 21, "bccd": 7}  # a third of those that train.py fits to each dataset
_BOX_CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))  # that of the box head

Patch = Callable[[int], AbstractContextManager]  # takes the number of epochs


@dataclass(frozen=True)
class Idea:
    """A change of the default recipe.

    title: what is changed, for the table.
    settings: settings of ``detect.train`` that differ.
    patch: changes the code while a model is built and trained.
    """

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    patch: Patch = nullcontext


def _built(change: Callable[[nn.Module], None] = lambda model: None, **values: Any) -> Patch:
    """Return a patch that builds models with other values of the architecture and then calls ``change`` on them."""
    build = builder._build_on_backbone

    def changed(architecture: Any, num_rows: int) -> nn.Module:
        model = build(replace(architecture, **values), num_rows)
        change(model)
        return model

    return lambda epochs: patch.object(builder, "_build_on_backbone", changed)


def _training_proposals(count: int) -> Patch:
    def change(model: Any) -> None:
        model.rpn._pre_nms_top_n["training"] = max(count, 1000)
        model.rpn._post_nms_top_n["training"] = count

    return _built(change)


class SharedBoxLayer(nn.Linear):
    """A box regression layer with the same output for all classes. Its weights have the shape of torchvision's layer.

    The rows are summed and divided by the square root of their number: so the initial values have the same spread, and
    a gradient step has the same size, as in a layer with one set of rows.
    """

    def forward(self, features: Tensor) -> Tensor:
        classes = self.out_features // 4
        weight, bias = (one.unflatten(0, (classes, 4)).sum(0) / classes**0.5 for one in (self.weight, self.bias))
        return F.linear(features, weight, bias).repeat(1, classes)


def _share_box_layer(model: Any) -> None:
    predictor = model.roi_heads.box_predictor
    old = predictor.bbox_pred
    predictor.bbox_pred = SharedBoxLayer(old.in_features, old.out_features)


def _head_loss(box_loss: Callable[[Tensor, Tensor], Tensor] | None = None, hardest: float = 1.0) -> Patch:
    """Return a patch of the losses of the box head.

    box_loss: sums the loss of boxes float32 [n, 4], xyxy in pixels, beside others; None for torchvision's smooth L1
        loss of offsets.
    hardest: fraction of the sampled RoIs, those with the highest classification loss, that the losses count.
    """
    rois: list[Tensor] = []  # sampled RoIs of each image of the batch
    select = RoIHeads.select_training_samples

    def remembering(self: RoIHeads, proposals: list[Tensor], targets: Any) -> Any:
        chosen = select(self, proposals, targets)
        rois[:] = chosen[0]
        return chosen

    def losses(logits: Tensor, offsets: Tensor, labels: list[Tensor], targets: list[Tensor]) -> tuple[Tensor, Tensor]:
        # logits [n, C], offsets [n, 4 C]; labels int64 and targets [., 4] of each image, n in all
        label, target = torch.cat(labels), torch.cat(targets)
        each = F.cross_entropy(logits, label, reduction="none")
        count = max(1, round(hardest * len(each)))
        kept = each.topk(count).indices
        positive = kept[label[kept] > 0]
        found = offsets.unflatten(1, (-1, 4))[positive, label[positive]]
        if box_loss is None:
            boxes = F.smooth_l1_loss(found, target[positive], beta=1 / 9, reduction="sum")
        else:
            around = torch.cat(rois)[positive].float()
            boxes = box_loss(*(_BOX_CODER.decode_single(one.float(), around) for one in (found, target[positive])))
        return each[kept].mean(), boxes / count

    return lambda epochs: _patched(
        patch.object(RoIHeads, "select_training_samples", remembering),
        patch.object(roi_heads, "fastrcnn_loss", losses),
    )


@contextmanager
def _patched(*patches: AbstractContextManager) -> Iterator[None]:
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(one)
        yield


def _focal_objectness(epochs: int) -> AbstractContextManager:
    """The focal loss of Lin et al., https://arxiv.org/abs/1708.02002, of the anchors that the RPN samples."""

    class Functions:
        """``torch.nn.functional`` with a focal loss in place of binary cross-entropy."""

        def __getattr__(self, name: str) -> Any:
            return getattr(F, name)

        @staticmethod
        def binary_cross_entropy_with_logits(logits: Tensor, targets: Tensor) -> Tensor:
            return sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2, reduction="sum") / targets.sum().clamp(1)

    return _patched(*(patch.object(module, "F", Functions()) for module in (cpu_rpn, torchvision_rpn)))


def _small_at_first(epochs: int) -> AbstractContextManager:
    """Train on images of SMALL pixels in the first two thirds of the epochs, and as large as set in the last third."""
    draw = TrainTransform._first_draws

    def changed(self: TrainTransform, rng: Any, epoch: int, **values: Any) -> tuple[bool, float]:
        if self._active:  # not on validation images
            self.imgsz = SMALL if epoch < epochs * 2 // 3 else LARGE  # read after this call only
        return draw(self, rng, epoch, **values)

    return patch.object(TrainTransform, "_first_draws", changed)


def _detect_flipped_too(epochs: int) -> AbstractContextManager:
    """Detect in each image and in its mirror image at validation; NMS merges the detections."""
    detect_once = TorchRuntime.detect

    def changed(self: TorchRuntime, images: Tensor, limits: Limits) -> RawDetections:
        found, mirrored = (detect_once(self, some, limits) for some in (images, images.flip(-1)))
        return _merge(found, mirrored, images, limits)

    return patch.object(TorchRuntime, "detect", changed)


def _merge(found: RawDetections, mirrored: RawDetections, images: Tensor, limits: Limits) -> RawDetections:
    """Return the detections in images [N, 3, H, W] and in their mirror images without duplicates."""
    width = images.shape[-1]
    left, top, right, bottom = mirrored.boxes.unbind(1)
    parts = {**vars(mirrored), "boxes": torch.stack([width - right, top, width - left, bottom], 1)}
    if mirrored.masks is not None:
        parts["masks"] = mirrored.masks.flip(-1)
    both = {key: torch.cat([one, parts[key]]) for key, one in vars(found).items() if one is not None}
    merged = RawDetections(**both)
    assert limits.nms_iou is not None
    groups = int(merged.rows.max()) + 1 if len(merged.rows) else 1
    return merged.select(
        best_boxes(
            merged.boxes,
            merged.scores,
            merged.images,
            len(images),
            merged.rows,
            groups,
            limits.nms_iou,
            limits.max_detections,
        )
    )


def _mean_of_late_weights(epochs: int) -> AbstractContextManager:
    """Average the weights of all steps t with factors that grow as t³, so that about the last third of them counts.

    Stochastic weight averaging with the learning rates of the default recipe, in the form of Shamir & Zhang,
    https://arxiv.org/abs/1212.1824 (polynomial decay), which needs no first step of the average.
    """

    def update(averages: Sequence[Tensor], current: Sequence[Tensor], num_updates: Tensor | int) -> None:
        for average, value in zip(averages, current, strict=True):
            average.lerp_(value, 4 / (float(num_updates) + 4)) if average.is_floating_point() else average.copy_(value)

    def average(model: nn.Module, decay: float) -> AveragedModel:
        return AveragedModel(model, multi_avg_fn=update, use_buffers=True)

    return patch.object(setup, "build_ema", average)


# The factors of the IoU losses are those of MMDetection's configurations faster-rcnn_r50_fpn_{giou,ciou}_1x_coco.
IDEAS = {
    BASE: Idea("default recipe"),
    "proposals_500": Idea("500 proposals per image in training, not 1000", patch=_training_proposals(500)),
    "proposals_2000": Idea("2000 proposals per image in training", patch=_training_proposals(2000)),
    "rois_128": Idea("128 sampled RoIs per image, not 256", patch=_built(rois_per_image=128)),
    "rois_512": Idea("512 sampled RoIs per image", patch=_built(rois_per_image=512)),
    "agnostic": Idea("class-agnostic box regression", patch=_built(_share_box_layer)),
    "giou": Idea("GIoU box loss", patch=_head_loss(lambda a, b: 10 * generalized_box_iou_loss(a, b, reduction="sum"))),
    "ciou": Idea("CIoU box loss", patch=_head_loss(lambda a, b: 12 * complete_box_iou_loss(a, b, reduction="sum"))),
    "ohem": Idea("OHEM: losses of the half of the RoIs with the highest class loss", patch=_head_loss(hardest=0.5)),
    "focal_rpn": Idea("focal loss of the objectness of the sampled anchors", patch=_focal_objectness),
    "ema_95": Idea("EMA of the weights, decay 0.95", {"ema": 0.95}),
    # So few steps do not reach this decay, see ``build_ema``: it rises to 0.98 on balloon and 0.99 on bccd.
    "ema_998": Idea("EMA of the weights, `--ema 0.998`", {"ema": 0.998}),
    # A value of ``ema`` above 0 turns the average on; the patch replaces its decay.
    "swa": Idea("SWA: mean of the weights of late steps", {"ema": 0.5}, _mean_of_late_weights),
    "fpn_256": Idea("256 FPN channels, not 128", {"fpn_channels": 256}),
    "flip": Idea("detection in mirror images too", patch=_detect_flipped_too),
    "large": Idea(f"{LARGE} pixels", {"imgsz": LARGE}),
    "late_large": Idea(
        f"{LARGE} pixels in the last third, {SMALL} before", {"imgsz": LARGE, "workers": 0}, _small_at_first
    ),
}


def run(settings: IdeasSettings) -> Result:
    """Train and score the chosen ideas that have no record yet, and return the table of all records."""
    for name in settings.ideas or ():
        if name not in IDEAS:
            raise UsageError(unknown("idea", name, [*IDEAS]))
    make_folder(settings.records)
    setup = {
        "machine": report.machine(runtime.pick_device(settings.device)),
        "pretrained": Path(settings.pretrained).name,
    }
    ideas = [*IDEAS] if settings.ideas is None else [BASE, *settings.ideas]
    for seed, idea, data in product(range(settings.seeds), ideas, EPOCHS):
        name = f"{data}_{idea}_{seed}"
        path = settings.records / f"{name}.json"
        if not path.exists():
            check_setup(settings.records, setup)
            record = {**train(name, data, idea, seed, settings), **setup}
            write_text(path, json.dumps(record, indent=1) + "\n")
    records = read_records(settings.records)
    machines = sorted({record["machine"] for record in records.values()})
    text = (
        f"Trained on {' and '.join(machines)}. A third of the default steps, `--imgsz {SMALL}`; boxes on val after the"
        " last epoch, in percent. The first row has AP and AP50 of the default recipe, the others the difference to it"
        " with the same seed in points (mean ± standard error)."
    )
    return f"{text}\n\n{table(records)}", {"runs": records}


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records in ``folder`` by name: metrics, machine and initial weights of each run."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}


def check_setup(folder: Path, setup: Mapping[str, str]) -> None:
    """Raise UsageError for a record of another machine or of other initial weights, which cannot be compared."""
    for name, record in read_records(folder).items():
        for key, value in setup.items():
            if record[key] != value:
                raise UsageError(
                    f"{folder / name}.json was measured with {record[key]}, not {value}; give another folder as"
                    " `records`"
                )


def train(name: str, data: str, idea: str, seed: int, settings: IdeasSettings) -> dict[str, float]:
    """Train a third of the default steps on small images; return the metrics of boxes on val after the last epoch."""
    epochs, about = EPOCHS[data], IDEAS[idea]
    shutil.rmtree(settings.output_dir / name, ignore_errors=True)  # left by a run that was interrupted
    with about.patch(epochs):
        train_run(name, data, seed, settings, epochs=epochs, report=False, **{"imgsz": SMALL, **about.settings})
    return MetricsLog(settings.output_dir / name / LOG).rows()[-1]["val"]["bbox"]


def table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return bbox AP and AP50 of the default recipe in percent, and for each idea the mean differences in points."""
    header = ["", "seeds", *(f"{data} {key}" for data in EPOCHS for key in ("AP", "AP50"))]
    seeds_of_all = sorted({int(name.rpartition("_")[2]) for name in records})
    rows = []
    for idea, about in IDEAS.items():
        seeds = [s for s in seeds_of_all if all(f"{d}_{i}_{s}" in records for d in EPOCHS for i in (idea, BASE))]
        if not seeds:
            continue
        cells = []
        for data in EPOCHS:
            for key in ("AP", "AP50"):
                values = [100 * records[f"{data}_{idea}_{seed}"][key] for seed in seeds]
                base = [100 * records[f"{data}_{BASE}_{seed}"][key] for seed in seeds]
                differences = [a - b for a, b in zip(values, base, strict=True)]
                cells.append(_cell(values) if idea == BASE else _cell(differences, "+"))
        rows.append([about.title, str(len(seeds)), *cells])
    return report.table(header, rows)


def _cell(values: list[float], sign: str = "") -> str:
    """Return the mean, and the standard error of several values. ``sign="+"`` marks positive numbers."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:{sign}.1f}"
    return f"{mean:{sign}.1f} ± {statistics.stdev(values) / len(values) ** 0.5:.1f}"
