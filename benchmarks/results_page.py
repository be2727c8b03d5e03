"""The tables of docs/results.md."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import experiments, markdown
from benchmarks.experiments import BALLOON, BCCD, BRIEF, PARTS, PLAIN, RECIPE, SHORT, SMALLER, Experiment
from benchmarks.records import SPLITS, Record
from benchmarks.results import IMAGES, curves_of

NOT_MEASURED = "not measured"
WAYS = {
    RECIPE: "train.py as it is",
    SHORT: f"train.py, a third of the steps, {SMALLER} px",
    PLAIN: f"plain loop, a third of the steps, {SMALLER} px",
    BRIEF: f"plain loop, as long at torchvision's speed, {SMALLER} px",
}

Results = Mapping[str, Record]
"""By the name of the experiment; those that are finished."""


def page(results: Results, speedup: Mapping[str, float | None], command: str) -> str:
    """Markdown: the tables. speedup: of each dataset, as ``results.speedup`` has measured it, or None."""
    parts = [f"Written by `{command}`. {machines(results)}"]
    parts += ["### Balloons, by backbone", models(results), curves(results, BALLOON)]
    parts += ["### Blood cells", classes(results), curves(results, BCCD)]
    parts += ["### Beside a plain loop", *(ways(results, data, speedup[data]) for data in PARTS)]
    if known := [table for data in PARTS if (table := effects(results, data))]:
        parts += ["### What each part brings", *known]
    return "\n\n".join(filter(None, parts))


def machines(results: Results) -> str:
    """What the runs were made on, and from which weights."""
    counted = Counter((record.machine, record.settings["pretrained"]) for record in results.values())
    return " ".join(f"{count} runs on {where}, from {weights}." for (where, weights), count in counted.most_common())


def models(results: Results) -> str:
    """Balloons: AP and AP50 of every backbone."""
    header = ("Mask R-CNN, FPN", "split", "bbox AP", "bbox AP50", "segm AP", "segm AP50", "s an image")
    rows = []
    for experiment in experiments.of_models():
        result = results.get(experiment.name)
        for split in SPLITS if result else SPLITS[:1]:
            cells = [NOT_MEASURED] * 5
            if result:
                metrics = result.metrics[split]
                cells = [_with_interval(metrics, kind, name) for kind in ("bbox", "segm") for name in ("AP", "AP50")]
                cells.append(f"{metrics['speed']['seconds_a_picture']:.2f}")
            rows.append([f"`{experiment.model}`", split if result else "", *cells])
    return markdown.table(header, rows)


def classes(results: Results) -> str:
    """Blood cells: AP and AP50 on test of every class."""
    first = experiments.of_recipe(BCCD, RECIPE)[0]
    if first.name not in results:
        return f"Faster R-CNN, `{first.model}`: {NOT_MEASURED}."
    metrics = results[first.name].metrics["test"]
    rows = [["all", *(_with_interval(metrics, "bbox", name) for name in ("AP", "AP50"))]]
    for name, own in metrics["classes"].items():
        of_class = {**own, "intervals": metrics["intervals"]["classes"][name]}
        rows.append([name, *(_with_interval(of_class, "bbox", figure) for figure in ("AP", "AP50"))])
    return markdown.table((f"Faster R-CNN, `{first.model}`, test", "AP", "AP50"), rows)


def curves(results: Results, data: str) -> str:
    """The image of the recipe's first run."""
    run = experiments.of_recipe(data, RECIPE)[0]
    return f"![losses and AP by epoch]({IMAGES}/{curves_of(run.name)})" if run.name in results else ""


def ways(results: Results, data: str, speedup: float | None) -> str:
    """The recipe beside the plain one: mean and standard deviation over the seeds."""
    header = (data, "seeds", "epochs", "val AP", "val AP50", "test AP", "test AP50")
    rows = []
    for way, title in WAYS.items():
        runs = experiments.of_recipe(data, way)
        done = _done(results, runs)
        cells = [_mean(_figures(done, split, name)) for split in SPLITS for name in ("AP", "AP50")]
        rows.append([title, str(len(done)), str(done[0].epochs) if done else "", *cells])
    table = markdown.table(header, rows)
    if speedup is None:
        return table
    told = f"train.py makes {speedup:.2f} times as many steps of {SMALLER} px in a time as torchvision's loop does."
    return f"{table}\n\n{told}"


def effects(results: Results, data: str) -> str:
    """What every part adds to AP: the mean of the runs with it less that of those without; "" before all are made."""
    runs = experiments.of_parts(data)
    done = _done(results, runs)
    if len(done) < len(runs):
        return ""
    values = {split: _figures(done, split, "AP") for split in SPLITS}
    rows = []
    of_parts, free = experiments.masks(data)
    for part, mask in of_parts.items():
        added = [_effect(values[split], mask) for split in SPLITS]
        rows.append([part.title, *map(_signed, added), "on" if part.default else "off"])
    errors = [_root_mean_square([_effect(values[split], mask) for mask in free]) for split in SPLITS]
    rows.append(["standard error of each", *(f"{error:.1f}" for error in errors), ""])
    return markdown.table((f"{data}: AP added by", *SPLITS, "by default"), rows)


def _effect(values: Sequence[float], mask: int) -> float:
    """The mean of the runs in which it is on less that of those in which it is off."""
    halves: dict[bool, list[float]] = {True: [], False: []}
    for run, value in enumerate(values):
        halves[experiments.is_on(mask, run)].append(value)
    return statistics.fmean(halves[True]) - statistics.fmean(halves[False])


def _root_mean_square(values: Sequence[float]) -> float:
    return statistics.fmean(value**2 for value in values) ** 0.5


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # no -0.0


def _done(results: Results, runs: Sequence[Experiment]) -> list[Record]:
    return [results[run.name] for run in runs if run.name in results]


def _figures(done: Sequence[Record], split: str, name: str) -> list[float]:
    return [100 * result.metrics[split]["bbox"][name] for result in done]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return NOT_MEASURED
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def _with_interval(metrics: Mapping[str, Any], kind: str, name: str) -> str:
    """Such as ``65.7 [60.8, 73.5]``, in percent."""
    if metrics[kind][name] is None:
        return "-"
    ends = metrics["intervals"][kind][name]
    return f"{100 * metrics[kind][name]:.1f}" + (f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "")
