"""The folder of a run: its free name, its settings, its metrics line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detect.errors import UsageError


def new_folder(parent: Path, name: str) -> Path:
    """Make ``parent/name``, or ``name_2``, ``name_3``, ... when taken. UsageError where nothing can be written."""
    n = 1
    while True:
        folder = parent / (name if n == 1 else f"{name}_{n}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            n += 1
        except OSError as error:
            raise UsageError(f"--output-dir {parent} cannot be written: {error.strerror}") from None


class MetricsLog:
    """``metrics.jsonl``: one JSON object an epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: dict[str, Any]) -> None:
        """Append one epoch."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def keep_until(self, epoch: int) -> None:
        """Drop the lines past ``epoch``, which a run that goes on from there writes anew, and one that broke off."""
        if self.path.is_file():
            *lines, _ = self.path.read_text(encoding="utf-8").split("\n")
            kept = [line for line in lines if json.loads(line)["epoch"] <= epoch]
            self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
