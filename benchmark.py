"""Measure the models as they are: parameters, multiply-adds and time, beside the figures published for them.

``python benchmark.py inference --write docs/models.md`` writes the table in that file.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from detect.config import BenchmarkSettings
from detect.errors import UsageError, exit_status, unknown
from detect.flags import parse
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, TIMM

PICTURE = Path(__file__).parent / "input" / "balloons_1.jpg"
PART = "benchmark inference"


def main() -> None:
    settings, _ = parse(BenchmarkSettings, "Measure the models' size and speed, side by side.")
    {"inference": inference}[settings.command](settings)


def inference(settings: BenchmarkSettings) -> None:
    """Every model looks at one picture, by turns."""
    lines = choose(settings.models, settings.heads)

    from detect import benchmark, markdown, progress, runtime
    from detect.files import make_folder, write_text
    from detect.media.images import read_image
    from detect.metrics import cost

    if settings.write:
        markdown.check_part(settings.write, PART)
    if settings.json:
        make_folder(settings.json.parent)
    progress.hide_bars(settings.quiet)
    device = runtime.pick_device(settings.device)
    runtime.set_up()
    image = read_image(PICTURE)

    entries, calls = {}, {}
    for name, head in progress.bar(lines, desc="building"):
        entry, predictor = benchmark.prepare(name, head, settings.imgsz, image, device)
        entries[name, head] = entry
        calls[name, head] = partial(predictor, [image])
    for key, seconds in cost.interleaved(calls, settings.rounds).items():
        entries[key].seconds = seconds

    command = shlex.join(["python", "benchmark.py", *sys.argv[1:]])
    page = benchmark.page([*entries.values()], PICTURE, image.shape[:2], command, device)
    print(page)
    if settings.json:
        facts = {"command": command, "machine": benchmark.machine(device), "picture_hw": image.shape[:2]}
        facts["models"] = [asdict(entry) for entry in entries.values()]
        write_text(settings.json, json.dumps(facts, indent=1) + "\n")
        print(f"-> {settings.json}")
    if settings.write:
        markdown.replace_part(settings.write, PART, page)
        print(f"-> {settings.write}")


def choose(names: list[str] | None, every_head: bool) -> list[tuple[str, str]]:
    """(name, head) of each line to measure. UsageError for a name that is in neither table and not timm's."""
    known = (*BACKBONES, *DETECTORS)
    for name in names or ():
        if name not in known and not name.startswith(TIMM):
            raise UsageError(unknown("model", name, known))
    lines = []
    for name in dict.fromkeys(names or known):
        heads = (DETECTORS[name].head,) if name in DETECTORS else HEADS if every_head else HEADS[:1]
        lines += [(name, head) for head in heads]
    return lines


if __name__ == "__main__":
    sys.exit(exit_status(main))
