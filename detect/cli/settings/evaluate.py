"""The settings of evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, FORMATS, model
from detect.models.names import check_model
from detect.options import check_run_name, device_option, option, output_dir_option

EVALUATORS = ("faster-coco-eval", "pycocotools")  # the table's, which takes longer to import


@dataclass
class EvaluateSettings:
    """evaluate.py"""

    model: str = model()
    data: str = option("sample", DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "of the annotations in a folder that holds several", choices=FORMATS)
    split: str = option("test", "train, val or test", choices=("train", "val", "test"))
    imgsz: int | None = option(None, "short side in pixels (default: the checkpoint's)", low=32, high=8192)
    device: str = device_option()
    evaluator: str = option("faster-coco-eval", "which finds the same as pycocotools, sooner", choices=EVALUATORS)
    intervals: bool = option(False, "say how far the choice of images moves AP and AP50: 95 % bootstrap intervals")
    name: str | None = option(None, "the run's folder (default: MODELDATA_SPLIT, numbered when taken)")
    output_dir: Path = output_dir_option("outputs/evaluate")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        check_model(self.model)
        check_run_name(self.name)
