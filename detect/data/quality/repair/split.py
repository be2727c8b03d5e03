"""State of one split during a repair."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from detect.data.table import Table, renumber_duplicates
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.problems import KINDS, Problem


@dataclass
class SplitRepair:
    """A split with the changes made so far.

    original: the split as its files state it.
    table: the current images and objects. Its image_ids and annotation_ids are row numbers of the original table.
    image_reasons: kinds of problems handled so far, by row of the image in the original; the inner dict is an ordered
        set.
    object_reasons: the same for objects.
    """

    original: UnvalidatedSplit
    table: Table
    image_reasons: dict[int, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    object_reasons: dict[int, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def start(cls, original: UnvalidatedSplit) -> SplitRepair:
        """Return the repair of ``original`` before its first change: in its table, row numbers replace the ids."""
        table = original.table
        numbered = replace(table, image_ids=np.arange(len(table)), annotation_ids=np.arange(len(table.labels)))
        return cls(original, numbered)

    @property
    def current(self) -> UnvalidatedSplit:
        """The split with the current table."""
        return replace(self.original, table=self.table)

    def note(self, problem: Problem) -> None:
        """Record the kind of ``problem`` for each image or object that has it."""
        reasons = self.image_reasons if KINDS[problem.kind].subject == "image" else self.object_reasons
        for row in problem.ids.tolist():
            reasons[row][problem.kind] = None

    def with_original_ids(self) -> Table:
        """Return the current table with the ids of the original table instead of its row numbers.

        An object with the id of an earlier object of the original table gets a new id, and this problem is recorded.
        """
        original = self.original.table
        ids, duplicates = renumber_duplicates(original.annotation_ids)
        kept = self.table.annotation_ids
        for row in kept[np.isin(kept, duplicates)].tolist():
            self.object_reasons[row]["duplicate_annotation_id"] = None
        return replace(self.table, image_ids=original.image_ids[self.table.image_ids], annotation_ids=ids[kept])
