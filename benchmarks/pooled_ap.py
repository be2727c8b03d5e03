"""AP of a detector on the val and test splits of a dataset, each and pooled."""

from __future__ import annotations

from dataclasses import dataclass

from detect.data.spec import DatasetSpec
from detect.errors import UsageError
from detect.evaluation import coco_metrics
from detect.evaluation.predict import BatchDetector, detect_in_readable
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

Scores = dict[str, float]
"""Kind, "bbox" or "segm" -> AP in percent."""


@dataclass(frozen=True)
class PooledAP:
    """AP of one detector.

    pooled: over the images of all splits together.  splits: name -> AP on that split alone.
    """

    pooled: Scores
    splits: dict[str, Scores]

    def largest_loss(self, base: PooledAP, kind: str) -> float | None:
        """Return the largest loss of a single split against ``base`` in points; negative if AP rose on every split.

        None if no split has ground truth of this kind.
        """
        both = [(base.splits[name].get(kind), scores.get(kind)) for name, scores in self.splits.items()]
        return max((old - new for old, new in both if old is not None and new is not None), default=None)


def scored_splits(spec: DatasetSpec) -> list[str]:
    """Return the splits on which AP is measured. Raises UsageError for a dataset that has neither val nor test."""
    names: list[str] = [name for name in ("val", "test") if name in spec.splits]
    if not names:
        raise UsageError(f"dataset '{spec.name}' has neither a val nor a test split, on which AP is measured")
    return names


def measure_pooled_ap(detector: BatchDetector, spec: DatasetSpec, title: str) -> PooledAP:
    """Run a detector on the scored splits of a dataset that is prepared. title: of the progress bar."""
    every_record: list[ImageRecord] = []
    every_detection: list[Detections] = []
    splits: dict[str, Scores] = {}
    for split in scored_splits(spec):
        class_names, table = spec.read(split)
        name = f"dataset '{spec.name}'"
        records, found = detect_in_readable(detector, table, class_names, name, title=f"{title}, {split}")
        splits[split] = _ap(coco_metrics.score(records, found, class_names))
        every_record += records
        every_detection += found
    return PooledAP(_ap(coco_metrics.score(every_record, every_detection, class_names)), splits)


def _ap(scores: dict[str, dict[str, float | None]]) -> Scores:
    values = {kind: scores[kind]["AP"] for kind in ("bbox", "segm") if kind in scores}
    return {kind: 100 * value for kind, value in values.items() if value is not None}
