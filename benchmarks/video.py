"""Frame rate of detect_video.py beside that of its detector alone.

The detector alone processes frames that are already decoded. detect_video.py also decodes, draws, encodes and writes
JSON, most of it at the same time. CPU time, of all processes, depends less on what else the machine does.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.report import Result
from benchmarks.settings import VideoSettings
from detect import progress
from detect.inference.annotate_video import annotate_video, default_batch_size
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.media.video_reader import VideoReader
from detect.text import counted

DETECTOR = "detector alone"


@dataclass
class Row:
    """One way to process the video.

    ms: median of the milliseconds per frame, and fps: of the frames per second.
    fraction: median of the frame rate as a fraction of the detector's in the same round.
    cpu_ms: median of the milliseconds of CPU time per frame.
    seconds, cpu_seconds: of each round, for all frames.
    """

    name: str
    ms: float = 0.0
    fps: float = 0.0
    fraction: float = 1.0
    cpu_ms: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


def run(settings: VideoSettings) -> Result:
    """Measure the ways in turns, so that other load affects all equally."""
    predictor = load_model(settings.model, device=settings.device, imgsz=settings.imgsz)
    batch_size = settings.batch_size or default_batch_size(predictor)
    with VideoReader(settings.input) as video:
        images = [frame.image for frame in islice(video, settings.max_frames)]
    predictor.predict_batch(images[:batch_size])  # the first call is slower
    ways: dict[str, Callable[[], object]] = {
        DETECTOR: lambda: detect(predictor, images, batch_size),
        "detect_video.py": lambda: annotate(predictor, settings.input, len(images), batch_size, track=False),
        "detect_video.py --track": lambda: annotate(predictor, settings.input, len(images), batch_size, track=True),
    }
    rows = [Row(name) for name in ways]
    rounds = progress.bar(range(settings.rounds), desc="rounds")
    progress.hide_bars(True)  # those of each video
    for number in rounds:
        for row in rows if number % 2 else reversed(rows):
            start, cpu_start = time.perf_counter(), cpu_seconds()
            ways[row.name]()
            row.seconds.append(time.perf_counter() - start)
            row.cpu_seconds.append(cpu_seconds() - cpu_start)
    summarize(rows, len(images))
    facts = {
        "video": Path(settings.input).name,
        "image_hw": images[0].shape[:2],
        "frames": len(images),
        "batch_size": batch_size,
        "imgsz": predictor.imgsz,
        "rows": [asdict(row) for row in rows],
    }
    return page(rows, facts), facts


def detect(predictor: Predictor, images: Sequence[np.ndarray], batch_size: int) -> None:
    """Detect objects in images, uint8 RGB [H, W, 3]."""
    for first in range(0, len(images), batch_size):
        predictor.predict_batch(images[first : first + batch_size])


def annotate(predictor: Predictor, source: str, frames: int, batch_size: int, *, track: bool) -> None:
    """Do what detect_video.py does with the first ``frames`` of a video, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, VideoReader(source) as video:
        options: Any = {"batch_size": batch_size, "max_frames": frames, "track": track}
        annotate_video(predictor, video, Path(folder) / "out.mp4", formats=["json"], **options)


def cpu_seconds() -> float:
    """Return the CPU time so far of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def summarize(rows: Sequence[Row], frames: int) -> None:
    """Set the medians of each row. The first row is the detector alone."""
    for row in rows:
        seconds = statistics.median(row.seconds)
        row.ms, row.fps = 1000 * seconds / frames, frames / seconds
        row.cpu_ms = 1000 * statistics.median(row.cpu_seconds) / frames
        row.fraction = statistics.median(a / b for a, b in zip(rows[0].seconds, row.seconds, strict=True))


def page(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """Return how the video was processed, and the table, as Markdown."""
    (height, width), size = facts["image_hw"], facts["batch_size"]
    table = [
        [row.name, f"{row.ms:.0f}", f"{row.fps:.2f}", f"{100 * row.fraction:.1f} %", f"{row.cpu_ms:.0f}"]
        for row in rows
    ]
    rounds, frames = counted(len(rows[0].seconds), "round"), counted(facts["frames"], "frame")
    return (
        f"Medians of {rounds} in turns over {frames} of {facts['video']} ({width}x{height}),"
        f" resized to a short side of {facts['imgsz']} pixels, {size} per forward pass.\n\n"
        + report.table(
            ("", "ms per frame", "frames per second", "relative to the detector", "CPU ms per frame"), table
        )
    )
