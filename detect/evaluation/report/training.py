"""The course of the training in a report, if metrics.jsonl is beside the checkpoint."""

from __future__ import annotations

from typing import Any

from detect.evaluation.plots import training_figure
from detect.evaluation.report.page import Page
from detect.evaluation.saved_model import LOG
from detect.media.figures import svg


def content(page: Page) -> dict[str, Any]:
    """Return the diagram and the number of epochs; no diagram without a log."""
    saved = page.analysis.saved
    if saved is None or not saved.epochs:
        return {"image": None, "log": LOG if saved else ""}
    figure = training_figure(saved.epochs)
    aps = [(row["val"].get("bbox") or {}).get("AP") for row in saved.epochs]
    known = [(ap, row["epoch"]) for ap, row in zip(aps, saved.epochs, strict=True) if ap is not None]
    best = max(known, key=lambda pair: pair[0], default=None)  # the first of equal ones, as in training
    return {
        "image": svg(figure, "Loss and AP on val per epoch."),
        "epochs": saved.epochs[-1]["epoch"],
        "best": best,
        "epoch": saved.checkpoint.training.get("epoch"),
    }
