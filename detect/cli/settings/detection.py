"""The settings of detect_image.py and detect_video.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import model
from detect.models.names import check_model
from detect.options import REQUIRED, check_run_name, device_option, option, output_dir_option


@dataclass(kw_only=True)
class _DetectSettings:
    input: str = option(REQUIRED, "what to look at")
    model: str = model()
    imgsz: int | None = option(
        None,
        "resize the short side to N pixels, the long one to at most 1.666 N (default: the model's own)",
        low=32,
        high=8192,
    )
    threshold: float | None = option(
        None, "leave out what scores less, 0..1 (default: the checkpoint's, else 0.5)", low=0, high=1
    )
    classes: list[str] | None = option(
        None, "only these classes, by name or category id (default: all)", metavar="NAME|ID"
    )
    device: str = device_option()
    output_dir: Path = output_dir_option("outputs/detect")
    name: str | None = option(
        None,
        "write to OUTPUT_DIR/NAME, or NAME_2, NAME_3 ... where that is taken (default: the input's name)",
        metavar="NAME",
    )
    quiet: bool = option(False, "print errors and the last line only")

    def __post_init__(self) -> None:
        check_model(self.model)
        check_run_name(self.name)


@dataclass(kw_only=True)
class DetectImageSettings(_DetectSettings):
    input: str = option(
        REQUIRED,
        "an image, a folder of images or a quoted pattern such as 'in/*.jpg'",
        metavar="FILE|DIR|GLOB",
    )
    batch_size: int = option(1, "images that go through the model together", low=1)
    save_json: bool = option(False, "also write detections.json: every image with its boxes, scores and masks")


@dataclass(kw_only=True)
class DetectVideoSettings(_DetectSettings):
    input: str = option(
        REQUIRED,
        "a video file, a camera's number, or a stream such as rtsp://...; of cameras and live streams, which do not"
        " wait, frames are left out while one is worked on; Ctrl-C ends them",
        metavar="FILE|N|URL",
    )
    stride: int = option(1, "look at every Nth frame and repeat its result on those between", low=1)
    max_frames: int | None = option(None, "stop after N frames (default: the whole video, or until Ctrl-C)", low=1)
    save_json: bool = option(False, "also write a .jsonl file: one line of JSON for each frame")
