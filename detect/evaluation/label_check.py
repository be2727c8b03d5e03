"""Runs a model on all splits of a dataset and lists where it suspects annotation errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detect.data.description import find_spec
from detect.data.image_problems import ImageProblems
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.errors import DataError
from detect.evaluation.columns import EvaluationTable, evaluation_table
from detect.evaluation.label_errors import KINDS, LIKELY, Suspect, find_suspects
from detect.evaluation.predict import EVALUATION_THRESHOLD, check_shared_classes, detect_for_dataset
from detect.evaluation.saved_model import are_training_images, read_saved_model
from detect.inference.load import check_no_load_settings, load_model
from detect.inference.predictor import Predictor
from detect.options import suggest_keywords
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import counted


@dataclass(frozen=True)
class LabelError:
    """One suspected annotation error.

    kind: "missing", "spurious", "wrong class" or "loose box".
    suspicion: 0..1, how reliable the model is in similar cases, see ``label_errors``.
    split, image: name of the split, and of the image in it.
    index: index of the image in its split.
    annotation: number of the annotation in its file; None for a missing one.
    row: index of the annotation among those of its image; None for a missing one.
    annotated, annotated_box: class and box, xyxy in pixels of the image; None for a missing annotation.
    detected, detected_box, score: of the detection; None for a spurious annotation.
    iou: of both boxes; None without one of them.
    """

    kind: str
    suspicion: float
    split: str
    image: str
    index: int
    annotation: int | None
    row: int | None
    annotated: str | None
    annotated_box: list[float] | None
    detected: str | None
    detected_box: list[float] | None
    score: float | None
    iou: float | None

    @property
    def text(self) -> str:
        """The disagreement in words, such as "annotated cat, detected dog 0.97"."""
        found = f"{self.detected} {self.score:.2f}" if self.score is not None else ""
        if self.kind == "missing":
            return f"detected {found}, not annotated"
        if self.kind == "spurious":
            return f"annotated {self.annotated}, not detected"
        if self.kind == "wrong class":
            return f"annotated {self.annotated}, detected {found}"
        return f"annotated and detected {found} differ: IoU {self.iou:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the text as plain values for JSON."""
        return asdict(self) | {"text": self.text}


@dataclass(frozen=True, repr=False)
class LabelErrors:
    """Suspected annotation errors of a dataset.

    dataset, model: names.
    class_names: ClassNames of the dataset.
    tables: {split: its images and annotations}.
    suspects: the strongest suspicion first.
    training_images: {split: number of images on which the model was trained}, as far as its checkpoint tells.
    """

    dataset: str
    model: str
    class_names: ClassNames
    tables: Mapping[str, Table] = field(compare=False)
    suspects: list[LabelError]
    training_images: dict[str, int]

    def counts(self, at_least: float = LIKELY) -> dict[str, int]:
        """Return the number of suspects of each kind with a suspicion of at least ``at_least``, 0..1."""
        kinds = [one.kind for one in self.suspects if one.suspicion >= at_least]
        return {kind: kinds.count(kind) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "training_images": self.training_images,
            "likely": self.counts(),
            "suspects": [{"rank": rank} | one.to_dict() for rank, one in enumerate(self.suspects, start=1)],
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write the lists, the contact sheets and the files for labelme and CVAT; see ``label_files.write``."""
        from detect.evaluation.label_files import write  # it imports Pillow's drawing modules, which are rarely needed

        return write(self, Path(folder))

    def __repr__(self) -> str:
        numbers = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        return f"<LabelErrors of {self.dataset}: {numbers}>"


@suggest_keywords
def find_label_errors(
    model: Predictor | str | Path,
    data: DatasetSpec | str | Path,
    *,
    data_root: str | Path | None = None,
    format: str = "auto",
    device: str | None = None,
    imgsz: int | None = None,
) -> LabelErrors:
    """Find suspected annotation errors in all splits of a dataset: where a model disagrees with the annotations.

    model: a Predictor, or what ``load_model`` takes. It should not have been trained on these images.
    data, data_root, format: as in ``evaluate``.
    device, imgsz: as in ``load_model``, for a model that is loaded here.

    Raises UsageError for a model without any class of the dataset and for these settings with a Predictor, DataError
    for a dataset without annotations and if most images cannot be read, and what ``load_model`` raises.
    """
    spec = data if isinstance(data, DatasetSpec) else find_spec(str(data), data_root, format)
    if isinstance(model, Predictor):
        check_no_load_settings(device, imgsz)
        predictor = model
    else:
        predictor = load_model(model, device=device or "auto", imgsz=imgsz)
    if spec is not data:
        spec.prepare()
    class_names = spec.all_classes()
    tables = {split: spec.read(split, class_names, lenient=True)[1] for split in spec.splits}
    return label_errors_of(predictor, spec.name, class_names, tables)


def label_errors_of(
    predictor: Predictor, dataset: str, class_names: ClassNames, tables: Mapping[str, Table]
) -> LabelErrors:
    """Return what ``find_label_errors`` returns, for splits that are read: {split: its images and annotations}."""
    check_shared_classes(predictor.class_names, class_names, f"dataset '{dataset}'")
    if not any((~table.iscrowd).any() for table in tables.values()):
        raise DataError(f"dataset '{dataset}' has no annotations that a model could be compared with")
    places, detections = detect_in_splits(predictor, dataset, class_names, tables)
    is_known = _training_images(predictor, tables, places)
    suspects: list[LabelError] = []
    for group in (is_known, ~is_known):  # a model has higher scores on images of its training
        rows = np.flatnonzero(group).tolist()
        records = [tables[places[row][0]][places[row][1]] for row in rows]
        table = evaluation_table(records, [detections[row] for row in rows], class_names)
        suspects += [_described(one, table, tables, [places[row] for row in rows]) for one in find_suspects(table)]
    counts = {split: int(sum(is_known[i] for i, p in enumerate(places) if p[0] == split)) for split in tables}
    suspects.sort(key=lambda one: -one.suspicion)
    return LabelErrors(dataset, predictor.name or "a model", class_names, tables, suspects, counts)


Place = tuple[str, int]
"""A split, and the index of an image in it."""


def detect_in_splits(
    predictor: Predictor, dataset: str, class_names: ClassNames, tables: Mapping[str, Table]
) -> tuple[list[Place], list[Detections]]:
    """Return the images of all splits that can be read, and the detections in each; warn of the others."""
    problems, places, detections = ImageProblems(), [], []
    for split, table in tables.items():
        found = detect_for_dataset(
            predictor,
            table,
            class_names,
            threshold=EVALUATION_THRESHOLD,
            title=f"detect in {split}",
            problems=problems,
        )
        places += [(split, i) for i, one in enumerate(found) if one is not None]
        detections += [one for one in found if one is not None]
    for line in problems.lines("not compared"):
        warn(f"dataset '{dataset}': {line}")
    return places, detections


def _training_images(predictor: Predictor, tables: Mapping[str, Table], places: Sequence[Place]) -> np.ndarray:
    """Return on which images the model was trained, bool [N]; warn if there are any."""
    saved = read_saved_model(predictor)
    digests = saved.train_digests if saved else frozenset()
    is_known = are_training_images([tables[split].path(i) for split, i in places], digests)
    if count := int(is_known.sum()):
        warn(
            f"the model was trained on {count} of the {counted(len(places), 'image')}, and may repeat the errors of"
            " their annotations; a model that was trained on other images finds more"
        )
    return is_known


def _described(
    suspect: Suspect, table: EvaluationTable, tables: Mapping[str, Table], places: Sequence[Place]
) -> LabelError:
    g, d = suspect.ground_truth, suspect.detection
    split, index = places[int(table.gt_image[g] if d < 0 else table.dt_image[d])]
    source, row = tables[split], None if g < 0 else int(table.gt_row[g])
    return LabelError(
        kind=suspect.kind,
        suspicion=round(suspect.suspicion, 4),
        split=split,
        image=source.names[index],
        index=index,
        annotation=None if row is None else int(source.numbers[source.objects(index).start + row]),
        row=row,
        annotated=None if g < 0 else table.class_names.name(int(table.gt_label[g])),
        annotated_box=None if g < 0 else table.gt_boxes[g].round(2).tolist(),
        detected=None if d < 0 else table.class_names.name(int(table.dt_label[d])),
        detected_box=None if d < 0 else table.dt_boxes[d].round(2).tolist(),
        score=None if d < 0 else round(float(table.dt_scores[d]), 4),
        iou=None if g < 0 or d < 0 else round(suspect.iou, 4),
    )
