"""The training runs that docs/results.md tells of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detect.errors import UsageError
from detect.text import unknown

BALLOON, BCCD = "balloon", "bccd"
MODELS = ("mobilenet_v2", "resnet50", "resnet101", "vovnet19_dw")  # the VoVNet-19 that has published weights
SEEDS = (0, 1, 2)
SMALLER = 320  # pixels
RECIPE, SHORT, PLAIN, BRIEF = "recipe", "short", "plain", "brief"
# A plain loop, as train.py was before it fitted anything to the data: every weight learns, and hue, saturation, light
# and sharpness of the images change with their sizes.
PLAIN_FLAGS = (
    *("--jitter", "0.6", "1.25", "--color", "mild", "--anchors", "default", "--rare", "0", "--freeze", "0"),
    *("--lr", "0.01", "--warmup-steps", "100", "--schedule", "cosine", "--weight-decay", "0.0001", "--clip", "10"),
)


@dataclass(frozen=True)
class Experiment:
    """One run of train.py.

    name: of the run's folder.  data: BALLOON or BCCD.  flags: of train.py, beside those of data, weights and folder.
    length: of the epochs that fit the data.  pace: "ours", or "theirs" for no more of them than torchvision's own loop
        makes in the time that ours takes for all.
    """

    name: str
    data: str
    model: str = MODELS[0]
    flags: tuple[str, ...] = ()
    seed: int = 0
    length: float = 1.0
    pace: str = "ours"


@dataclass(frozen=True)
class Part:
    """A part of the recipe: the flags that bring it, those that leave it out, and whether it is on by default."""

    title: str
    on: tuple[str, ...]
    off: tuple[str, ...]
    default: bool


_SIZES = Part("sizes x0.6 to x1.25", ("--jitter", "0.6", "1.25"), ("--jitter", "1", "1"), True)
_COLORS = Part("changed hue and saturation", ("--color", "mild"), ("--color", "none"), False)
_FROZEN = Part("frozen first stage", ("--freeze", "1"), ("--freeze", "0"), True)
_AVERAGE = Part("moving average 0.998", ("--ema", "0.998"), ("--ema", "0"), False)
# Fitted anchors are none of them: fitting keeps the default ones on both datasets, which reach nearly every object.
PARTS = {BALLOON: (_SIZES, _COLORS, _FROZEN), BCCD: (_SIZES, _COLORS, _FROZEN, _AVERAGE)}
PART_RUNS = 8
_MASKS = (1, 2, 4, 7)
_PART_LENGTH = 0.5
_SHORT_LENGTH = 1 / 3
# In float32 whatever the device computes in, so that runs of several machines can stand in one table.
_SMALLER = ("--imgsz", str(SMALLER), "--no-amp")


def is_on(mask: int, run: int) -> bool:
    """Whether what has the ``mask`` is on in a run of the PART_RUNS.

    Three parts have every combination. Four have half of all sixteen, chosen so that each part is on in four runs and
    every two of them together in two (a 2^(4-1) design of resolution IV, Box, Hunter & Hunter, Statistics for
    Experimenters, 2005, chapter 6): the difference of the means of four runs is the part's own, whatever two of the
    others do together.
    """
    return (run & mask).bit_count() % 2 == 1


def masks(data: str) -> tuple[dict[Part, int], list[int]]:
    """Those of PARTS, for ``is_on``, and those that are no part's: their differences are chance, and what several
    parts do together."""
    of_parts = dict(zip(PARTS[data], _MASKS, strict=False))
    return of_parts, [mask for mask in range(1, PART_RUNS) if mask not in of_parts.values()]


def of_models() -> list[Experiment]:
    """Every backbone on balloons; the first is the recipe's first seed."""
    others = (Experiment(f"{BALLOON}_{model}", BALLOON, model) for model in MODELS[1:])
    return [of_recipe(BALLOON, RECIPE)[0], *others]


def of_recipe(data: str, way: str) -> list[Experiment]:
    """With every seed on ``data``: RECIPE, or SHORT, which has fewer steps on smaller images, or PLAIN with the same
    steps and sizes, or BRIEF, for which these are cut to the time that SHORT takes."""
    flags = () if way == RECIPE else (*_SMALLER, *(PLAIN_FLAGS if way != SHORT else ()))
    length, pace = 1.0 if way == RECIPE else _SHORT_LENGTH, "theirs" if way == BRIEF else "ours"
    return [
        Experiment(f"{data}_{way}_{seed}", data, flags=flags, seed=seed, length=length, pace=pace) for seed in SEEDS
    ]


def of_parts(data: str) -> list[Experiment]:
    """The runs that tell of PARTS."""
    runs = []
    for run in range(PART_RUNS):
        flags = [flag for part, mask in masks(data)[0].items() for flag in (part.on if is_on(mask, run) else part.off)]
        runs.append(Experiment(f"{data}_parts_{run}", data, flags=tuple(flags), seed=run, length=_PART_LENGTH))
    return runs


def every() -> list[Experiment]:
    """All of them, each once, in the order in which they are of use."""
    ways = [run for data in PARTS for way in (RECIPE, SHORT, PLAIN, BRIEF) for run in of_recipe(data, way)]
    parts = [run for data in PARTS for run in of_parts(data)]
    return [*ways, *parts, *of_models()[1:]]


def chosen(names: Sequence[str] | None) -> list[Experiment]:
    """Those of ``every`` with one of the ``names``, or with one and a number; UsageError for a name of none."""
    if names is None:
        return every()
    found = {name: [run for run in every() if name in (run.name, run.name.rpartition("_")[0])] for name in names}
    if strangers := [name for name, runs in found.items() if not runs]:
        raise UsageError(unknown("run", strangers[0], [run.name for run in every()]))
    return [run for runs in found.values() for run in runs]
