"""Report of a dataset check: text for people and plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from detect.data.quality.diagnosis import Diagnosis
from detect.data.quality.summary import objects_per_class
from detect.data.validation.problems import ERROR, KINDS, Problem
from detect.text import counted, display_width, pad

_MAX_LOCATIONS = 5  # shown per kind
_MAX_CLASSES = 30  # shown in the table of classes


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the report: statistics, every kind of problem with count, fix and locations, and a verdict."""
    yield from _summary(diagnosis)
    yield ""
    found = diagnosis.by_kind()
    if not found:
        yield "no problems found"
    for name, problems in found:
        kind = KINDS[name]
        count = sum(len(problem.locations) for _, problem in problems)
        yield f"{kind.severity.label}: {kind.title}: {count} ({name})"
        yield f"    fix: {kind.fix}" + (f"; when read for training: {kind.when_read}" if kind.when_read else "")
        yield from (f"    {location}" for location in _first_locations(problems))
        if count > _MAX_LOCATIONS:
            yield f"    and {count - _MAX_LOCATIONS} more"
    yield ""
    yield verdict(diagnosis)


def verdict(diagnosis: Diagnosis) -> str:
    """Return one line that says whether the dataset has errors or warnings."""
    if not diagnosis.is_invalid:
        return f"{diagnosis.name}: no errors or warnings"
    return f"{diagnosis.name}: has {'errors' if diagnosis.severity == ERROR else 'warnings'}"


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return statistics and problems with all their locations as plain values."""
    class_names = diagnosis.class_names
    return {
        "name": diagnosis.name,
        "format": diagnosis.format,
        "layout": diagnosis.layout or None,
        "classes": [{"name": n, "id": i} for n, i in zip(class_names.names, class_names.ids, strict=True)],
        "splits": {split: asdict(summary) for split, summary in diagnosis.summaries.items()},
        "problems": [
            {
                "kind": name,
                "severity": KINDS[name].severity.label,
                "split": split or None,
                "title": KINDS[name].title,
                "fix": KINDS[name].fix,
                "when_read": KINDS[name].when_read or None,
                "count": len(problem.locations),
                "locations": [location._asdict() for location in problem.locations],
            }
            for name, problems in diagnosis.by_kind()
            for split, problem in problems
        ],
        "worst_severity": diagnosis.severity.label if diagnosis.severity is not None else None,
    }


def _summary(diagnosis: Diagnosis) -> Iterator[str]:
    summaries = diagnosis.summaries
    width = max(len(split) for split in summaries)
    for split, s in summaries.items():
        low, median, high = s.per_image
        sizes = ", ".join(f"{count} {size}" for size, count in s.sizes.items())
        short, long = ("–".join(map(str, dict.fromkeys(s.sides[side]))) for side in ("short", "long"))
        empty = f"{s.empty} ({s.empty / s.images:.0%})" if s.empty else "0"
        sides = f"short side {short}, long {long} px"
        objects = f"{counted(sum(s.objects.values()), 'object')} ({sizes})"
        per_image = f"{low:.0f} to {high:.0f} per image, median {median:g}"
        yield f"{split:{width}}  {counted(s.images, 'image')}, {empty} without objects; {sides}"
        yield f"{'':{width}}  {objects}, {per_image}; {counted(s.masks, 'mask')}, {counted(s.crowds, 'crowd')}"
    yield ""
    rows = objects_per_class(summaries)
    title = "objects of"
    longest = max(display_width(name) for name in (title, *(name for name, _ in rows[:_MAX_CLASSES])))
    yield f"{pad(title, longest)}  " + "  ".join(f"{split:>{max(6, len(split))}}" for split in summaries)
    for name, counts in rows[:_MAX_CLASSES]:
        cells = zip(counts, summaries, strict=True)
        yield f"{pad(name, longest)}  " + "  ".join(f"{count:>{max(6, len(split))}}" for count, split in cells)
    if len(rows) > _MAX_CLASSES:
        yield f"and {len(rows) - _MAX_CLASSES} more classes"


def _first_locations(problems: Sequence[tuple[str, Problem]]) -> Iterator[str]:
    """Yield the first locations, each with its split."""
    shown = 0
    for split, problem in problems:
        for location in problem.locations[: _MAX_LOCATIONS - shown]:
            yield f"{split + ': ' if split else ''}{location}"
            shown += 1
