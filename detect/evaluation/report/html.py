"""Turns an evaluation into the HTML of its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from detect.evaluation.diagnosis.finding import Severity
from detect.evaluation.report import (
    breakdown,
    confusion,
    curves,
    dataset_profile,
    error_budget,
    galleries,
    metrics,
    provenance,
    speed,
    training,
    verdict,
)
from detect.evaluation.report.page import Page, percent_span, percentage, span, unbroken, value


def _causes(page: Page) -> dict[str, Any]:
    serious = [finding for finding in page.findings if finding.severity <= Severity.WARNING]
    return {
        "serious": serious,
        "has_problem": any(finding.severity is Severity.PROBLEM for finding in serious),
        "fine": [finding for finding in page.findings if finding.severity is Severity.FINE],
        "unjudged": [finding.title for finding in page.findings if finding.severity is Severity.UNJUDGED],
        "PROBLEM": Severity.PROBLEM,
    }


# Name of a section, which is also that of its template, and its anchor -> (title, function that returns its content).
SECTIONS: dict[str, tuple[str, Callable[[Page], dict[str, Any]]]] = {
    "verdict": ("Verdict", verdict.content),
    "causes": ("Likely causes", _causes),
    "metrics": ("Metrics", metrics.content),
    "errors": ("Error budget", error_budget.content),
    "curves": ("Curves and thresholds", curves.content),
    "confusion": ("Confusion matrix", confusion.content),
    "galleries": ("Worst errors", galleries.content),
    "breakdown": ("Which objects are found", breakdown.content),
    "dataset": ("Dataset", dataset_profile.content),
    "training": ("Training", training.content),
    "speed": ("Speed", speed.content),
    "provenance": ("Provenance", provenance.content),
}


def render(page: Page) -> str:
    """Return the report as one HTML document."""
    environment = Environment(
        loader=PackageLoader("detect.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (value, percentage, span, percent_span, unbroken):
        environment.filters[function.__name__] = function
    one = page.analysis.evaluation
    return environment.get_template("report.html").render(
        title=f"{_short_name(one.model)} on {one.dataset} {one.split}",
        page=page,
        metric_kinds=page.metric_kinds,
        sections={name: {"title": title, **content(page)} for name, (title, content) in SECTIONS.items()},
    )


def _short_name(model: str) -> str:
    """Return the name of a model for a title: of a path its last two parts."""
    return "/".join(PurePath(model).parts[-2:]) or "model"
