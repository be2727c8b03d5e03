"""Crowds: regions with many objects, which training leaves out and evaluation ignores (COCO's ``iscrowd``).

CVAT writes each brush mask with ``iscrowd`` 1, and Pascal VOC's ``difficult`` is read as a crowd. If most objects
of a dataset are crowds, they are therefore usually single objects that such a program marked.
"""

from __future__ import annotations

from detect.data.table import Table
from detect.errors import DataError
from detect.text import counted

_MANY = 0.5  # fraction of all objects
FIX = "if each is one object, set `iscrowd: ignore` in a dataset description, or use doctor.py fix --iscrowd ignore"


def has_objects(table: Table) -> bool:
    """Return whether a split has an object that is not a crowd."""
    return bool((~table.iscrowd).any())


def has_many_crowds(table: Table) -> bool:
    """Return whether most objects of a split are crowds."""
    return bool(table.iscrowd.sum() > _MANY * len(table.iscrowd))


def describe_crowds(table: Table) -> str:
    """Return a phrase with the number of crowds, their likely cause and the fix."""
    crowds, total = int(table.iscrowd.sum()), counted(len(table.iscrowd), "object")
    are = "is" if crowds == 1 else "are"
    return f"{crowds} of {total} {are} marked as crowds (iscrowd 1, or difficult), as CVAT marks brush masks; {FIX}"


def require_objects(table: Table, where: str) -> None:
    """Raise DataError if a split has no object that can be learned or found; ``where`` names it in the message."""
    if not has_objects(table):
        crowds = f": {describe_crowds(table)}" if len(table.iscrowd) else ""
        raise DataError(f"{where} has no object{' but crowds' if crowds else ''}{crowds}")
