"""Faster settings of a model, and what they cost in AP on a split of a dataset."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.errors import UsageError
from detect.evaluation.evaluate import Evaluation, evaluate
from detect.inference.fast_choice import fastest_precision
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.models import checkpoint
from detect.models.checkpoint_file import own_checkpoint
from detect.models.fast_settings import MAX_PROPOSALS_LOSS, Cost, FastSettings, write_fast_settings
from detect.options import suggest_keywords
from detect.progress import report
from detect.runtime import has_bfloat16
from detect.text import counted

PROPOSALS = (700, 500, 400, 300, 250, 200, 150, 100, 70, 50, 30, 20)
"""Numbers of proposals to measure."""
SPLIT = "val"  # the images on which settings may be chosen


@dataclass(frozen=True)
class SpeedTuning:
    """What faster settings of a model cost on the images of a dataset.

    settings: the settings to use, and their costs.
    baseline: evaluation in fp32 with all proposals.
    measured: setting in words, such as "200 proposals" -> its evaluation.
    """

    settings: FastSettings
    baseline: Evaluation
    measured: dict[str, Evaluation]

    def write(self, model: str | Path) -> None:
        """Store the settings in a checkpoint file, for ``load_model(fast=True)`` and ``precision="auto"``.

        The cost of a quantized export that the checkpoint already has is kept.
        Raises UsageError for a model that is not a checkpoint of the user, CheckpointError, and DiskError.
        """
        path = own_checkpoint(model, "faster settings")
        stored = FastSettings.of(checkpoint.load(path))
        precisions = {name: cost for name, cost in stored.precisions.items() if name == "int8"}
        settings = replace(
            self.settings, precisions=precisions | dict(self.settings.precisions), int8_model=stored.int8_model
        )
        write_fast_settings(path, settings)

    def in_words(self) -> str:
        """Return the settings that ``load_model(fast=True)`` uses, in words."""
        device = self.baseline.predictor.device if self.baseline.predictor else torch.device("cpu")
        precision = fastest_precision(self.settings, device)
        if self.settings.proposals is None:
            return f"{precision}, all proposals"
        return f"{precision}, {counted(self.settings.proposals, 'proposal')} per image"

    def table(self) -> str:
        """Return AP (0..1), loss of AP in points (hundredths) and time per image of each setting as text."""
        kinds = [kind for kind in ("bbox", "segm") if kind in self.baseline.scores]
        lines = [["", *(f"{kind} AP" for kind in kinds), "loss in points", "ms per image"]]
        lines += [["fp32, all proposals", *_ap_texts(self.baseline, kinds), "", _ms(self.baseline)]]
        for name, result in self.measured.items():
            lines.append([name, *_ap_texts(result, kinds), f"{ap_loss(self.baseline, result):.2f}", _ms(result)])
        widths = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in lines
        )


def ap_loss(before: Evaluation, after: Evaluation) -> float:
    """Return the loss of AP in points, 0..100: the larger one of boxes and masks, negative for a gain."""
    return max(
        100 * (before.scores[kind]["AP"] - after.scores[kind]["AP"])
        for kind in ("bbox", "segm")
        if kind in before.scores and kind in after.scores
    )


def cost_of(before: Evaluation, after: Evaluation) -> Cost:
    """Return the Cost of the setting with which ``after`` was evaluated."""
    old, new = (one.scores["speed"]["seconds_per_image"] for one in (before, after))
    return Cost(
        ap_loss=round(ap_loss(before, after), 3),
        time=round(new / old, 3),
        device=after.predictor.device.type if after.predictor else "cpu",
        data=f"{before.dataset} {before.split}, {counted(len(before.records), 'image')}",
    )


@suggest_keywords
def tune_speed(
    model: str | Path,
    data: DatasetSpec | str | Path,
    *,
    data_root: str | Path | None = None,
    format: str = "auto",
    device: str = "auto",
    imgsz: int | None = None,
) -> SpeedTuning:
    """Measure what fewer proposals and 16-bit numbers cost in AP, and how much time they save.

    model, device, imgsz: as in ``load_model``.
    data, data_root, format: as in ``evaluate``. The val split is used.

    Numbers of proposals are tried from high to low, until the AP of boxes or masks falls by more than 0.1 points. The
    smallest one before that is chosen. Number formats are those in which the device computes natively.
    ``result.write("best.safetensors")`` stores the result.
    Raises UsageError for an exported model, and what ``load_model`` and ``evaluate`` raise.
    """
    predictor = load_model(model, device=device, imgsz=imgsz)
    if predictor.runtime.name != "torch":
        raise UsageError(f"{model} is exported; give its checkpoint")
    spec = data if isinstance(data, DatasetSpec) else find_spec(str(data), data_root, format)
    spec.check_split(SPLIT)
    spec.prepare()
    _warm_up(predictor, spec)
    baseline = evaluate(predictor, spec, split=SPLIT)
    measured: dict[str, Evaluation] = {}
    settings = FastSettings()
    if "proposals" in predictor.runtime.applied_limits:
        settings = _tune_proposals(predictor, spec, baseline, measured)
    precisions = {}
    for precision in _native_precisions(predictor):
        report(f"measuring {precision}")
        other = load_model(model, device=device, imgsz=imgsz, precision=precision)
        measured[precision] = evaluate(other, spec, split=SPLIT)
        precisions[precision] = cost_of(baseline, measured[precision])
    settings = replace(settings, precisions=precisions)
    chosen = fastest_precision(settings, predictor.device)
    if chosen != "fp32" and settings.proposals is not None:
        other = load_model(model, device=device, imgsz=imgsz, precision=chosen, proposals=settings.proposals)
        measured[f"fast: {chosen}, {settings.proposals} proposals"] = evaluate(other, spec, split=SPLIT)
    return SpeedTuning(settings, baseline, measured)


def _tune_proposals(
    predictor: Predictor, spec: DatasetSpec, baseline: Evaluation, measured: dict[str, Evaluation]
) -> FastSettings:
    """Return the smallest number of proposals whose AP is high enough; add what is measured to ``measured``."""
    settings = FastSettings()
    faster = copy.copy(predictor)
    for proposals in PROPOSALS:
        if predictor.proposals is None or proposals >= predictor.proposals:
            continue
        report(f"measuring {proposals} proposals")
        faster.proposals = proposals
        result = evaluate(faster, spec, split=SPLIT)
        measured[f"{proposals} proposals"] = replace(result, predictor=copy.copy(faster))
        cost = cost_of(baseline, result)
        if cost.ap_loss > MAX_PROPOSALS_LOSS:
            break
        settings = replace(settings, proposals=proposals, proposals_cost=cost)
    return settings


def _native_precisions(predictor: Predictor) -> list[str]:
    names = ["bf16"] if has_bfloat16(predictor.device) else []
    return [*names, "fp16"] if predictor.device.type == "cuda" else names


def _warm_up(predictor: Predictor, spec: DatasetSpec) -> None:
    """Run the model once, so that the time of its first image is not counted."""
    _, records = spec.read(SPLIT)
    if len(records):
        predictor(records[0].path)


def _ap_texts(result: Evaluation, kinds: Iterable[str]) -> list[str]:
    return [f"{result.scores[kind]['AP']:.4f}" for kind in kinds]


def _ms(result: Evaluation) -> str:
    return f"{1000 * result.scores['speed']['seconds_per_image']:.0f}"
