"""Settings and files that the tests of train.py share."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

TINY = ["--pretrained", "none", "--imgsz", "64", "--lr", "0.001", "--workers", "0", "--device", "cpu"]
TINY += ["--no-report", "--quiet"]


def rows(folder: Path) -> list[dict]:
    """Return the rows of metrics.jsonl without duration and memory, which vary."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "memory_bytes")} for line in lines]


def without_masks(data: Path, folder: Path) -> Path:
    """Write a description of the same dataset without masks to ``folder`` and return it."""
    spec = yaml.safe_load(data.read_text())
    spec["root"] = str(data.parent / "files")
    for part in spec["splits"].values():
        content = json.loads((data.parent / "files" / part["annotations"]).read_text())
        for annotation in content["annotations"]:
            del annotation["segmentation"]
        part["annotations"] = str(folder / part["annotations"])
        Path(part["annotations"]).write_text(json.dumps(content))
    (folder / "boxes.yaml").write_text(yaml.safe_dump(spec))
    return folder / "boxes.yaml"


def one_line(error: str) -> str:
    """Return the message of an error that a program printed, which must be a single line."""
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n"), error
    return error.removeprefix("error: ")
