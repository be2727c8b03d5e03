"""Data and number formats that the sections of a report share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding


@dataclass(frozen=True)
class Page:
    """One report.

    analysis: the Analysis of the evaluation.
    findings: of the diagnosis, problems first.
    folder: folder of the report, from which it links to images.
    command: what produced the evaluation, as typed; may be empty.
    date: date and time of the report.
    """

    analysis: Analysis
    findings: list[Finding]
    folder: Path
    command: str
    date: str

    @property
    def metric_kinds(self) -> dict[str, str]:
        """What is scored -> its name: ``{"bbox": "boxes", "segm": "masks"}``."""
        names = {"bbox": "boxes", "segm": "masks"}
        return {kind: names[kind] for kind in self.analysis.table.kinds}


def value(number: float | None, digits: int = 3) -> str:
    """Return a number for the page, and a dash for None and NaN."""
    return "–" if number is None or np.isnan(number) else f"{number:.{digits}f}"


def percentage(fraction: float | None) -> str:
    """Return a fraction in percent for the page, and a dash for None and NaN."""
    return "–" if fraction is None or np.isnan(fraction) else f"{100 * fraction:.0f}\N{NO-BREAK SPACE}%"


def percent_span(ends: tuple[float, float] | None) -> str:
    """Return an interval of a fraction in percent for the page; nothing for None."""
    return "" if ends is None else f"{100 * ends[0]:.0f} – {100 * ends[1]:.0f}\N{NO-BREAK SPACE}%"


def unbroken(text: str) -> str:
    """Return a text in which no line ends between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def span(ends: tuple[float, float] | None) -> str:
    """Return an interval for the page; nothing for None."""
    return "" if ends is None else f"{ends[0]:.2f} – {ends[1]:.2f}"
