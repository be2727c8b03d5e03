"""What the tests of train.py share."""

from __future__ import annotations

import json
from pathlib import Path

TINY = ["--pretrained", "none", "--imgsz", "64", "--lr", "0.001", "--workers", "0", "--device", "cpu", "--quiet"]


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without the seconds."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
