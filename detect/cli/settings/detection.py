"""The settings of detect_image.py and detect_video.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from detect.cli.settings.shared import detection_limit_option, model_option
from detect.errors import UsageError
from detect.inference.writers import FORMATS
from detect.models.zoo import check_model
from detect.options import REQUIRED, check_run_name, device_option, imgsz_option, option, output_dir_option

C = TypeVar("C")


def _with_format_fields(settings_class: type[C]) -> type[C]:
    """Add a field ``save_NAME`` for every output format in FORMATS to a class that becomes a dataclass."""
    for name, writer in FORMATS.items():
        settings_class.__annotations__[f"save_{name}"] = "bool"
        setattr(settings_class, f"save_{name}", option(False, writer.help))
    return settings_class


@dataclass(kw_only=True)
@_with_format_fields
class _DetectSettings:
    input: list[str] = option(REQUIRED, "images or video to process")
    model: str = model_option()
    imgsz: int | None = imgsz_option(
        "resize images so that the short side has N pixels and the long side at most 1.666 N (default: the model's)"
    )
    threshold: float | None = option(
        None, "minimum score of a detection, 0..1 (default: the checkpoint's, else 0.5)", low=0, high=1
    )
    max_detections: int | None = detection_limit_option()
    classes: list[str] | None = option(
        None, "only these classes, by name or category id (default: all)", metavar="NAME|ID"
    )
    device: str = device_option()
    output_dir: Path = output_dir_option("outputs/detect")
    name: str | None = option(
        None,
        "write to OUTPUT_DIR/NAME, or to NAME_2, NAME_3 ... if it exists (default: the input's name)",
        metavar="NAME",
    )
    quiet: bool = option(False, "print only errors and the last line")

    def __post_init__(self) -> None:
        check_model(self.model)
        check_run_name(self.name)

    def model_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of ``detect.load_model``."""
        return {name: getattr(self, name) for name in ("device", "imgsz", "threshold", "max_detections")}

    @property
    def formats(self) -> list[str]:
        """Names in FORMATS of the output formats to write."""
        return [name for name in FORMATS if getattr(self, f"save_{name}")]


@dataclass(kw_only=True)
class DetectImageSettings(_DetectSettings):
    input: list[str] = option(
        REQUIRED,
        "images, folders of images and patterns such as 'in/*.jpg'",
        metavar="FILE|DIR|GLOB",
    )
    batch_size: int = option(1, "number of images per forward pass", low=1)
    rescale_16bit: list[int] | None = option(
        None,
        "gray values of 16-bit images that become black and white, such as 0 4095 for 12-bit cameras; doctor.py fix"
        " prints those of a dataset (default: 0 65535)",
        metavar="N",
        low=0,
        high=65535,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.rescale_16bit
        if given is not None and (len(given) != 2 or given[0] >= given[1]):
            raise UsageError("`rescale_16bit` takes two gray values, the lower one first, such as 0 4095")

    @property
    def gray_range(self) -> tuple[int, int] | None:
        """``rescale_16bit`` as (black, white); None if it is not given."""
        return None if self.rescale_16bit is None else (self.rescale_16bit[0], self.rescale_16bit[1])


@dataclass(kw_only=True)
class DetectVideoSettings(_DetectSettings):
    input: list[str] = option(
        REQUIRED,
        "a video file, the number of a camera, or the URL of a stream such as rtsp://...; frames of cameras and live"
        " streams that arrive while the model is busy are skipped, and Ctrl-C ends the recording",
        metavar="FILE|N|URL",
    )
    stride: int = option(1, "run the model on every Nth frame and repeat its detections on the others", low=1)
    max_frames: int | None = option(None, "stop after N frames (default: the whole video, or until Ctrl-C)", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.input) != 1:
            raise UsageError(f"`input` takes one video, not {len(self.input)}; run the program once for each video")
