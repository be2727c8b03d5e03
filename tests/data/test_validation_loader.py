"""Batches of a validation split: every image once, at its size and as an example for losses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detect.data.description import find_spec
from detect.data.table import Table
from detect.data.validation_loader import ValidationItem, ValidationLoader

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core

SIZES = (
    (40, 60),
    (60, 40),
    (80, 120),
    (40, 60),
    (40, 60),
)  # (height, width); the first and third are of one resized size


@pytest.fixture
def records(tmp_path: Path) -> Table:
    images = []
    for i, (height, width) in enumerate(SIZES):
        Image.fromarray(np.full((height, width, 3), 10 * i, np.uint8)).save(tmp_path / f"{i}.png")
        images.append({"id": i + 1, "file_name": f"{i}.png", "height": height, "width": width})
    square = {"category_id": 1, "bbox": [4, 4, 16, 16], "area": 256, "segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]]}
    objects = [square | {"id": i + 1, "image_id": i + 1} for i in range(len(SIZES))]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "kite"}]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    (tmp_path / "train.json").write_text(json.dumps(content))
    return find_spec(str(tmp_path)).read("val")[1]


def items(records: Table, batch_size: int = 2, workers: int = 0, **options: int) -> list[list[ValidationItem]]:
    loader = ValidationLoader(records, 32, batch_size, workers, with_examples=True, with_masks=True, **options)
    assert len(loader) == len(list(loader))
    return list(loader)


def test_images_of_a_batch_have_one_resized_size(records):
    batches = items(records)
    assert sorted(item.index for batch in batches for item in batch) == list(range(len(SIZES)))
    for batch in batches:
        assert len({item.example[0].shape for item in batch}) == 1
    assert [[item.index for item in batch] for batch in batches] == [[0, 2], [3, 4], [1]]


def test_an_item_has_the_image_at_its_size_and_a_resized_example(records):
    for batch in items(records):
        for item in batch:
            (height, width), (image, target) = SIZES[item.index], item.example
            assert item.image.shape == (height, width, 3) and (item.image == 10 * item.index).all()
            scale = 32 / min(height, width)
            assert image.shape == (3, round(height * scale), round(width * scale))
            assert torch.allclose(target["boxes"], torch.tensor([[4.0, 4, 20, 20]]) * scale, atol=0.2)
            assert target["masks"].shape[1:] == image.shape[1:] and target["image_id"] == item.index + 1


def test_worker_processes_return_the_same_items(records):
    for one, other in zip(items(records), items(records, workers=1), strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.index == b.index and (a.image == b.image).all() and (a.example[0] == b.example[0]).all()


def test_processes_share_the_batches(records):
    whole = [[item.index for item in batch] for batch in items(records)]
    parts = [[[i.index for i in b] for b in items(records, rank=rank, world_size=2)] for rank in range(2)]
    assert parts == [whole[::2], whole[1::2]]


def test_an_unreadable_image_is_named_and_has_no_pixels(records):
    records.path(1).write_bytes(b"no image")
    (item,) = items(records)[-1]
    assert item.image is None and item.example is None and list(item.problems.unreadable) == [str(records.path(1))]
