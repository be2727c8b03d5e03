"""Evaluate a model on a split of a dataset by the COCO protocol, on original pixels.

Writes outputs/evaluate/NAME/metrics.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.flags import parse
from detect.cli.settings.shared import DATA, model_option
from detect.cli.startup import start_program
from detect.data.readers import FORMAT_CHOICES
from detect.evaluation import DEFAULT_EVALUATOR, DEFAULT_SPLIT, EVALUATORS
from detect.models.zoo import check_model, file_of_model
from detect.options import (
    check_run_name,
    device_option,
    imgsz_option,
    max_detections_option,
    option,
    output_dir_option,
)
from detect.progress import report
from detect.text import counted


@dataclass
class EvaluateSettings:
    """evaluate.py"""

    model: str = model_option()
    data: str = option("sample", DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "annotation format, for a folder with several", choices=FORMAT_CHOICES)
    split: str = option(DEFAULT_SPLIT, "split to evaluate", choices=("train", "val", "test"))
    imgsz: int | None = imgsz_option("short side of images in pixels (default: the checkpoint's)")
    max_detections: int | None = max_detections_option(
        "maximum number of detections per image; a value above 100 also replaces COCO's limit of 100 scored detections"
        " per image and class (default: the model's, and COCO's 100)"
    )
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


def main() -> None:
    settings, _ = parse(EvaluateSettings, "Evaluate a model on a split of a dataset with COCO's metrics.")

    # Imported late so that --help and errors in flags come before the seconds that torch takes to load.
    from detect.data.description import find_spec
    from detect.evaluation.evaluate import evaluate
    from detect.inference.load import load_model
    from detect.io.files import make_folder, new_run_folder
    from detect.io.links import publishable_link

    start_program(settings.quiet)
    make_folder(settings.output_dir)
    spec = find_spec(settings.data, settings.data_root, settings.format)
    spec.check_split(settings.split)
    limit = settings.max_detections
    predictor = load_model(settings.model, device=settings.device, imgsz=settings.imgsz, max_detections=limit)
    spec.prepare()  # downloads or renders a dataset, so it comes after everything that may fail at once
    if spec.discovery_note:
        print(spec.discovery_note)
    name = settings.name or f"{model_name(settings.model)}_{spec.name}_{settings.split}"
    with new_run_folder(settings.output_dir, name) as folder:
        result = evaluate(
            predictor,
            spec,
            split=settings.split,
            max_detections=limit,
            evaluator=settings.evaluator,
            intervals=settings.intervals,
        )
        images, objects = len(result.records), sum(map(len, result.records))
        size = f"{counted(images, 'image')}, {counted(objects, 'object')}"
        print(f"{publishable_link(settings.model)} on {spec.name} {settings.split}: {size}")
        speed = result.scores["speed"]
        print(f"{speed['seconds_per_image']:.3g} s per image including reading, on {speed['device']}")
        report(result.table())  # before it is written, since a full disk would lose it
        result.save(folder / "metrics.json")
        print(f"-> {folder / 'metrics.json'}")


def model_name(model: str) -> str:
    """Return the part of a run's name that stands for the model: for ``runs/kites/best.safetensors`` kites_best."""
    path = file_of_model(model)
    return f"{path.parent.name}_{path.stem}" if path.stem in ("best", "last") else path.stem
