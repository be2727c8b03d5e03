"""``load_dataset``: plain images and complete targets for torch and torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.any_format import BOX, HW, SUFFIXES, WRITE, put, put_text
from helpers.converted import one_image
from torch.utils.data import DataLoader

from detect.data.dataset import collate
from detect.data.load import SplitDataset, load_dataset
from detect.errors import UsageError
from detect.media.images import read_image

NAMES = [f"{i}.png" for i in range(10)]
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images with one kite each and random splits of 7, 2 and 1 images."""
    put(tmp_path / "kites", "coco", "images", "labels.json", NAMES)
    return tmp_path / "kites"


def test_dataset_has_a_name_classes_and_splits(folder):
    dataset = load_dataset(folder)
    assert (dataset.name, dataset.splits) == ("kites", ("train", "val", "test"))
    assert dataset.class_names.names == ("kite",)
    assert [len(dataset.split(name)) for name in dataset.splits] == [7, 2, 1]
    assert (folder / "splits.yaml").is_file() and dataset.split("val") is dataset.split("val")


def test_unknown_split_lists_the_known_ones(folder):
    with pytest.raises(UsageError, match=r"unknown split 'trian': did you mean train.*known are train, val, test"):
        load_dataset(folder).split("trian")


def test_unknown_format_suggests_similar_names(folder):
    with pytest.raises(UsageError, match="unknown format 'coko': did you mean coco"):
        load_dataset(folder, format="coko")


@pytest.mark.parametrize("format", WRITE)
def test_every_format_gives_torchvisions_items(tmp_path, format):
    put(tmp_path / "set", format, "", f"a{SUFFIXES[format]}" if format in SUFFIXES else "", NAMES)
    split = load_dataset(tmp_path / "set", format=format).split("train")
    assert len(list(split)) == 7
    image, target = split[0]
    assert image.dtype == torch.float32 and image.shape == (3, *HW) and 0 <= image.min() < image.max() <= 1
    pixels = read_image(split.records[0].path)
    assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(pixels).permute(2, 0, 1))
    assert target["boxes"].dtype == torch.float32 and torch.allclose(
        target["boxes"], torch.tensor([BOX]).float(), atol=0.01
    )
    assert target["labels"].dtype == torch.int64 and target["labels"].tolist() == [1]
    assert target["area"].dtype == torch.float32 and target["area"].tolist() == pytest.approx([300], abs=0.1)
    assert target["iscrowd"].dtype == torch.int64 and target["iscrowd"].tolist() == [0]
    assert type(target["image_id"]) is int and target["image_id"] == split.records[0].image_id
    assert ("masks" in target) == (format == "masks"), "boxes alone are no masks"


def test_masks_are_bitmaps_and_crowds_are_marked(tmp_path):
    class_names, table = one_image(tmp_path, {"segmentation": SQUARE}, {"segmentation": SQUARE, "iscrowd": 1})
    image, target = SplitDataset(table, class_names)[0]
    assert target["masks"].dtype == torch.uint8 and target["masks"].shape == (2, *image.shape[1:])
    assert target["masks"][:, 10:30, 10:30].all() and target["masks"].sum() == 2 * 400
    assert target["iscrowd"].tolist() == [0, 1]


def test_image_without_objects_has_empty_tensors(tmp_path):
    class_names, table = one_image(tmp_path)
    _, target = SplitDataset(table, class_names)[0]
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, 60, 80)
    assert target["labels"].shape == target["area"].shape == target["iscrowd"].shape == (0,)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
def test_split_works_in_a_data_loader_with_workers(folder):
    split = load_dataset(folder).split("train")
    batches = list(DataLoader(split, batch_size=3, num_workers=1, collate_fn=collate))
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    assert {target["image_id"] for _, targets in batches for target in targets} == set(
        split.records.image_ids.tolist()
    )


def test_labels_agree_between_splits(tmp_path):
    """The classes of all splits are one list, even if a split shows only some of them."""
    put(tmp_path / "set", "voc", "train", "train", NAMES[:2])
    put(tmp_path / "set", "voc", "val", "val", NAMES[:1])
    xml = tmp_path / "set" / "train" / "0.xml"
    put_text(xml, xml.read_text().replace("kite", "bird"))
    dataset = load_dataset(tmp_path / "set")
    assert dataset.class_names.names == ("bird", "kite")
    assert dataset.split("val")[0][1]["labels"].tolist() == [2]
    assert np.concatenate([r.labels for r in dataset.split("train").records]).tolist() == [1, 2]


def test_an_unknown_keyword_names_the_nearest_one(tmp_path):
    with pytest.raises(TypeError, match=r"'fromat'; did you mean format\?"):
        load_dataset(tmp_path, fromat="coco")
