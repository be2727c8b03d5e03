"""Settings of the subcommands of doctor.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, FORMATS
from detect.data.augmentation import PRESET_NAMES
from detect.data.exporters import EXPORTERS
from detect.options import REQUIRED, option

TARGETS = tuple(EXPORTERS)


@dataclass(kw_only=True)
class DoctorSettings:
    """Settings that all subcommands share."""

    data: str = option(REQUIRED, DATA, metavar="DATA", positional=True)
    data_root: Path | None = option(
        None, "folder with the files of a dataset given by name (default: datasets/NAME)", metavar="DIR"
    )
    format: str = option("auto", "annotation format, for a folder that contains several", choices=FORMATS)
    quiet: bool = option(False, "hide progress bars")


@dataclass(kw_only=True)
class CheckSettings(DoctorSettings):
    """Report the statistics and all problems of a dataset; the exit status is 3 for errors or warnings."""

    json: bool = option(False, "print the report as JSON")


@dataclass(kw_only=True)
class FixSettings(DoctorSettings):
    """Write a repaired copy of a dataset as COCO JSON, with a ledger of every change."""

    output_dir: Path = option(REQUIRED, "new folder for the repaired copy", metavar="DIR")


@dataclass(kw_only=True)
class ConvertSettings(DoctorSettings):
    """Write a copy of a dataset in another annotation format."""

    to: str = option(REQUIRED, "annotation format to write", choices=TARGETS)
    output_dir: Path = option(REQUIRED, "new folder for the copy", metavar="DIR")


@dataclass(kw_only=True)
class PreviewSettings(DoctorSettings):
    """Draw images with their annotations, each as annotated and as augmented for training."""

    split: str = option("train", "split whose images are drawn", choices=("train", "val", "test"))
    images: int = option(12, "number of images", low=1, high=200)
    aug: str = option("default", "augmentation preset, same choices as in train.py", choices=PRESET_NAMES)
    seed: int = option(0, "seed of the choice of images and of the augmentation", low=0, high=2**32 - 1)
    output_dir: Path = option(Path("outputs/doctor"), "folder in which a new folder is created", metavar="DIR")
