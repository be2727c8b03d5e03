"""A diagnosis as text for people and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from detect.data.quality.diagnosis import Diagnosis
from detect.data.quality.problems import BREAKS, KINDS, Problem
from detect.data.quality.summary import table_of_classes

_FIRST = 5  # places that are shown of a kind
_CLASSES = 30  # that are shown


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """The summary, then every problem with its count, its cure and its first places."""
    yield from _summary(diagnosis)
    yield ""
    found = diagnosis.by_kind()
    if not found:
        yield "no problem found"
    for name, problems in found:
        kind = KINDS[name]
        count = sum(len(problem.places) for _, problem in problems)
        done = f"; until then: {kind.done}" if kind.done else ""
        yield f"{kind.severity.words}: {kind.title}: {count} ({name})"
        yield f"    cure: {kind.cure}{done}"
        yield from (f"    {place}" for place in _first(problems))
        if count > _FIRST:
            yield f"    and {count - _FIRST} more"
    yield ""
    yield verdict(diagnosis)


def verdict(diagnosis: Diagnosis) -> str:
    """One line."""
    if not diagnosis.is_invalid:
        return f"{diagnosis.name}: nothing is broken or hurts"
    worst = diagnosis.severity
    return f"{diagnosis.name}: {'something is broken' if worst == BREAKS else 'something hurts'}"


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything, all places included."""
    return {
        "name": diagnosis.name,
        "format": diagnosis.form,
        "found": diagnosis.found or None,
        "classes": [
            {"name": n, "id": i} for n, i in zip(diagnosis.class_names.names, diagnosis.class_names.ids, strict=True)
        ],
        "splits": {split: asdict(summary) for split, summary in diagnosis.summaries.items()},
        "problems": [
            {
                "kind": name,
                "severity": KINDS[name].severity.words,
                "split": split or None,
                "title": KINDS[name].title,
                "cure": KINDS[name].cure,
                "in_training": KINDS[name].done or None,
                "count": len(problem.places),
                "places": [place._asdict() for place in problem.places],
            }
            for name, problems in diagnosis.by_kind()
            for split, problem in problems
        ],
        "worst": diagnosis.severity.words if diagnosis.severity is not None else None,
    }


def _summary(diagnosis: Diagnosis) -> Iterator[str]:
    summaries = diagnosis.summaries
    width = max(len(split) for split in summaries)
    for split, s in summaries.items():
        low, middle, high = s.per_image
        sizes = ", ".join(f"{count} {size}" for size, count in s.sizes.items())
        short, long = ("–".join(map(str, dict.fromkeys(s.sides[side]))) for side in ("short", "long"))
        empty = f"{s.empty} ({s.empty / s.images:.0%})" if s.empty else "none"
        yield f"{split:{width}}  {s.images} images, without objects {empty}; short side {short}, long {long} px"
        yield (
            f"{'':{width}}  {sum(s.objects.values())} objects ({sizes}), {low:.0f} to {high:.0f} an image, "
            f"median {middle:g}; {s.masks} masks, {s.crowds} crowds"
        )
    rows = table_of_classes(summaries)
    longest = max([len(name) for name, _ in rows[:_CLASSES]], default=0)
    yield ""
    yield f"{'objects of':{longest}}  " + "  ".join(f"{split:>{max(6, len(split))}}" for split in summaries)
    for name, counts in rows[:_CLASSES]:
        cells = zip(counts, summaries, strict=True)
        yield f"{name:{longest}}  " + "  ".join(f"{count:>{max(6, len(split))}}" for count, split in cells)
    if len(rows) > _CLASSES:
        yield f"and {len(rows) - _CLASSES} more classes"


def _first(problems: Sequence[tuple[str, Problem]]) -> Iterator[str]:
    """Some places with their splits."""
    shown = 0
    for split, problem in problems:
        for place in problem.places[: _FIRST - shown]:
            yield f"{split + ': ' if split else ''}{place}"
            shown += 1
