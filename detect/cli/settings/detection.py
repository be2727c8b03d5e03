"""The settings of detect_image.py and detect_video.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from detect.cli.settings.shared import detection_limit_option, detection_model_option, nms_option, tile_option
from detect.errors import UsageError
from detect.inference.tiling import parse_tile
from detect.inference.tracking.count_line import CountLine
from detect.inference.writers import FORMATS, JSON_FORMATS, LABELS
from detect.media.drawing_style import DrawingStyle
from detect.models.zoo import check_model
from detect.options import (
    REQUIRED,
    check_run_name,
    device_option,
    fast_option,
    imgsz_option,
    option,
    output_dir_option,
    precision_option,
    proposals_option,
)
from detect.structures.detections_json import MASK_FORMATS

C = TypeVar("C")
MODEL_SETTINGS = (
    *("device", "imgsz", "threshold", "max_detections", "nms", "one_label_per_object", "tile"),
    *("precision", "proposals", "fast"),
)


def _with_format_fields(settings_class: type[C]) -> type[C]:
    """Add to a class that becomes a dataclass a field ``save_NAME`` for each output format in FORMATS, and
    ``save_labels`` for those that are datasets."""
    for name, writer in FORMATS.items():
        if writer.has_flag and not name.startswith(LABELS):
            settings_class.__annotations__[f"save_{name}"] = "bool"
            setattr(settings_class, f"save_{name}", option(False, writer.help))
    settings_class.__annotations__["save_labels"] = "str | None"
    settings_class.save_labels = option(  # type: ignore[attr-defined]
        None,
        "also write a dataset with the detections as annotations, for a person to correct: labels_FORMAT/,"
        " VIDEO_labels_FORMAT/ for videos; voc has no masks (default: none)",
        choices=[name.removeprefix(LABELS) for name in FORMATS if name.startswith(LABELS)],
    )
    return settings_class


@dataclass(kw_only=True)
@_with_format_fields
class _DetectSettings:
    input: list[str] = option(REQUIRED, "images or video to process")
    model: str = detection_model_option()
    imgsz: int | None = imgsz_option(
        "resize images so that the short side has N pixels and the long side at most 1.666 N (default: the model's)"
    )
    threshold: float | None = option(
        None, "minimum score of a detection of any class, 0..1 (default: the checkpoint's, else 0.5)", low=0, high=1
    )
    max_detections: int | None = detection_limit_option()
    nms: float | None = nms_option()
    one_label_per_object: bool = option(False, "apply NMS to all classes together, so that an object has one class")
    tile: str | None = tile_option()
    classes: list[str] | None = option(
        None, "only these classes, by name or category id (default: all)", metavar="NAME|ID"
    )
    device: str = device_option()
    precision: str | None = precision_option()
    proposals: int | None = proposals_option()
    fast: bool = fast_option()
    output_dir: Path = output_dir_option("outputs/detect")
    name: str | None = option(
        None,
        "write to OUTPUT_DIR/NAME, or to NAME_2, NAME_3 ... if it exists (default: the input's name)",
        metavar="NAME",
    )
    json_format: str | None = option(
        None,
        "format of the JSON file; a value other than detect also turns on JSON output. detect: all fields; coco,"
        " huggingface and roboflow: as these tools read it, in detections_FORMAT.json, for videos in VIDEO_coco.json"
        " or VIDEO_FORMAT.jsonl (default: detect)",
        choices=tuple(JSON_FORMATS),
    )
    mask_format: str | None = option(
        None,
        "masks in JSON: COCO's run-length encoding, or polygons that deviate by at most a pixel (default: rle, and"
        " polygons in roboflow; huggingface has no masks)",
        choices=MASK_FORMATS,
    )
    quiet: bool = option(False, "print only errors and the last line")

    def __post_init__(self) -> None:
        check_model(self.model, allow_auto=True)
        check_run_name(self.name)
        parse_tile(self.tile)

    def model_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of ``detect.load_model``."""
        return {name: getattr(self, name) for name in MODEL_SETTINGS}

    @property
    def formats(self) -> list[str]:
        """Names in FORMATS of the output formats to write."""
        labels = getattr(self, "save_labels", None)
        chosen = {name for name in FORMATS if getattr(self, f"save_{name}", name == f"{LABELS}{labels}")}
        if self.json_format is not None:
            chosen = chosen - {"json"} | {JSON_FORMATS[self.json_format]}
        return [name for name in FORMATS if name in chosen]


@dataclass(kw_only=True)
class DetectImageSettings(DrawingStyle, _DetectSettings):  # the fields of the latter come first
    input: list[str] = option(
        REQUIRED,
        "images, folders of images, patterns such as 'in/*.jpg', and text files (.txt) with the path of an image on"
        " each line",
        metavar="FILE|DIR|GLOB",
    )
    annotated: bool = option(True, "write a copy of each image with its detections drawn on it")
    skip_existing: bool = option(
        False,
        "continue in OUTPUT_DIR/NAME if it exists: skip the images that are finished there, and write the files about"
        " all images anew",
    )
    verbose: bool = option(False, "print a line for each image, even for more than 10 images")
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
        _DetectSettings.__post_init__(self)
        DrawingStyle.__post_init__(self)
        if not (self.annotated or self.formats):
            raise UsageError("`annotated=False` without another output writes nothing; add one such as `save_json`")
        if self.verbose and self.quiet:
            raise UsageError("`verbose` excludes `quiet`")
        given = self.rescale_16bit
        if given is not None and (len(given) != 2 or given[0] >= given[1]):
            raise UsageError("`rescale_16bit` takes two gray values, the lower one first, such as 0 4095")

    @property
    def gray_range(self) -> tuple[int, int] | None:
        """``rescale_16bit`` as (black, white); None if it is not given."""
        return None if self.rescale_16bit is None else (self.rescale_16bit[0], self.rescale_16bit[1])


@dataclass(kw_only=True)
class DetectVideoSettings(DrawingStyle, _DetectSettings):
    input: list[str] = option(
        REQUIRED,
        "a video file, the number of a camera, or the URL of a stream such as rtsp://...; frames of cameras and live"
        " streams that arrive while the model is busy are skipped, and Ctrl-C ends the recording",
        metavar="FILE|N|URL",
        single=True,
    )
    stride: int = option(1, "run the model on every Nth frame and repeat its detections on the others", low=1)
    max_frames: int | None = option(None, "stop after N frames (default: the whole video, or until Ctrl-C)", low=1)
    batch_size: int | None = option(
        None,
        "number of frames per forward pass (default: 8 on a GPU, else 1; always 1 for cameras and live streams)",
        low=1,
    )
    track: bool = option(
        False,
        "track objects: each has a number and a color that it keeps, and a trail; also write VIDEO_tracks.csv and"
        " VIDEO_tracks.json with a row per object",
    )
    count_line: str | None = option(
        None,
        "count the objects that cross a line between two points, in pixels of the frame, per class and direction;"
        " implies --track (default: no line)",
        metavar="X1,Y1,X2,Y2",
    )
    show: bool = option(False, "show the frames in a window; q, Escape and closing it end the recording")

    def __post_init__(self) -> None:
        _DetectSettings.__post_init__(self)
        DrawingStyle.__post_init__(self)
        if self.count_line is not None:
            CountLine.parse(self.count_line)
        if len(self.input) != 1:
            raise UsageError(f"`input` takes one video, not {len(self.input)}; run the program once for each video")

    @property
    def line(self) -> CountLine | None:
        """``count_line`` as a CountLine; None if it is not given."""
        return None if self.count_line is None else CountLine.parse(self.count_line)
