"""The settings of benchmark.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, FORMATS, model
from detect.models.names import check_model
from detect.options import REQUIRED, device_option, option

COMMANDS = ("inference", "train", "data", "decoding", "results", "serve")


@dataclass
class BenchmarkSettings:
    """benchmark.py"""

    command: str = option(REQUIRED, "what to measure", choices=COMMANDS, positional=True)
    models: list[str] | None = option(
        None,
        "backbones and whole models, such as vovnet19 v2 (default: all, about 5 GB of memory; to train mobilenet_v2)",
        metavar="NAME",
    )
    heads: bool = option(False, "a line for each head of a backbone, not for Mask R-CNN's alone")
    imgsz: int = option(480, "short side in pixels; models made for less keep their own", low=32, high=8192)
    rounds: int | None = option(
        None,
        "how often everything is measured; the median counts (default: 5, of data and serve 3, of decoding 10)",
        low=1,
    )
    steps: int = option(24, "train: so many steps are measured in a round", low=1)
    pretrained: str | None = option(
        None,
        "train, results: weights to start from, as train.py --pretrained takes them (default: to train balloon, for"
        " results auto)",
        metavar="auto|none|FILE|URL",
    )
    runs: list[str] | None = option(
        None, "results: make only the runs whose names begin so, such as balloon_recipe (default: all)", metavar="NAME"
    )
    records: Path = option(
        Path("docs/results"), "results: what finished runs came to; none that is there is made again", metavar="DIR"
    )
    images: int = option(118_000, "data: so many images are listed", low=1, high=10_000_000)
    objects: int = option(
        860_000, "data: so many objects are annotated; a million take pycocotools 12 GB", low=1, high=10_000_000
    )
    data: str = option("balloon", f"train, decoding: {DATA}", metavar="NAME|PATH")
    data_root: Path | None = option(
        None,
        "train, decoding: folder of a NAME's files (default: datasets/NAME); results: the folder in which balloon/ and"
        " bccd/ lie (default: datasets)",
        metavar="DIR",
    )
    format: str = option("auto", "train, decoding: of the annotations in a folder that holds several", choices=FORMATS)
    clients: list[int] = option([1, 8, 64], "serve: so many callers at once, one number after the other", low=1)
    seconds: float = option(30.0, "serve: for so long, each", low=0.1)
    model: str = model("decoding, serve: ")
    device: str = device_option()
    write: Path | None = option(
        None, "put the table between the two marker lines of this file (default: only print it)", metavar="FILE.md"
    )
    json: Path | None = option(None, "write every single measurement here (default: nowhere)", metavar="FILE.json")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        check_model(self.model)

    @property
    def num_rounds(self) -> int:
        """``rounds``, or its default."""
        return self.rounds or {"inference": 5, "train": 5, "data": 3, "decoding": 10, "serve": 3}[self.command]
