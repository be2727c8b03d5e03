"""A split under repair: what it was, what it is now, and what was found wrong with each image and object."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from detect.data.quality.problems import KINDS, Problem
from detect.data.table import Table, renumber_duplicates
from detect.data.unvalidated_split import UnvalidatedSplit


@dataclass
class Case:
    """original: the split as its files say.  table: as it is now; its image_ids and annotation_ids count the rows of
    the original, so that they tell which of them each image and object was.
    image_whys, object_whys: by these numbers, the kinds of problems that were seen to.
    """

    original: UnvalidatedSplit
    table: Table
    image_whys: dict[int, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    object_whys: dict[int, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def of(cls, draft: UnvalidatedSplit) -> Case:
        table = draft.table
        counted = replace(table, image_ids=np.arange(len(table)), annotation_ids=np.arange(len(table.labels)))
        return cls(draft, counted)

    @property
    def read_unvalidated(self) -> UnvalidatedSplit:
        """The split as it is now."""
        return replace(self.original, table=self.table)

    def note(self, problem: Problem) -> None:
        whys = self.image_whys if KINDS[problem.kind].of == "image" else self.object_whys
        for one in problem.ids.tolist():
            whys[one][problem.kind] = None

    def with_own_ids(self) -> Table:
        """The table with the ids of the original; an annotation id that an earlier object has is a new one."""
        before = self.original.table
        ids, doubled = renumber_duplicates(before.annotation_ids)
        kept = self.table.annotation_ids
        for one in kept[np.isin(kept, doubled)].tolist():
            self.object_whys[one]["doubled_id"] = None
        return replace(self.table, image_ids=before.image_ids[self.table.image_ids], annotation_ids=ids[kept])
