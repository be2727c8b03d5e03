"""The settings of doctor.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, FORMATS
from detect.data.augmentation import PRESETS
from detect.errors import UsageError
from detect.options import REQUIRED, option

TARGETS = ("coco", "voc", "yolo", "via")  # the exporters'


@dataclass
class DoctorSettings:
    """doctor.py"""

    command: str = option(REQUIRED, "what to do", choices=("check", "fix", "convert", "preview"), positional=True)
    data: str = option(REQUIRED, DATA, metavar="DATA", positional=True)
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "of the annotations in a folder that holds several", choices=FORMATS)
    to: str | None = option(None, "convert: the format to write", choices=TARGETS)
    output_dir: Path | None = option(
        None, "fix and convert: the new dataset's folder; preview: where its folder goes", metavar="DIR"
    )
    split: str = option("train", "preview: of this split", choices=("train", "val", "test"))
    images: int = option(12, "preview: so many images", low=1, high=200)
    aug: str = option("default", "preview: as far changed as train.py --aug does", choices=PRESETS)
    json: bool = option(False, "check: print everything as JSON")
    seed: int = option(0, "preview: which images and how they are augmented", low=0, high=2**32 - 1)
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        needs = {"fix": ("output_dir",), "convert": ("to", "output_dir")}.get(self.command, ())
        for name in needs:
            if getattr(self, name) is None:
                raise UsageError(f"doctor.py {self.command} needs --{name.replace('_', '-')}")
