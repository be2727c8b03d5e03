"""The classes of a dataset or a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from detect.errors import UsageError
from detect.text import unknown


@dataclass(frozen=True)
class ClassNames:
    """The classes of a dataset or a model, in label order: label ``i`` (1..K) has the name ``names[i - 1]``.

    names: K distinct class names.
    ids: K distinct category ids of the annotations, which may be sparse or start at 0; 1..K by default.

    Raises ValueError for duplicates and for different numbers of names and ids.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(n) for n in self.names))
        object.__setattr__(self, "ids", tuple(int(i) for i in self.ids) or tuple(range(1, len(self.names) + 1)))
        for what, values in (("class name", self.names), ("category id", self.ids)):
            duplicates = sorted({str(v) for v in values if values.count(v) > 1})
            if duplicates:
                raise ValueError(f"duplicate {what}: {', '.join(duplicates)}")
        if len(self.ids) != len(self.names):
            raise ValueError(f"{len(self.names)} class names but {len(self.ids)} category ids")

    def __len__(self) -> int:
        return len(self.names)

    def name(self, label: int) -> str:
        """Return the class name of a label. Raises IndexError for a label outside 1..K."""
        return self.names[self._index(label)]

    def category_id(self, label: int) -> int:
        """Return the category id of a label. Raises IndexError for a label outside 1..K."""
        return self.ids[self._index(label)]

    def label(self, name_or_id: str | int) -> int:
        """Return the label (1..K) of a class name or category id. Text is tried as a name first.

        Raises UsageError for an unknown class, with the nearest names.
        """
        if isinstance(name_or_id, str) and name_or_id in self.names:
            return self.names.index(name_or_id) + 1
        try:
            return self.ids.index(int(name_or_id)) + 1
        except ValueError:
            raise UsageError(unknown("class", str(name_or_id), self.names)) from None

    def labels(self, names_or_ids: Iterable[str | int]) -> list[int]:
        """Return the label of each class name or category id; see ``label``."""
        return [self.label(n) for n in names_or_ids]

    def _index(self, label: int) -> int:
        if not 1 <= label <= len(self.names):
            raise IndexError(f"label {label} is not in 1..{len(self.names)}")
        return int(label) - 1
