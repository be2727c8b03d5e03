"""The settings of evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, FORMATS, model_option
from detect.evaluation import DEFAULT_EVALUATOR, DEFAULT_SPLIT, EVALUATORS
from detect.models.zoo import check_model
from detect.options import check_run_name, device_option, option, output_dir_option


@dataclass
class EvaluateSettings:
    """evaluate.py"""

    model: str = model_option()
    data: str = option("sample", DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "annotation format, for a folder with several", choices=FORMATS)
    split: str = option(DEFAULT_SPLIT, "split to evaluate", choices=("train", "val", "test"))
    imgsz: int | None = option(None, "short side of images in pixels (default: the checkpoint's)", low=32, high=8192)
    device: str = device_option()
    evaluator: str = option(
        DEFAULT_EVALUATOR, "library that computes the metrics; both agree", choices=tuple(EVALUATORS)
    )
    intervals: bool = option(False, "compute 95 % bootstrap intervals of AP and AP50 over the images")
    name: str | None = option(None, "name of the output folder (default: MODEL_DATA_SPLIT, numbered if it exists)")
    output_dir: Path = output_dir_option("outputs/evaluate")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        check_model(self.model)
        check_run_name(self.name)
