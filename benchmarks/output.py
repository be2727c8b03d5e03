"""Where a benchmark's figures go: on the screen, into a page, into a file of JSON."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import markdown
from detect.io.files import make_folder, write_text


def part_of(benchmark: str) -> str:
    """What the markers around its table in a page say."""
    return f"benchmark {benchmark}"


@dataclass(frozen=True)
class Output:
    """Of the benchmark called ``name``. page, facts: files for its tables and for all that was measured, if any."""

    name: str
    page: Path | None
    facts: Path | None

    def check(self) -> None:
        """Make sure before any work that what it gives can be written. Raises UsageError."""
        if self.page:
            markdown.check_part(self.page, part_of(self.name))
        if self.facts:
            make_folder(self.facts.parent)

    def write(self, page: str, facts: dict[str, Any]) -> None:
        """Show ``page``, and keep both."""
        print(page)
        if self.facts:
            write_text(self.facts, json.dumps({"command": command(), **facts}, indent=1) + "\n")
            print(f"-> {self.facts}")
        if self.page:
            markdown.replace_part(self.page, part_of(self.name), page)
            print(f"-> {self.page}")


def command() -> str:
    """The command line, as it can be run again on another machine, where files lie elsewhere."""
    words: list[str] = []
    for word in (part for argument in sys.argv[1:] for part in _flag_and_value(argument)):
        flag = words[-1] if words else ""
        words.append("DIR" if flag == "--data-root" else Path(word).name if flag == "--pretrained" else word)
    return shlex.join(["python", "benchmark.py", *words])


def _flag_and_value(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--") else [argument]
