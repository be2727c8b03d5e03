"""The datasets that the project renders itself, so that every program runs with nothing to download.

``python -m detect.data.synthetic.datasets input`` renders the images and the video with balloons in input/ anew.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect import progress
from detect.data.synthetic import scenes, shapes
from detect.data.synthetic.canvas import Image
from detect.data.synthetic.ground_truth import CocoGroundTruth
from detect.data.synthetic.inputs import render_inputs
from detect.errors import DataError, UsageError
from detect.io.files import make_folder
from detect.media.images import write_image
from detect.text import unknown

SPLITS = ("train", "val", "test")
_IDS_A_SPLIT = 10_000  # apart, so that an id taken from another split cannot fit by chance


@dataclass(frozen=True)
class Kind:
    """A rendered dataset: what draws its images, its categories, how many images a split has."""

    image_of: Callable[[np.random.Generator, int], Image]
    categories: Mapping[int, str]
    counts: Mapping[str, int]


KINDS = {
    "sample": Kind(scenes.image_of, {scenes.BALLOON_ID: "balloon"}, {"train": 60, "val": 20, "test": 20}),
    "shapes": Kind(shapes.image_of, shapes.CATEGORIES, {"train": 40, "val": 12, "test": 12}),
}


def render_dataset(kind: str, root: Path, seed: int) -> None:
    """Render the dataset ``kind`` (sample or shapes) into the new folder ``root``.

    Writes {train,val,test}/*.jpg and {train,val,test}.json (COCO, masks as run-length codes); the same seed
    gives the same bytes. ``root`` appears only when all is done. Raises UsageError for an unknown kind and
    MediaError or DataError where nothing can be written.
    """
    if kind not in KINDS:
        raise UsageError(unknown("rendered dataset", kind, KINDS))
    make_folder(root.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp makes it private
        total = sum(KINDS[kind].counts.values())
        with progress.bar(total=total, desc=f"rendering {root.name}") as bar:
            for split in SPLITS:
                render_split(KINDS[kind], temporary, split, seed, KINDS[kind].counts[split], bar.update)
        _move(temporary, root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def render_split(
    kind: Kind, root: Path, split: str, seed: int, count: int, each: Callable[[], object] = lambda: None
) -> None:
    """Render the first ``count`` images of a split and its ground truth into ``root``; calls ``each`` after each.

    An image depends on its seed, split and number only.
    """
    folder = make_folder(root / split)
    number = SPLITS.index(split)
    ground_truth = CocoGroundTruth(
        kind.categories, f"rendered by detect.data.synthetic.datasets, seed {seed}", first_id=_IDS_A_SPLIT * number + 1
    )
    for index in range(count):
        image = kind.image_of(np.random.default_rng([seed, number, index]), index)
        name = f"{split}_{index:03d}.jpg"
        write_image(folder / name, image.image)
        image_id = ground_truth.add_image(name, image.image.shape[:2])
        for category_id, mask in zip(image.category_ids, image.masks, strict=True):
            ground_truth.add_annotation(image_id, category_id, mask)
        each()
    ground_truth.write(root / f"{split}.json")


def _move(temporary: Path, root: Path) -> None:
    try:
        temporary.rename(root)
    except OSError as error:
        # Another process may have rendered the same at the same time: its images are equal to ours.
        if not all((root / f"{split}.json").is_file() for split in SPLITS):
            raise DataError(f"cannot render into {root}: {error.strerror}") from None


def main() -> None:
    """Render input/'s balloons."""
    parser = argparse.ArgumentParser(description="Render balloons_1.jpg, balloons_2.jpg and video_1.mp4.")
    parser.add_argument("folder", type=Path, help="where they go, with their ground truth beside them")
    render_inputs(make_folder(parser.parse_args().folder))


if __name__ == "__main__":
    main()
