"""Ids and categories of COCO files: text becomes a number, and categories that are no classes are dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from detect.text import first_few

Id = int | str


def as_number(value: Any) -> Any:
    """Return text that is a number, and floats that are whole, as numbers; other values unchanged."""
    if isinstance(value, str):
        text = value.strip()
        if text.lstrip("-").isdecimal() and len(text) < 19:
            return int(text)
        try:
            return float(text) if text[:1] in "-.0123456789" and len(text) < 40 else value
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def integer_ids(ids: Sequence[Any]) -> tuple[list[int], str]:
    """Return whole numbers for ids, and which of them were not whole numbers; "" if none.

    Whole numbers stay as they are. Other ids get the numbers that follow the largest one.
    """
    renumbered = [i for i in ids if not isinstance(i, int)]
    following = max((i for i in ids if isinstance(i, int)), default=0)
    numbers = []
    for i in ids:
        if not isinstance(i, int):
            following += 1
        numbers.append(i if isinstance(i, int) else following)
    return numbers, first_few([repr(i) for i in renumbered], 2) if renumbered else ""


@dataclass
class Category:
    """One category of a file.

    Attributes:
        id: as written.
        name: str.
        supercategory: as written.
        label: position in the file's list, counted from 1.
        num_objects: number of its annotations.
        no_object: bool, whether annotations of the category only say that an image has no objects.
    """

    id: Id
    name: str
    supercategory: Any
    label: int
    num_objects: int = 0
    no_object: bool = False


class Categories:
    """The categories of one file in their order."""

    def __init__(self) -> None:
        self._all: list[Category] = []
        self._by_id: dict[Id, Category] = {}

    def add(self, category_id: Id, name: str, supercategory: Any) -> None:
        """Append a category."""
        category = Category(category_id, name, supercategory, len(self._all) + 1)
        self._all.append(category)
        self._by_id.setdefault(category_id, category)

    def get(self, category_id: Id) -> Category | None:
        """Return the category with an id, None if there is none."""
        return self._by_id.get(category_id)

    @property
    def names(self) -> list[str]:
        """All names in the order of the file."""
        return [category.name for category in self._all]

    def kept(self) -> list[Category]:
        """Return the categories that are classes. Call it after all annotations were counted."""
        dropped = {category.label for category, _ in self.unused()}
        return [category for category in self._all if category.label not in dropped]

    def unused(self) -> Iterator[tuple[Category, str]]:
        """Yield categories without objects that are no classes, each with the reason.

        These are a root category, which Roboflow adds above all others (its name is the supercategory of another), the
        unused one of two categories with the same name, and a category that only marks images without objects.
        """
        for category in self._all:
            if category.num_objects:
                continue
            others = [other for other in self._all if other is not category]
            if category.no_object:
                yield category, "it only marks images without objects"
            elif _is_root(category) and any(other.supercategory == category.name for other in others):
                yield category, "the supercategory of other categories, without objects"
            elif any(other.name == category.name and other.num_objects for other in others):
                yield category, "listed twice, once without objects"


def _is_root(category: Category) -> bool:
    return category.supercategory in (None, "", "none", "None")
