"""The confusion matrix of a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from detect.evaluation.confusion import confusion_matrix
from detect.evaluation.plots import confusion_figure
from detect.evaluation.report.page import Page
from detect.media.figures import svg

_MAX_TABLE = 12  # classes up to which the matrix is a table, else an image
_MAX_PAIRS = 12


def content(page: Page) -> dict[str, Any]:
    """Return the matrix as a table or as an image, and the most frequent confusions."""
    analysis = page.analysis
    names = list(analysis.table.class_names.names)
    matrix = confusion_matrix(analysis.table, analysis.overlaps, analysis.errors.matching, analysis.thresholds).matrix
    is_small = len(names) <= _MAX_TABLE
    return {
        "names": names,
        "rows": _table(matrix, names) if is_small else None,
        "image": None
        if is_small
        else svg(confusion_figure(matrix, names), "Confusion matrix of all classes.", adapts=False),
        "pairs": _frequent(matrix, names),
    }


def _table(matrix: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Return the rows; each cell has its number, and the fraction of its row (background: of its column)."""
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    fractions[-1] = matrix[-1] / np.maximum(matrix.sum(axis=0), 1)
    size = len(matrix)
    return [
        {
            "name": [*names, "background"][i],
            "cells": [
                {"number": int(matrix[i, j]), "part": float(fractions[i, j]), "is_right": i == j < size - 1}
                for j in range(size)
            ],
        }
        for i in range(size)
    ]


def _frequent(matrix: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Return the most frequent confusions of two classes."""
    inner = matrix[:-1, :-1].copy()
    np.fill_diagonal(inner, 0)
    objects = matrix[:-1].sum(axis=1)
    order = np.argsort(-inner, axis=None, kind="stable")[:_MAX_PAIRS]
    pairs = [(int(cell) // len(names), int(cell) % len(names)) for cell in order]
    return [
        {"annotated": names[a], "detected": names[b], "count": int(inner[a, b]), "part": inner[a, b] / objects[a]}
        for a, b in pairs
        if inner[a, b] > 0
    ]
