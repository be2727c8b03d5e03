"""The file metrics.jsonl of a run: one JSON object per epoch and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detect.errors import DataError
from detect.io.files import append_line, write_text

# Keys in files of earlier versions, and the keys that replaced them.
RENAMED_KEYS = {"memory": "memory_bytes"}


class MetricsLog:
    """Reads and writes ``metrics.jsonl``.

    Keys of a row: ``epoch`` (from 1), ``lr`` (learning rate of the last step), ``seconds`` (duration of the epoch),
    ``memory_bytes`` (peak memory, or null), ``losses`` and ``val_losses`` (means; the latter may be null), ``val``
    (metrics on the val split, see ``coco_metrics.score``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: dict[str, Any]) -> None:
        """Append the row of one epoch. Raises DiskError."""
        append_line(self.path, json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all epochs in the order of the file; an empty list if there is no file.

        Raises DataError for a line that is not a row, and for an epoch that has two rows.
        """
        rows: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(self._lines(), 1):
            if line.strip():
                row = self._parse(number, line)
                if row["epoch"] in rows:
                    raise DataError(
                        f"{self.path}, line {number}: second row of epoch {row['epoch']}; delete one of them"
                    )
                rows[row["epoch"]] = row
        return list(rows.values())

    def truncate_after(self, epoch: int) -> list[int]:
        """Delete the rows after ``epoch`` and an incomplete last line, since a resumed run writes them again.

        Returns the epochs up to ``epoch`` that have no row.
        """
        kept = [row for row in self.rows() if row["epoch"] <= epoch]
        if self.path.is_file():
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        return sorted(set(range(1, epoch + 1)) - {row["epoch"] for row in kept})

    def _parse(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
            if isinstance(row["epoch"], int):
                return {RENAMED_KEYS.get(key, key): value for key, value in row.items()}
        except (ValueError, TypeError, LookupError):
            pass
        raise DataError(f"{self.path}, line {number}: {line[:40]!r} is not the row of an epoch; delete the line")

    def _lines(self) -> list[str]:
        """Return the complete lines; the last line is incomplete if the process was killed while it wrote."""
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
