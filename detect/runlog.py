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

    def keep_until(self, epoch: int) -> None:
        """Drop the lines past ``epoch``, which a run that goes on from there writes anew, and one that broke off."""
        if self.path.is_file():
            *lines, _ = self.path.read_text(encoding="utf-8").split("\n")
            kept = [line for line in lines if json.loads(line)["epoch"] <= epoch]
            write_text(self.path, "".join(line + "\n" for line in kept))
