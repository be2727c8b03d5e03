"""The settings of each script: every default of the project, once."""

# ruff: noqa: RUF009 - ``option`` makes a dataclass field, as dataclasses.field does

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.flags import REQUIRED, option


@dataclass(kw_only=True)
class _DetectSettings:
    input: str = option(REQUIRED, "what to look at")
    model: str = option("balloon", "a model's name or a checkpoint file", metavar="NAME|FILE")
    imgsz: int | None = option(
        None,
        "resize the short side to N pixels, the long one to at most 1.666 N (default: the model's own)",
        low=32,
    )
    threshold: float | None = option(
        None, "leave out what scores less, 0..1 (default: the checkpoint's, else 0.5)", low=0, high=1
    )
    classes: list[str] | None = option(
        None, "only these classes, by name or category id (default: all)", metavar="NAME|ID"
    )
    device: str = option("auto", "where to run the model", metavar="auto|cpu|cuda|cuda:N|mps")
    output_dir: Path = option(Path("outputs/detect"), "where runs are kept", metavar="DIR")
    name: str | None = option(
        None,
        "write to OUTPUT_DIR/NAME, or NAME_2, NAME_3 ... where that is taken (default: the input's name)",
        metavar="NAME",
    )
    quiet: bool = option(False, "print errors and the last line only")


@dataclass(kw_only=True)
class DetectImageSettings(_DetectSettings):
    input: str = option(
        REQUIRED,
        "a picture, a folder of pictures or a quoted pattern such as 'in/*.jpg'",
        metavar="FILE|DIR|GLOB",
    )
    batch_size: int = option(1, "pictures that go through the model together", low=1)
    save_json: bool = option(
        False, "also write detections.json: every picture with its boxes, scores and masks"
    )


@dataclass(kw_only=True)
class DetectVideoSettings(_DetectSettings):
    input: str = option(REQUIRED, "a video file", metavar="FILE")
    stride: int = option(1, "look at every Nth frame and repeat its result on those between", low=1)
    max_frames: int | None = option(None, "stop after N frames (default: the whole video)", low=1)
    save_json: bool = option(False, "also write a .jsonl file: one line of JSON for each frame")
