"""The figures of decoding as Markdown, and what they mean in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import cv2
import numpy as np

from benchmarks import markdown
from benchmarks.decoding import WAYS, Items, Photograph
from benchmarks.sharpness import DRAWS, Sharpness

TITLES = {"whole": "decoded whole", "reduced": "decoded as needed"}

Measured = Mapping[int, Items]
"""By --imgsz."""


def versions() -> str:
    """Those that matter here."""
    return f"Pillow {version('pillow')}, OpenCV {cv2.__version__}, albumentations {version('albumentations')}"


def page(
    items: Measured, of_photograph: Measured, photograph: Photograph, sharpness: Sequence[Sharpness], model: str,
    command: str, where: str,
) -> str:  # fmt: skip
    """Markdown: how it was measured, the tables, and what they mean. model: ``--model``.  where: the machine."""
    rounds, images = next(iter(items.values())).reduced.shape
    times = markdown.table(
        ("training items", "how many", *(f"{TITLES[way]}: {what} ms" for way in WAYS for what in ("mean", "median")),
         "share of the mean"),
        [*_rows(items, "all"), *_rows(of_photograph, "the photograph")],
    )  # fmt: skip
    scored = "\n\n".join(f"{_scored(one, model)}\n\n{_scores(one)}\n\n{_sharpness_in_words(one)}" for one in sharpness)
    return (
        f"Written by `{command}` on {where}.\n\n"
        f"Milliseconds of the processor for an item of training, in one thread: {images} images in "
        f"{_counted(rounds, 'round')}, each with sizes of its own. The photograph is {_made(photograph)}.\n\n"
        f"{times}\n\n{_time_in_words(items, of_photograph)}\n\n"
        f"{scored}\n\nIn brackets, as in the last lines of the tables, is where 95 of 100 differences lie in {DRAWS} "
        "draws of as many of these images, some more than once."
    )


def _rows(measured: Measured, title: str) -> list[list[str]]:
    """For each --imgsz all items and, where these are not all, those that are reduced."""
    rows = []
    for imgsz, items in measured.items():
        count = int(items.reduced.sum())
        rows.append([f"{title}, --imgsz {imgsz}", str(items.reduced.size), *_row(items, np.ones_like(items.reduced))])
        if count < items.reduced.size:
            rows.append([f"of these, reduced, --imgsz {imgsz}", str(count), *_row(items, items.reduced)])
    return rows


def _row(items: Items, chosen: np.ndarray) -> list[str]:
    if not chosen.any():
        return ["–"] * (2 * len(WAYS) + 1)
    chosen_ms = [items.cpu_ms[way][chosen] for way in WAYS]
    cells = [f"{figure(ms):.1f}" for ms in chosen_ms for figure in (np.mean, np.median)]
    return [*cells, f"{_share(items, chosen):.2f}"]


def _share(items: Items, chosen: np.ndarray) -> float:
    """Mean time of the second way over that of the first."""
    whole, reduced = (items.cpu_ms[way][chosen].mean() for way in WAYS)
    return float(reduced / whole)


def _time_in_words(items: Measured, of_photograph: Measured) -> str:
    said = []
    for imgsz, some in items.items():
        every, count = np.ones_like(some.reduced), int(some.reduced.sum())
        of_reduced = (
            f", and {_change(_share(some, some.reduced))} where they are reduced"
            if 0 < count < some.reduced.size
            else ""
        )
        said.append(
            f"At `--imgsz {imgsz}` {count / some.reduced.size:.0%} of the items are reduced; over all, an item takes "
            f"{_change(_share(some, every))}{of_reduced}."
        )
    changes = (
        f"{_change(_share(some, np.ones_like(some.reduced)))} at `--imgsz {imgsz}`"
        for imgsz, some in of_photograph.items()
    )
    return " ".join([*said, f"The photograph takes {' and '.join(changes)}."])


def _change(share: float) -> str:
    """``14% less time``."""
    percent = round(100 * (share - 1))
    return f"{abs(percent)}% {'more' if percent > 0 else 'less'} time" if percent else "as much time"


def _made(photograph: Photograph) -> str:
    (height, width), (from_height, from_width) = photograph.record.image_hw, photograph.made_from_hw
    return (
        f"the largest training image ({from_height}×{from_width} pixels) resized to {height}×{width}, "
        f"{height * width / 1e6:.0f} megapixels as a telephone takes them, with noise so that its JPEG has "
        f"{photograph.file_bytes / 1e6:.1f} MB"
    )


def _scored(sharpness: Sharpness, model: str) -> str:
    return (
        f"`--model {model}` on {' and '.join(sharpness.splits)}: {_counted(sharpness.images, 'picture')} with "
        f"{_counted(sharpness.objects, 'object')}, resized both ways to a short side of {sharpness.imgsz} pixels, "
        f"which reduces {sharpness.reduced} of them."
    )


def _scores(sharpness: Sharpness) -> str:
    """Figures of 0..100, the difference, and how far chance moves that."""
    columns = [*sharpness.differences]
    rows = [
        [TITLES[way], *(f"{100 * scores[key]:.1f}" for key in columns)] for way, scores in sharpness.scores.items()
    ]
    rows.append(["difference", *(_signed(sharpness.differences[key]) for key in columns)])
    spans = (f"{_signed(sharpness.low[key])} to {_signed(sharpness.high[key])}" for key in columns)
    rows.append(["95 of 100 differences", *spans])
    return markdown.table(("images", *columns), rows)


def _sharpness_in_words(sharpness: Sharpness) -> str:
    """What the differences of AP say, each beside what another choice of images would make of it."""
    if not sharpness.reduced:
        return "None of these images is large enough to be reduced, so nothing is said of what are."
    said = []
    for key in (key for key in sharpness.differences if key.endswith(" AP")):
        low, high = sharpness.low[key], sharpness.high[key]
        unsure = f"which may be chance: a loss in {sharpness.losing[key]:.0%} of the draws"
        verdict = "a loss" if high < 0 else "a gain" if low > 0 else unsure
        span = f"{_signed(low)} to {_signed(high)}"
        said.append(f"{key} changes by {_signed(sharpness.differences[key])} ({span}), {verdict}")
    return f"{'; '.join(said)}."


def _signed(value: float) -> str:
    """Of 100; zero has no sign."""
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
