"""The error budget of a report: what each type of error costs, overall and per class."""

from __future__ import annotations

from typing import Any

from detect.evaluation.error_gains import FALSE_NEGATIVES, FALSE_POSITIVES
from detect.evaluation.report.metrics import MAX_CLASSES
from detect.evaluation.report.page import Page

_MEANING = {
    "classification": "the box fits an object of another class",
    "localization": "the class is right, but the box is inaccurate (IoU 0.1 to 0.5)",
    "both": "wrong class and inaccurate box",
    "duplicate": "the object has been detected already, with a higher score",
    "background": "there is no annotated object",
    "missed": "no detection of the class is near the object, and none of another class fits it",
}
_SPECIAL = {
    FALSE_POSITIVES: "all false positives together, of every type",
    FALSE_NEGATIVES: "all objects that are not detected, for any reason",
}


def content(page: Page) -> dict[str, Any]:
    """Return the rows of the tables and the most costly errors in words."""
    analysis = page.analysis
    gains = analysis.gains
    counts, shown = analysis.errors.counts(), analysis.shown_errors.counts()
    highest = max((gain for kind in gains.values() for gain in kind.overall.values()), default=0.0)
    rows = [
        {
            "name": name.replace("_", " "),
            "meaning": meaning,
            "count": counts.get(name),
            "shown": shown.get(name),
            "gains": [kind.overall[name] for kind in gains.values()],
            "is_special": name in _SPECIAL,
        }
        for name, meaning in (_MEANING | _SPECIAL).items()
    ]
    boxes = gains["bbox"]
    classes = sorted(boxes.classes.items(), key=lambda item: -max(item[1][name] for name in _MEANING))
    return {
        "rows": rows,
        "highest": highest or 1.0,
        "sentences": analysis.evaluation.top_errors(),
        "types": list(_MEANING),
        "classes": [
            {"name": name, "ap": boxes.class_ap[name], "gains": [own[error] for error in _MEANING]}
            for name, own in classes[:MAX_CLASSES]
        ],
        "ap": boxes.ap,
    }
