"""Check, fix, convert or preview a dataset before training on it.

    python doctor.py check DATA                                       report statistics and all problems
    python doctor.py check DATA --model M                             also annotation errors that a model suspects
    python doctor.py fix DATA --output-dir NEW                        write a repaired copy and a ledger of all changes
    python doctor.py convert DATA --to coco|voc|yolo|via|labelme --output-dir NEW
    python doctor.py preview DATA                                     draw images with their boxes and masks

check exits with status 3 if the dataset has errors or warnings, and with 0 otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detect.cli.flags import parse_command
from detect.cli.settings.shared import DATA, DATA_ROOT
from detect.cli.startup import start_program
from detect.data.augmentation import PRESET_NAMES
from detect.data.exporters import EXPORTERS
from detect.data.readers import FORMAT_CHOICES
from detect.errors import UsageError
from detect.models.zoo import check_model
from detect.options import REQUIRED, device_option, imgsz_option, option
from detect.progress import report
from detect.text import counted

if TYPE_CHECKING:
    from detect.data.quality.diagnosis import Diagnosis
    from detect.data.spec import DatasetSpec
    from detect.evaluation.label_check import LabelErrors
    from detect.inference.predictor import Predictor

FAULTS_FOUND = 3
LEDGER = "ledger.jsonl"


@dataclass(kw_only=True)
class DoctorSettings:
    """Settings that all subcommands share."""

    data: str = option(REQUIRED, DATA, metavar="DATA", positional=True)
    data_root: Path | None = option(None, DATA_ROOT, metavar="DIR")
    format: str = option("auto", "annotation format, for a folder that contains several", choices=FORMAT_CHOICES)
    quiet: bool = option(False, "hide progress bars")


@dataclass(kw_only=True)
class CheckSettings(DoctorSettings):
    """Report the statistics and all problems of a dataset; the exit status is 3 for errors or warnings."""

    json: bool = option(False, "print the report as JSON")
    model: str | None = option(
        None,
        "also list suspected annotation errors, where this model disagrees: a name, or a checkpoint (a file or its"
        " URL); it should have been trained on other images",
        metavar="NAME|FILE|URL",
    )
    device: str = device_option()
    imgsz: int | None = imgsz_option("short side of images in pixels (default: the checkpoint's)")
    output_dir: Path = option(
        Path("outputs/doctor"), "folder that receives a new folder, if a model is given", metavar="DIR"
    )

    def __post_init__(self) -> None:
        if self.model is not None:
            check_model(self.model)


@dataclass(kw_only=True)
class FixSettings(DoctorSettings):
    """Write a repaired copy of a dataset as COCO JSON, with a ledger of every change."""

    merge_suffixes: bool = option(
        False, "merge classes that only number the objects of each image: cat-0 and cat-1 become cat"
    )
    output_dir: Path = option(REQUIRED, "new folder for the repaired copy", metavar="DIR")
    iscrowd: str = option(
        "keep",
        "'ignore' reads each crowd as one object; CVAT marks each brush mask as a crowd",
        choices=("keep", "ignore"),
    )
    rescale_16bit: bool = option(
        False,
        "write 16-bit gray images as 8 bits, scaled so that 99 % of all pixels of the dataset use all levels; prints"
        " the two gray values for detect_image.py --rescale-16bit",
    )


@dataclass(kw_only=True)
class ConvertSettings(DoctorSettings):
    """Write a copy of a dataset in another annotation format."""

    to: str = option(REQUIRED, "annotation format to write", choices=tuple(EXPORTERS))
    output_dir: Path = option(REQUIRED, "new folder for the converted copy", metavar="DIR")


@dataclass(kw_only=True)
class PreviewSettings(DoctorSettings):
    """Draw images with their annotations, each as annotated and as augmented for training."""

    split: str = option("train", "split whose images are drawn", choices=("train", "val", "test"))
    images: int = option(12, "number of images", low=1, high=200)
    aug: str = option(
        "default", "augmentation preset of the augmented images, as `aug` of train.py", choices=PRESET_NAMES
    )
    seed: int = option(0, "seed of the choice of images and of the augmentation", low=0, high=2**32 - 1)
    output_dir: Path = option(Path("outputs/doctor"), "folder in which a new folder is created", metavar="DIR")


COMMANDS = {"check": CheckSettings, "fix": FixSettings, "convert": ConvertSettings, "preview": PreviewSettings}


def main() -> int:
    """Run one subcommand and return the exit status."""
    command, settings, _ = parse_command(COMMANDS, "Check, fix, convert or preview a dataset.")

    from detect.data.description import find_spec

    start_program(settings.quiet)
    # Splits that are chosen at random are not saved: doctor.py never writes into the dataset.
    spec = find_spec(settings.data, settings.data_root, settings.format, save_splits=False)
    spec.prepare()
    if spec.discovery_note and not getattr(settings, "json", False):
        report(spec.discovery_note)
    if output := getattr(settings, "output_dir", None):
        _check_outside(output, spec.root)
    functions: dict[str, Any] = {"check": check, "fix": fix, "convert": convert, "preview": preview}
    return functions[command](spec, settings)


def _check_outside(output: Path, root: Path) -> None:
    if output.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"`output_dir={output}` is inside the dataset {root}, which stays unchanged; use another folder"
        )


def check(spec: DatasetSpec, settings: CheckSettings) -> int:
    """Print the statistics and every problem with its fix."""
    from detect.data.quality.diagnosis import diagnose
    from detect.data.quality.report import lines, to_json

    model = None if settings.model is None else _load_model(settings, spec)
    diagnosis = diagnose(spec)
    if not settings.json:
        print("\n".join(lines(diagnosis)), flush=True)  # before the model runs, which takes long
    suspects = None if model is None else _suspect_labels(model, diagnosis, settings)
    if settings.json:
        found = {} if suspects is None else {"label_errors": suspects.to_dict()}
        print(json.dumps(to_json(diagnosis) | found, indent=1))
    return FAULTS_FOUND if diagnosis.is_invalid else 0


def _load_model(settings: CheckSettings, spec: DatasetSpec) -> Predictor:
    """Load the model; one that has no class of the dataset is an error before anything is read or computed."""
    from detect.evaluation.predict import check_shared_classes
    from detect.inference.load import load_model

    assert settings.model is not None
    model = load_model(settings.model, device=settings.device, imgsz=settings.imgsz)
    check_shared_classes(model.class_names, spec.all_classes(), f"dataset '{spec.name}'")
    return model


def _suspect_labels(model: Predictor, diagnosis: Diagnosis, settings: CheckSettings) -> LabelErrors:
    """Write the suspected annotation errors into a new folder, and print the first ones."""
    from detect.evaluation.label_check import label_errors_of
    from detect.evaluation.label_texts import lines
    from detect.io.files import new_run_folder

    found = label_errors_of(model, diagnosis.name, diagnosis.class_names, diagnosis.tables)
    with new_run_folder(settings.output_dir, diagnosis.name) as folder:
        files = found.save(folder)
    if not settings.json:
        report("\n".join(["", *lines(found), *(f"-> {path}" for path in files)]))
    return found


def fix(spec: DatasetSpec, settings: FixSettings) -> int:
    """Write a repaired copy and the ledger of the changes."""
    from detect.data.convert import convert
    from detect.data.quality.repair import FORMAT, ledger, repair
    from detect.data.quality.repair.gray_levels import dataset_gray_range, rescaling_copy

    repaired, copy = repair(spec, settings.iscrowd, merge_suffixes=settings.merge_suffixes), None
    if settings.rescale_16bit:
        (low, high), number = dataset_gray_range(repaired.tables.values())
        copy = rescaling_copy((low, high))
        change = {"change": "16-bit images rescaled", "reasons": ["few_gray_levels"], "before": [low, high]}
        repaired.entries.append({"split": None, **change, "after": [0, 255]})
        report(
            f"{counted(number, '16-bit image')}: the gray values {low} to {high} become 0 to 255; for new images use"
            f" the same constants: detect_image.py --rescale-16bit {low} {high}"
        )
    text = ledger.to_jsonl(repaired.entries)
    convert(repaired.tables, repaired.class_names, FORMAT, settings.output_dir, repaired.names, {LEDGER: text}, copy)
    for line in ledger.summary_lines(repaired.entries):
        report(line)
    report(f"-> {settings.output_dir}; {LEDGER} in it lists every change")
    return 0


def convert(spec: DatasetSpec, settings: ConvertSettings) -> int:
    """Write the dataset in another format and print what that format cannot represent."""
    from detect.data.convert import convert

    class_names = spec.all_classes()
    tables = {split: spec.read(split, class_names, lenient=True)[1] for split in spec.splits}
    for what, count in convert(tables, class_names, settings.to, settings.output_dir).items():
        report(f"{settings.to} cannot represent {what}: {count}")
    report(f"{counted(sum(map(len, tables.values())), 'image')} -> {settings.output_dir}")
    return 0


def preview(spec: DatasetSpec, settings: PreviewSettings) -> int:
    """Draw a contact sheet of images as annotated and as augmented for training."""
    from detect.data.augmentation import Augmentation
    from detect.data.augmentation.pipeline import TrainTransform
    from detect.data.quality.preview import write_sheet
    from detect.io.files import new_run_folder
    from detect.training.auto.image_size import fit_image_size
    from detect.training.auto.statistics import DatasetStatistics

    class_names, table = spec.read(settings.split, lenient=True)
    imgsz = fit_image_size(DatasetStatistics.from_table(table)).value
    transform = TrainTransform(imgsz, Augmentation(settings.aug))
    with new_run_folder(settings.output_dir, spec.name) as folder:
        path = folder / f"{settings.split}.png"
        names = write_sheet(path, table, class_names, transform, settings.images, settings.seed)
        report(f"{len(names)} of {counted(len(table), 'image')} of {settings.split}\n-> {path}")
    return 0
