"""One result of the diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """Importance of a finding, the most important first.

    PROBLEM: a fault that lowers the metrics or makes them meaningless.
    WARNING: a limit of the result, or a possible fault.
    FINE: no fault was found; the text says what was measured.
    UNJUDGED: the check has no meaning until a problem is fixed.
    """

    PROBLEM = 0
    WARNING = 1
    FINE = 2
    UNJUDGED = 3


@dataclass(frozen=True)
class Finding:
    """What a check measured, in words with its figures.

    severity: Severity.  title: a few words.  text: what was measured.  advice: what to do; empty if it is fine.
    files: names of all files of which the text gives a few.
    """

    severity: Severity
    title: str
    text: str
    advice: str = ""
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.text[:1].upper() + self.text[1:])  # "over 99 % of ..."


def fine(title: str, text: str) -> Finding:
    """Return the finding of a check that found no fault."""
    return Finding(Severity.FINE, title, text)


def percent(fraction: float) -> str:
    """Return a fraction for a sentence, such as ``93 %``; never 0 % or 100 % unless it is exactly that."""
    rounded = round(100 * fraction)
    if rounded == 0 < fraction:
        return "under 1 %"
    if rounded == 100 and fraction < 1:
        return "over 99 %"
    return f"{rounded} %"
