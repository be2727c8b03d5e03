"""Time and memory until the first step of train.py on a dataset of COCO's size.

``python -m benchmarks.start FOLDER OUTPUT`` trains on FOLDER until the first step, and prints its time and the peak
memory.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import msgspec
import numpy as np

from benchmarks import coco_file, report
from benchmarks.report import Result
from benchmarks.settings import StartSettings
from detect import progress
from detect.errors import DetectError
from detect.text import counted

_MAX_LINKS = 50_000  # ext4 allows 65,000 names of one file
_SHARPNESS = 8  # pixels per random color; the files have about the size of COCO's


def run(settings: StartSettings) -> Result:
    """Start train.py several times on a generated dataset."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, share in (("train2017", 1.0), ("val2017", 0.05)):
            write_split(folder, split, max(1, round(settings.images * share)), max(1, round(settings.objects * share)))
        starts = [first_step(folder) for _ in progress.bar(range(settings.rounds), desc="start")]
    seconds, peaks = zip(*starts, strict=True)
    text = (
        f"{settings.images} images and {settings.objects} annotations: the first step begins after"
        f" {statistics.median(seconds):.0f} s (median of {counted(settings.rounds, 'round')}), with a peak of"
        f" {report.megabytes(statistics.median(peaks))} MB, in which the mapped annotation file counts."
    )
    return text, {"seconds": seconds, "peak_bytes": peaks}


def write_split(folder: Path, split: str, images: int, objects: int) -> None:
    """Write a split in COCO's layout. Images of equal size are names of the same file, so they take no space."""
    (folder / split).mkdir()
    (folder / "annotations").mkdir(exist_ok=True)
    annotations = folder / "annotations" / f"instances_{split}.json"
    coco_file.generate(annotations, images, objects)
    files: dict[tuple[int, int, int], Path] = {}
    for index, image in enumerate(msgspec.json.decode(annotations.read_bytes())["images"]):
        path = folder / split / image["file_name"]
        key = image["height"], image["width"], index // _MAX_LINKS
        if key in files:
            os.link(files[key], path)
        else:
            _write_image(path, key[:2])
            files[key] = path


def _write_image(path: Path, hw: tuple[int, int]) -> None:
    height, width = hw
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (height // _SHARPNESS, width // _SHARPNESS, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(colors, (width, height), interpolation=cv2.INTER_CUBIC))


def first_step(folder: Path) -> tuple[float, int]:
    """Return the seconds from the start of Python to the first step, and the peak memory of the process in bytes.

    Raises DetectError if the training does not reach it.
    """
    begin = time.time()
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "benchmarks.start", str(folder), output]
        done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=False)
    if done.returncode:
        raise DetectError(f"the training ended before its first step: {done.stderr.strip()[-500:]}")
    end, peak = done.stdout.split()[-2:]
    return float(end) - begin, int(peak)


def train_until_the_first_step(folder: Path, output: Path) -> None:
    """Train on a folder until the first step begins; print the time, in seconds since 1970, and the peak memory."""
    from detect.training.config import TrainConfig
    from detect.training.logging.progress import peak_memory_bytes
    from detect.training.step import TrainStep
    from detect.training.trainer import train

    def end(*_: Any) -> None:
        print(time.time(), peak_memory_bytes() or 0, file=sys.__stdout__, flush=True)
        os._exit(0)

    settings: dict[str, Any] = {"head": "maskrcnn", "pretrained": "none", "epochs": 1, "workers": 1, "report": False}
    with patch.object(TrainStep, "__call__", end):
        train(TrainConfig(data=str(folder), output_dir=output, **settings))


if __name__ == "__main__":
    train_until_the_first_step(*map(Path, sys.argv[1:]))
