"""How many planted annotation errors are among the first suspects of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.planting import Planted, plant
from benchmarks.report import Result
from benchmarks.settings import LabelsSettings
from detect import progress
from detect.data.description import find_spec
from detect.evaluation.columns import EvaluationTable, evaluation_table
from detect.evaluation.label_check import detect_in_splits
from detect.evaluation.label_errors import KINDS, LIKELY, SAME_IOU, WRONG_CLASS, Suspect, find_suspects
from detect.evaluation.overlaps import box_ious
from detect.inference.load import load_model
from detect.text import counted


def run(settings: LabelsSettings) -> Result:
    """Plant errors in a dataset several times, and count those that are found, without running the model again."""
    spec = find_spec(settings.data, settings.data_root, settings.format, save_splits=False)
    model = load_model(settings.model, device=settings.device, imgsz=settings.imgsz)
    spec.prepare()
    for split in settings.splits:
        spec.check_split(split)
    class_names = spec.all_classes()
    tables = {split: spec.read(split, class_names)[1] for split in settings.splits}
    places, detections = detect_in_splits(model, spec.name, class_names, tables)
    table = evaluation_table([tables[split][i] for split, i in places], detections, class_names)
    facts = measure(table, settings.fraction, settings.rounds)
    objects = counted(int((~table.gt_crowd).sum()), "annotation")
    text = (
        f"{spec.name} {' and '.join(settings.splits)}: {counted(table.num_images, 'image')}, {objects}, of which"
        f" {settings.fraction:.0%} get an error; means of {counted(settings.rounds, 'round')}.\n\n{page(facts)}"
    )
    return text, facts


def measure(table: EvaluationTable, fraction: float, rounds: int) -> dict[str, Any]:
    """Return for each kind what ``found_fractions`` returns, planted alone and with the others, and the number of
    likely suspects of the unchanged annotations."""
    kinds = [kind for kind in KINDS if kind != WRONG_CLASS or table.num_classes > 1]
    alone: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    together: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for seed in progress.bar(range(rounds), desc="plant errors"):
        for kind in kinds:
            changed, planted = plant(table, [kind], fraction, np.random.default_rng(seed))
            alone[kind].append(found_fractions(changed, planted, find_suspects(changed), kind))
        changed, planted = plant(table, kinds, fraction, np.random.default_rng(seed))
        suspects = find_suspects(changed)
        for kind in kinds:
            together[kind].append(found_fractions(changed, planted, suspects, kind))
    unchanged = [one.kind for one in find_suspects(table) if one.suspicion >= LIKELY]
    return {"alone": alone, "together": together, "unchanged": {kind: unchanged.count(kind) for kind in kinds}}


def found_fractions(
    table: EvaluationTable, planted: Sequence[Planted], suspects: Sequence[Suspect], kind: str
) -> dict[str, float]:
    """Return the number of planted errors of one kind, N, and which fraction of them is among the first N suspects of
    this kind ("first"), the first 2 N ("first_two"), and the first P of any kind ("all"), where P errors are planted
    in all.

    Among the first N, the fraction found is both precision and recall.
    """
    own = [one for one in planted if one.kind == kind]
    of_kind = [one for one in suspects if one.kind == kind]
    lists = {"first": of_kind[: len(own)], "first_two": of_kind[: 2 * len(own)], "all": suspects[: len(planted)]}
    count = max(len(own), 1)
    found = {name: sum(_is_found(table, one, some) for one in own) / count for name, some in lists.items()}
    return {"planted": len(own), **found}


def page(facts: dict[str, Any]) -> str:
    """Return the Markdown table of the means."""
    rows = []
    for kind in facts["alone"]:
        alone, together = ({k: float(np.mean([r[k] for r in facts[w][kind]])) for k in _KEYS} for w in _WAYS)
        fractions = (*(alone[key] for key in _KEYS[1:]), together["first"], together["all"])
        rows.append([kind, f"{alone['planted']:.0f}", *(f"{f:.0%}" for f in fractions), str(facts["unchanged"][kind])])
    return report.table(_HEADER, rows)


_KEYS, _WAYS = ("planted", "first", "first_two", "all"), ("alone", "together")
_HEADER = (
    "kind", "N planted", "among the first N of the kind", "first 2 N", "first N of all kinds",
    "all kinds planted: first N of the kind", "first of all kinds", "likely suspects without planted errors",
)  # fmt: skip


def _is_found(table: EvaluationTable, one: Planted, suspects: Sequence[Suspect]) -> bool:
    return any(suspect.kind == one.kind and _concerns(table, suspect, one) for suspect in suspects)


def _concerns(table: EvaluationTable, suspect: Suspect, one: Planted) -> bool:
    row = suspect.detection
    if one.row >= 0:
        return suspect.ground_truth == one.row and (one.kind != WRONG_CLASS or table.dt_label[row] == one.label)
    is_there = table.dt_image[row] == one.image and table.dt_label[row] == one.label
    return bool(is_there and box_ious(table.dt_boxes[row][None], one.box[None])[0] >= SAME_IOU)
