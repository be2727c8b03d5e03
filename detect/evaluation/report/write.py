"""Writes the report of an evaluation."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from detect.evaluation.diagnosis.checks import find_causes
from detect.evaluation.report.html import render
from detect.evaluation.report.page import Page
from detect.io.files import write_bytes

if TYPE_CHECKING:
    from detect.evaluation.evaluate import Evaluation


def write_report(evaluation: Evaluation, path: str | Path, *, command: str = "", probe: bool = True) -> None:
    """Write a report of an evaluation: one HTML file that needs no other file and no network.

    path: the file, which is replaced if it exists.
    command: what produced the evaluation, to be shown.
    probe: whether to run the model again on at most 16 images, to find out whether it expects red and blue swapped.

    The images are read again, for the parts that show errors. Raises DiskError.
    """
    path = Path(path)
    findings = find_causes(evaluation.analysis, probe=probe)
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    page = render(Page(evaluation.analysis, findings, path.parent, command, date))
    write_bytes(path, page.encode(errors="backslashreplace"))  # file names may not be valid Unicode
