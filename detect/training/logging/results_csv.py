"""The file results.csv of a run: the numbers of metrics.jsonl as a table for spreadsheets and pandas."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from detect.io.files import write_text


def write_results(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the ``rows`` of metrics.jsonl to ``path``, one line per epoch, completely or not at all.

    Columns: ``epoch``, ``seconds``, ``lr``, ``memory_bytes``, ``train_loss`` (the sum) and its terms such as
    ``train_loss_classifier``, the same columns for val, and the metrics on val under names of the setting ``metric``,
    such as ``bbox_AP``. A value that an epoch does not have is empty. Raises DiskError.
    """
    flat = [flat_row(row) for row in rows]
    columns = dict.fromkeys(name for row in flat for name in row)
    text = StringIO()
    table = csv.DictWriter(text, _in_order(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(flat)
    write_text(path, text.getvalue())


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of metrics.jsonl without nesting: column of results.csv -> value, None where there is none."""
    flat = {name: row.get(name) for name in ("epoch", "seconds", "lr", "memory_bytes")}
    for split, key in (("train", "losses"), ("val", "val_losses")):
        flat |= {f"{split}_{name}": value for name, value in (row.get(key) or {}).items()}
    return flat | flat_metrics(row)


def flat_metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of all classes in a row of metrics.jsonl under names such as ``bbox_AP``."""
    val = row.get("val") or {}
    return {f"{kind}_{name}": value for kind in ("bbox", "segm") for name, value in val.get(kind, {}).items()}


def _in_order(columns: Mapping[str, None]) -> list[str]:
    """Return the columns with losses before metrics, and the sum of the losses before its terms.

    Rows of earlier epochs may lack columns, for example those of an earlier version without losses on val.
    """
    groups = ("train_", "val_", "bbox_", "segm_")
    position = {name: next((n for n, g in enumerate(groups, 1) if name.startswith(g)), 0) for name in columns}
    return sorted(columns, key=lambda name: (position[name], not name.endswith("_loss")))
