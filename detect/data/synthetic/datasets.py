"""Rendered datasets, which make every program usable without a download.

``python -m detect.data.synthetic.datasets input`` renders the balloon images and the video of input/ again, with their
ground truth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect import progress
from detect.data.synthetic import scenes, shapes
from detect.data.synthetic.canvas import Image
from detect.data.synthetic.coco_file import CocoGroundTruth
from detect.data.synthetic.inputs import render_inputs
from detect.errors import DataError, UsageError
from detect.io.files import filled_folder, make_folder
from detect.text import unknown

SPLITS = ("train", "val", "test")
# Names an earlier module; kept, so that the files of rendered datasets stay byte-identical.
_DESCRIPTION = "rendered by detect.data.sample"
_IDS_PER_SPLIT = 10_000  # disjoint ranges, so that an id of another split never matches by accident


@dataclass(frozen=True)
class RenderedDataset:
    """A rendered dataset.

    render_image: function of a generator and the index of the image in its split.
    categories: category id -> name.
    counts: number of images per split.
    """

    render_image: Callable[[np.random.Generator, int], Image]
    categories: Mapping[int, str]
    counts: Mapping[str, int]


KINDS = {
    "sample": RenderedDataset(
        scenes.render_image, {scenes.BALLOON_ID: "balloon"}, {"train": 60, "val": 20, "test": 20}
    ),
    "shapes": RenderedDataset(shapes.render_image, shapes.CATEGORIES, {"train": 40, "val": 12, "test": 12}),
}


def render_dataset(kind: str, root: Path, seed: int) -> None:
    """Render the dataset ``kind``, a key of ``KINDS``, into the new folder ``root``.

    Writes {train,val,test}/*.jpg and {train,val,test}.json (COCO with RLE masks). The same seed gives the same bytes.
    ``root`` is created only when everything is rendered. Raises UsageError for an unknown kind, and DiskError,
    MediaError or DataError if the folder cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(unknown("rendered dataset", kind, KINDS))
    make_folder(root.parent)
    try:
        with (
            filled_folder(root) as temporary,
            progress.bar(total=sum(KINDS[kind].counts.values()), desc=f"rendering {root.name}") as bar,
        ):
            for split in SPLITS:
                render_split(KINDS[kind], temporary, split, seed, KINDS[kind].counts[split], bar.update)
    except OSError as error:
        # Another process may have rendered the same dataset meanwhile; its files are identical.
        if not all((root / f"{split}.json").is_file() for split in SPLITS):
            raise DataError(f"cannot render into {root}: {error.strerror}") from None


def render_split(
    dataset: RenderedDataset,
    root: Path,
    split: str,
    seed: int,
    count: int,
    on_image: Callable[[], object] = lambda: None,
) -> None:
    """Render the first ``count`` images of a split and its ground truth into ``root``.

    An image depends only on the seed, the split and its index. on_image: called after each image.
    """
    folder = make_folder(root / split)
    number = SPLITS.index(split)
    ground_truth = CocoGroundTruth(
        dataset.categories, f"{_DESCRIPTION}, seed {seed}", first_id=_IDS_PER_SPLIT * number + 1
    )
    for index in range(count):
        image = dataset.render_image(np.random.default_rng([seed, number, index]), index)
        ground_truth.write_image(folder / f"{split}_{index:03d}.jpg", image)
        on_image()
    ground_truth.write(root / f"{split}.json")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m detect.data.synthetic.datasets FOLDER", file=sys.stderr)
        sys.exit(2)
    render_inputs(make_folder(Path(sys.argv[1])))
