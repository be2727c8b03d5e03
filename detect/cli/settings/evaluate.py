"""The settings of evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, DATA_ROOT, model_option, tile_option
from detect.data.readers import FORMAT_CHOICES
from detect.evaluation import DEFAULT_EVALUATOR, DEFAULT_SPLIT, EVALUATORS, OUT_OF_FOLD, SELFTEST_IMAGES
from detect.evaluation.scored_model import check_scored_model, is_cross_validation, is_results_file
from detect.evaluation.threshold_settings import check_threshold_split, check_wanted
from detect.inference.tiling import parse_tile
from detect.options import (
    check_run_name,
    device_option,
    fast_option,
    imgsz_option,
    max_detections_option,
    option,
    output_dir_option,
    proposals_option,
)

OWN_SETTINGS = ("imgsz", "proposals", "fast", "tile")
"""Settings that apply to ``model``, and not to ``compare``."""
FINAL_MODEL = Path("final", "best.safetensors")  # in the folder of a cross-validation


@dataclass
class EvaluateSettings:
    """evaluate.py"""

    model: str = model_option(
        "; or a file of detections in COCO's results format: results.json; or the folder of a cross-validation, whose"
        " models are each tested on the fold that they were not trained on"
    )
    data: str = option("sample", DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, DATA_ROOT, metavar="DIR")
    format: str = option("auto", "annotation format, for a folder with several", choices=FORMAT_CHOICES)
    split: str = option(DEFAULT_SPLIT, "split to evaluate", choices=("train", "val", "test"))
    imgsz: int | None = imgsz_option("short side of images in pixels (default: the checkpoint's)")
    max_detections: int | None = max_detections_option(
        "maximum number of detections per image; a value above 100 also replaces COCO's limit of 100 scored detections"
        " per image and class (default: the model's, and COCO's 100)"
    )
    device: str = device_option()
    proposals: int | None = proposals_option()
    fast: bool = fast_option(
        "use the number format and the number of proposals that `tune_speed` stored in the checkpoint; `proposals`"
        " overrides the latter"
    )
    tile: str | None = tile_option()
    evaluator: str = option(
        DEFAULT_EVALUATOR, "program that computes the metrics; all give the same values", choices=EVALUATORS
    )
    intervals: bool = option(True, "compute 95 % confidence intervals of AP and AP50 over the images")
    compare: str | None = option(
        None,
        "baseline: another model or results.json to compare with on the same images; `imgsz`, `proposals`, `fast` and"
        " `tile` do not apply to it",
        metavar="NAME|FILE",
    )
    precision: float | None = option(
        None, "choose score thresholds on val: for each class the lowest one with this precision", low=0, high=1
    )
    recall: float | None = option(
        None, "choose score thresholds on val: for each class the highest one with this recall", low=0, high=1
    )
    write_thresholds: bool = option(
        False,
        "store score thresholds, chosen on val, in the checkpoint, as defaults of every program: for each class the"
        " one with the highest F1, or the one that `precision` or `recall` asks for",
    )
    tune_speed: bool = option(
        False,
        "instead of an evaluation, measure on val the loss of AP with fewer proposals and in 16-bit number formats,"
        " and store in the checkpoint what `fast` uses: a loss of at most 0.1 points by proposals, 0.3 by the format",
    )
    report: bool = option(
        False,
        "also write report.html, one file with verdict, likely causes, thresholds and images of the worst errors",
    )
    selftest: bool = option(
        False,
        "instead of an evaluation, test the pipeline from images and annotations to metrics: class names, color"
        " channels, batches, files and mirrored images; exit status 3 if a test fails",
    )
    selftest_images: int = option(
        SELFTEST_IMAGES, "number of images with objects on which the self-test runs the model", low=1
    )
    name: str | None = option(None, "name of the output folder (default: MODEL_DATA_SPLIT, numbered if it exists)")
    output_dir: Path = output_dir_option("outputs/evaluate")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        runs_other = self.compare is not None and not is_results_file(self.compare)
        if is_cross_validation(self.model):
            self.split = OUT_OF_FOLD
        else:
            device = "auto" if runs_other else self.device
            own = {name: getattr(self, name) for name in OWN_SETTINGS}
            check_scored_model(self.model, device=device, **own)
        if self.compare is not None:
            check_scored_model(self.compare)
        check_run_name(self.name)
        parse_tile(self.tile)
        check_wanted(self.precision, self.recall)
        if self.chooses_thresholds:
            check_threshold_split(self.split)

    @property
    def chooses_thresholds(self) -> bool:
        """Whether thresholds are to be chosen, and not only suggested."""
        return self.write_thresholds or self.precision is not None or self.recall is not None
