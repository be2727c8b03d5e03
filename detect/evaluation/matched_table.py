"""Table of ground truth and detections with its matches, shared by metrics, intervals, errors and comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.detection_limit import STANDARD_LIMIT
from detect.evaluation.matching import AREA_RANGES, Matching, match
from detect.evaluation.overlaps import Overlaps, find_overlaps


@dataclass(eq=False)
class MatchedTable:
    """An EvaluationTable with its overlaps and matches, each computed on first use.

    table: ground truth and detections.
    limit: number of detections per image and class that are scored.
    """

    table: EvaluationTable
    limit: int = STANDARD_LIMIT
    _overlaps: dict[str, Overlaps] = field(default_factory=dict, init=False, repr=False)
    _matchings: dict[str, Matching] = field(default_factory=dict, init=False, repr=False)

    def overlaps(self, kind: str) -> Overlaps:
        """Return the overlaps of boxes (``kind`` "bbox") or masks ("segm")."""
        if kind not in self._overlaps:
            self._overlaps[kind] = find_overlaps(self.table, kind)
        return self._overlaps[kind]

    def matching(self, kind: str) -> Matching:
        """Return the matching of boxes ("bbox") or masks ("segm") at COCO's IoU thresholds and area ranges.

        The first area range has objects of all sizes.
        """
        if kind not in self._matchings:
            self._matchings[kind] = match(
                self.table, self.overlaps(kind), kind, area_ranges=AREA_RANGES, limit=self.limit
            )
        return self._matchings[kind]
