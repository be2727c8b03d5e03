"""The metrics of a run, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detect.files import append_line, write_text


class MetricsLog:
    """``metrics.jsonl``: one JSON object an epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: dict[str, Any]) -> None:
        """Append one epoch; DiskError where that fails."""
        append_line(self.path, json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """The epochs written so far, in their order; none where there is no file."""
        return [json.loads(line) for line in self._lines()]

    def keep_until(self, epoch: int) -> None:
        """Drop the lines past ``epoch``, which a run that goes on from there writes anew, and one that broke off."""
        if self.path.is_file():
            kept = [line for line in self._lines() if json.loads(line)["epoch"] <= epoch]
            write_text(self.path, "".join(line + "\n" for line in kept))

    def _lines(self) -> list[str]:
        """Without one that broke off."""
        return self.path.read_text(encoding="utf-8").split("\n")[:-1] if self.path.is_file() else []
