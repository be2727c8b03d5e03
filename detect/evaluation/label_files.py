"""Files about suspected annotation errors: lists, contact sheets, and annotations to review in labelme or CVAT."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from detect.data.exporters.export_rows import printable
from detect.evaluation.label_check import LabelError, LabelErrors
from detect.evaluation.label_errors import KINDS, LIKELY
from detect.evaluation.label_review import write_review
from detect.evaluation.label_sheet import contact_sheet
from detect.io.files import make_folder, write_bytes, write_text

SHEET, LIST = "suspects.png", "suspects.csv"
MAX_DRAWN = 36  # suspects on a sheet
_COLUMNS = ("rank", "kind", "suspicion", "split", "image", "annotation", "annotated", "detected", "score", "iou")
_BOX = ("xmin", "ymin", "xmax", "ymax")
_NO_BOX = [""] * 4
_BOXES = ("annotated", "detected")


def write(found: LabelErrors, folder: Path) -> list[Path]:
    """Write files into ``folder``, which is created, and return them:

    - suspects.csv and suspects.json: all suspects, the strongest suspicion first,
    - suspects.png: the first 36, and one sheet for each kind with suspects that are more likely than not,
    - review/: copies of the images with such suspects, at most 200, with their annotations for labelme and CVAT.

    Raises UsageError if the folder cannot be created, and DiskError.
    """
    make_folder(folder)
    texts = {LIST: _csv(found), "suspects.json": _json(found)}
    for name, text in texts.items():
        write_text(folder / name, text)
    sheets = dict(_sheets(found))
    for name, ranks in sheets.items():
        write_bytes(folder / name, contact_sheet(found, ranks))
    review = write_review(found, folder / "review")
    return [*(folder / name for name in (*texts, *sheets)), *review]


def _sheets(found: LabelErrors) -> Iterator[tuple[str, list[int]]]:
    """Yield the file name and the ranks, from 0, of each sheet."""
    if found.suspects:
        yield SHEET, list(range(len(found.suspects[:MAX_DRAWN])))
    for kind in KINDS:
        ranks = [i for i, one in enumerate(found.suspects) if one.kind == kind and one.suspicion >= LIKELY]
        if ranks:
            yield f"{kind.replace(' ', '_')}.png", ranks[:MAX_DRAWN]


def _csv(found: LabelErrors) -> str:
    content = StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"{which}_{side}" for which in _BOXES for side in _BOX)])
    for rank, one in enumerate(found.suspects, start=1):
        boxes: list[float | str] = [*(one.annotated_box or _NO_BOX), *(one.detected_box or _NO_BOX)]
        writer.writerow([*_values(rank, one), *boxes])
    return content.getvalue()


def _values(rank: int, one: LabelError) -> list[object]:
    values = [rank, *(getattr(one, name) for name in _COLUMNS[1:])]
    return ["" if value is None else printable(value) if isinstance(value, str) else value for value in values]


def _json(found: LabelErrors) -> str:
    return json.dumps(found.to_dict(), indent=1) + "\n"
