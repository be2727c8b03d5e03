"""The metrics of a run, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detect.errors import DataError
from detect.io.files import append_line, write_text


class MetricsLog:
    """``metrics.jsonl``: one JSON object an epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: dict[str, Any]) -> None:
        """Append one epoch; DiskError where that fails."""
        append_line(self.path, json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """The epochs written so far, in their order; none where there is no file. DataError for a line of no epoch, or
        of one that another line has."""
        rows: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(self._lines(), 1):
            if line.strip():
                row = self._row(number, line)
                if row["epoch"] in rows:
                    raise DataError(f"{self.path}, line {number}: epoch {row['epoch']} once more; delete one of them")
                rows[row["epoch"]] = row
        return list(rows.values())

    def keep_until(self, epoch: int) -> list[int]:
        """Drop the lines past ``epoch``, which a run that goes on from there writes anew, and one that broke off.
        Returns the epochs up to there that are missing."""
        kept = [row for row in self.rows() if row["epoch"] <= epoch]
        if self.path.is_file():
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        return sorted(set(range(1, epoch + 1)) - {row["epoch"] for row in kept})

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
            if isinstance(row["epoch"], int):
                return row
        except (ValueError, TypeError, LookupError):
            pass
        raise DataError(f"{self.path}, line {number}: {line[:40]!r} is not of an epoch; delete the line")

    def _lines(self) -> list[str]:
        """Without one that broke off."""
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
