"""Output of the benchmarks: a Markdown table on the screen and all measurements in a JSON file."""

from __future__ import annotations

import json
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision

from detect import runtime
from detect.cli.startup import start_program
from detect.io.files import make_folder, write_text
from detect.text import counted

Result = tuple[str, dict[str, Any]]
"""What a command measured: a description with tables, as Markdown, and every measurement for the JSON file."""

NOT_MEASURED = "not measured"
_FOLDERS = ("--data-root", "--references")  # flags with a folder of this machine
_FILES = ("--pretrained", "--json", "--plot")  # flags with a file of this machine


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is aligned left, the others right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(settings: Any, run: Callable[[Any], Result]) -> None:
    """Measure, print the table with its description, and write all measurements to the file ``settings.json``.

    Raises UsageError, before any measurement, when the folder of the file is not writable, and DiskError when the
    file cannot be written.
    """
    path: Path | None = settings.json
    if path:
        make_folder(path.parent)
    start_program(settings.quiet)
    device = runtime.pick_device(getattr(settings, "device", "cpu"))
    text, facts = run(settings)
    print(f"`{command()}` on {machine(device)}. {text}")
    if path:
        facts = {"command": command(), "machine": machine(device), **facts}
        write_text(path, json.dumps(facts, indent=1) + "\n")
        print(f"-> {path}")


def command() -> str:
    """Return the command line without the folders of this machine, so that others can run it."""
    words: list[str] = []
    for argument in sys.argv[1:]:
        for word in argument.split("=", 1) if argument.startswith("--") else [argument]:
            flag = words[-1] if words else ""
            words.append("DIR" if flag in _FOLDERS else Path(word).name if flag in _FILES else word)
    return shlex.join(["python", "benchmark.py", *words])


def machine(device: torch.device) -> str:
    """Return processor, instruction set, threads and versions in words."""
    instructions = torch.backends.cpu.get_cpu_capability()
    text = f"{_processor()} with {instructions}, {counted(torch.get_num_threads(), 'thread')}"
    if device.type == "cuda":
        text = f"{torch.cuda.get_device_name(device)} beside {text}"
    return f"{text}, torch {torch.__version__}, torchvision {torchvision.__version__}"


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that were measured, or None."""
    numbers = [value for value in values if value is not None]
    return statistics.median(numbers) if numbers else None


def megabytes(count: float | None) -> str:
    """Return a number of bytes in MB, or ``not measured``."""
    return NOT_MEASURED if count is None else f"{count / 1e6:.0f}"


def ratio(ours: float | None, theirs: float | None) -> str:
    """Return ``ours / theirs`` as text, or ``not measured`` when one of them is None."""
    return NOT_MEASURED if ours is None or theirs is None else f"{ours / theirs:.2f}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
