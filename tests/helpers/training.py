"""What the tests of train.py share."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

TINY = ["--pretrained", "none", "--imgsz", "64", "--lr", "0.001", "--workers", "0", "--device", "cpu", "--quiet"]


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without the seconds and the memory."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "memory")} for line in lines]


def without_masks(data: Path, folder: Path) -> Path:
    """A description in ``folder`` of the same data without masks."""
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
