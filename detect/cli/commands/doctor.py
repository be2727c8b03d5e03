"""Check, fix, convert or preview a dataset before training on it.

    python doctor.py check DATA                                       report statistics and all problems
    python doctor.py fix DATA --output-dir NEW                        write a repaired copy and a ledger of all changes
    python doctor.py convert DATA --to coco|voc|yolo|via --output-dir NEW
    python doctor.py preview DATA                                     draw images with their boxes and masks

check exits with status 3 if the dataset has errors or warnings, and with 0 otherwise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detect.cli.flags import parse_command
from detect.cli.settings.doctor import CheckSettings, ConvertSettings, FixSettings, PreviewSettings
from detect.cli.startup import start_program
from detect.errors import UsageError
from detect.progress import report
from detect.text import counted

if TYPE_CHECKING:
    from detect.data.spec import DatasetSpec

FAULTS_FOUND = 3
LEDGER = "ledger.jsonl"
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

    diagnosis = diagnose(spec)
    if settings.json:
        print(json.dumps(to_json(diagnosis), indent=1))
    else:
        print("\n".join(lines(diagnosis)))
    return FAULTS_FOUND if diagnosis.is_invalid else 0


def fix(spec: DatasetSpec, settings: FixSettings) -> int:
    """Write a repaired copy and the ledger of the changes."""
    from detect.data.convert import convert
    from detect.data.quality.repair import FORMAT, ledger, repair

    repaired = repair(spec)
    text = ledger.to_jsonl(repaired.entries)
    convert(repaired.tables, repaired.class_names, FORMAT, settings.output_dir, repaired.names, {LEDGER: text})
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
