"""The text of ``benchmark.py inference``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import report
from benchmarks.matrix_peak import SIDE
from benchmarks.report import NOT_MEASURED
from detect.text import counted

_AP_COLUMNS = {"ap": "bbox AP", "ap_loss": "largest loss", "segm_ap": "segm AP", "segm_ap_loss": "largest loss"}


def page(facts: dict[str, Any]) -> str:
    """Return how the model was measured, what was left out, and the table, as Markdown.

    facts: what ``benchmarks.inference.run`` writes as JSON.
    """
    rows = facts["rows"]
    sentences = [_images(facts), _load(rows), _peaks(facts["matrix_operations_per_s"], rows), _ap(facts)]
    left_out = "".join(f"\n- {title}: {reason}" for title, reason in facts["left_out"].items())
    return " ".join(sentences) + (f"\n\nLeft out:\n{left_out}" if left_out else "") + "\n\n" + _table(rows)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    columns = {key: title for key, title in _AP_COLUMNS.items() if any(row[key] is not None for row in rows)}
    header = ("", "ms", "images/s", "times as fast", "peak MiB", *(columns.values() or ["AP"]), "of the peak")
    lines = [
        [
            row["name"],
            f"{row['ms']:.0f}",
            f"{row['images_per_s']:.2f}",
            f"{row['speedup']:.2f}",
            NOT_MEASURED if row["peak_mib"] is None else f"{row['peak_mib']:.0f}",
            *([_points(row[key]) for key in columns] or [NOT_MEASURED]),
            _percent(row),
        ]
        for row in rows
    ]
    return report.table(header, lines)


def _points(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{round(value, 2) + 0.0:.2f}"  # + 0.0, since -0.00 would be shown


def _percent(row: dict[str, Any]) -> str:
    fraction = row["peak_fraction"]
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.0f} % ({row['peak_format']})"


def _images(facts: dict[str, Any]) -> str:
    sizes = ", ".join(f"{width}x{height}" for height, width in dict.fromkeys(map(tuple, facts["image_hw"])))
    rounds = counted(len(facts["rows"][0]["seconds"]), "round")
    images = counted(len(facts["image_hw"]), "image")
    return (
        f"Medians of {rounds} in turns, means over {images} ({sizes}), from the decoded image to its detections;"
        f" short side {facts['imgsz']} pixels."
    )


def _load(rows: Sequence[dict[str, Any]]) -> str:
    base, fast = rows[0], next((row for row in rows if row["name"].startswith("fast ")), None)
    words = f"{base['objects']:.1f} objects per image"
    if base["proposals"] is not None:
        words = f"{base['proposals']:.0f} proposals and {words}"
    if fast:
        words += f"; fast: {fast['proposals']:.0f} proposals"
    return f"{words[0].upper()}{words[1:]}. Peak MiB: memory of a process that loads the model and detects."


def _peaks(rates: dict[str, float], rows: Sequence[dict[str, Any]]) -> str:
    peaks = " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    text = (
        f"The fastest product of two {SIDE}x{SIDE} matrices reached {peaks}, two operations for a multiply-add. The"
        " last column is the fraction of that rate, in the format in parentheses, at which the convolutions and matrix"
        " products of the model are computed, with all other steps included in the time."
    )
    if any("int8" in row["name"] for row in rows):
        text += " In int8 it may exceed 100 %."
    return text


def _ap(facts: dict[str, Any]) -> str:
    if facts["random_weights"]:
        return (
            f"The weights of `{facts['model']}` could not be downloaded, so they are random and AP is not measured;"
            " norms and threshold are set such that about 10 objects per image are found."
        )
    if facts["data"] is None:
        return "AP is not measured; --data DATA measures it."
    splits = " and ".join(facts["rows"][0]["split_ap"])
    return (
        f"AP of `{facts['data']}` in percent, pooled over {splits}, and the largest loss of a single split against"
        " torchvision's code, in points."
    )
