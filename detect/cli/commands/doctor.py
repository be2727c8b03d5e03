"""Look after a dataset before it is trained on: check it, fix it, convert it, look at it.

    python doctor.py check DATA                                       what is wrong, and how bad it is
    python doctor.py fix DATA --output-dir NEW                        a repaired copy, and a ledger of every change
    python doctor.py convert DATA --to coco|voc|yolo|via --output-dir NEW
    python doctor.py preview DATA                                     a sheet of images with their boxes and masks

Exit status of check: 3 where something is broken or hurts, else 0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.cli.settings import DoctorSettings
from detect.errors import UsageError

if TYPE_CHECKING:
    from detect.data.spec import DatasetSpec

ILL = 3
# The flags that not every command has.
FLAGS = {
    "to": {"convert"},
    "output_dir": {"fix", "convert", "preview"},
    "split": {"preview"},
    "images": {"preview"},
    "seed": {"preview"},
    "aug": {"preview"},
    "json": {"check"},
}
LEDGER = "ledger.jsonl"
OUTPUTS = Path("outputs/doctor")


def main() -> int:
    settings, given = parse(DoctorSettings, "Check, fix, convert and preview a dataset.")
    for name in given & FLAGS.keys():
        if settings.command not in FLAGS[name]:
            raise UsageError(f"--{name.replace('_', '-')} is for doctor.py {' and '.join(sorted(FLAGS[name]))}")

    from detect import progress, runtime
    from detect.data.description import find_spec

    progress.hide_bars(settings.quiet)
    runtime.configure_process()
    spec = find_spec(settings.data, settings.data_root, settings.format, keep=False)  # the original stays as it is
    spec.prepare()
    if spec.discovery_note and not settings.json:
        print(spec.discovery_note)
    output = settings.output_dir or OUTPUTS
    if settings.command != "check" and output.resolve().is_relative_to(spec.root.resolve()):
        raise UsageError(f"--output-dir {output} lies in the dataset itself, which stays as it is")
    return {"check": check, "fix": fix, "convert": convert, "preview": preview}[settings.command](spec, settings)


def check(spec: DatasetSpec, settings: DoctorSettings) -> int:
    """The dataset in numbers, and every problem with its cure."""
    from detect.data.quality.diagnosis import diagnose
    from detect.data.quality.report import lines, to_json

    diagnosis = diagnose(spec)
    if settings.json:
        print(json.dumps(to_json(diagnosis), indent=1))
    else:
        print("\n".join(lines(diagnosis)))
    return ILL if diagnosis.is_invalid else 0


def fix(spec: DatasetSpec, settings: DoctorSettings) -> int:
    """A repaired copy as COCO, and beside it the ledger of what was changed."""
    from detect.data.convert import convert
    from detect.data.quality.repair import FORMAT, ledger, repair

    assert settings.output_dir is not None  # the settings ask for it
    repaired = repair(spec)
    text = ledger.text(repaired.entries)
    convert(repaired.tables, repaired.class_names, FORMAT, settings.output_dir, repaired.names, {LEDGER: text})
    for line in ledger.counted(repaired.entries):
        print(line)
    print(f"-> {settings.output_dir}, every change in {settings.output_dir / LEDGER}")
    return 0


def convert(spec: DatasetSpec, settings: DoctorSettings) -> int:
    """The dataset in another format, and what that cannot hold."""
    from detect.data.convert import convert

    assert settings.to is not None and settings.output_dir is not None  # the settings ask for them
    class_names = spec.all_classes()
    tables = {split: spec.read(split, class_names, lenient=True)[1] for split in spec.splits}
    for loss in convert(tables, class_names, settings.to, settings.output_dir):
        print(f"{settings.to} cannot hold {loss.what}: {loss.count}")
    print(f"{sum(map(len, tables.values()))} images -> {settings.output_dir}")
    return 0


def preview(spec: DatasetSpec, settings: DoctorSettings) -> int:
    """A sheet of images as they are read and as training sees them."""
    from detect.cli.settings import TrainSettings
    from detect.data.augmentation.pipeline import TrainTransform
    from detect.data.quality.preview import write_sheet
    from detect.io.files import new_run_folder
    from detect.training.auto import Facts, image_size

    class_names, table = spec.read(settings.split, lenient=True)
    training = TrainSettings(aug=settings.aug)
    transform = TrainTransform(image_size(Facts.of(table)).value, training.augmentation)
    with new_run_folder(settings.output_dir or OUTPUTS, spec.name) as folder:
        path = folder / f"{settings.split}.png"
        names = write_sheet(path, table, class_names, transform, settings.images, settings.seed)
        print(f"{len(names)} of {len(table)} images of {settings.split}\n-> {path}")
    return 0
