"""The training dataset: torchvision's targets, independent of workers, different in every epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.image_bytes import as_it_lies
from PIL import Image

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset, collate, read_record, to_tensor
from detect.data.loader import TrainLoader
from detect.errors import DataError
from detect.structures import masks
from detect.structures.image_record import ImageRecord

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core

HW = (60, 90)
BOXES = ((5, 5, 40, 30), (50, 20, 85, 55), (0, 0, 90, 60))  # the last is a crowd


def polygon(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def record(path: Path, image_id: int, n: int = 3, with_masks: bool = True) -> ImageRecord:
    """Return a record with the first ``n`` of ``BOXES`` and the labels 3, 1, 2."""
    encodings: list = [polygon(*BOXES[0]), masks.from_polygons(polygon(*BOXES[1]), HW), polygon(*BOXES[2])]
    return ImageRecord(
        path=path,
        image_hw=HW,
        image_id=image_id,
        boxes=np.float32(BOXES[:n]).reshape(-1, 4),
        labels=np.array([3, 1, 2][:n], np.int64),
        areas=np.full(n, 100.0),
        iscrowd=np.array([False, False, True][:n], bool),
        annotation_ids=np.arange(n),
        masks=encodings[:n] if with_masks else None,
    )


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Six noise images; the last has no objects."""
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (*HW, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return [record(tmp_path / f"{i}.png", 100 + i, n=0 if i == 5 else 3) for i in range(6)]


def usual(imgsz: int, jitter: tuple[float, float] = (0.6, 1.25), copy_paste: float = 0.0) -> TrainTransform:
    """Return the default augmentation with these changes."""
    return TrainTransform(imgsz, Augmentation(jitter=jitter, copy_paste=copy_paste))


def dataset(records: list[ImageRecord], seed: int = 0, with_masks: bool = True) -> DetectionDataset:
    return DetectionDataset(records, usual(64), with_masks=with_masks, seed=seed)


def batches(records: list[ImageRecord], workers: int = 0, epoch: int = 0, seed: int = 0) -> list:
    return list(TrainLoader(dataset(records, seed), 4, workers).epoch(epoch))


def as_bytes(batches: list) -> list[bytes]:
    """Return every image with its target as bytes, in order."""
    return [
        b"".join(t.numpy().tobytes() for t in (image, *(target[k] for k in sorted(target))))
        for images, targets in batches
        for image, target in zip(images, targets, strict=True)
    ]


def test_item_has_the_types_that_torchvision_takes(records):
    image, target = dataset(records)[1]
    height, width = image.shape[1:]
    assert image.dtype == torch.float32 and image.shape[0] == 3 and image.is_contiguous()
    assert image.min() >= 0 and 0.5 < image.max() <= 1
    assert target["boxes"].dtype == torch.float32 and target["boxes"].shape == (2, 4)
    assert target["labels"].dtype == torch.int64 and target["labels"].tolist() == [3, 1]
    assert target["masks"].dtype == torch.uint8 and target["masks"].shape == (2, height, width)
    assert set(target["masks"].unique().tolist()) == {0, 1}
    assert target["image_id"].dtype == torch.int64 and target["image_id"].item() == 101


def test_crowds_are_not_trained_on(records):
    assert records[0].iscrowd.any() and 2 in records[0].labels
    assert all(2 not in target["labels"] for _, targets in batches(records) for target in targets)


def test_image_without_objects_has_empty_tensors_of_the_right_type(records):
    image, target = dataset(records)[5]
    assert target["boxes"].shape == (0, 4) and target["boxes"].dtype == torch.float32
    assert target["labels"].shape == (0,) and target["labels"].dtype == torch.int64
    assert target["masks"].shape == (0, *image.shape[1:]) and target["masks"].dtype == torch.uint8


def test_masks_are_in_targets_only_on_request_and_never_invented(records, tmp_path):
    assert "masks" not in dataset(records, with_masks=False)[0][1]
    bare = [record(tmp_path / "0.png", 1, with_masks=False)]
    assert "masks" not in dataset(bare, with_masks=False)[0][1]
    with pytest.raises(DataError, match=r"0\.png has no masks"):
        dataset(bare)[0]


def test_channel_order_is_rgb():
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0], image[1, 2, 2] = 255, 51
    tensor = to_tensor(image)
    assert tensor.shape == (3, 2, 3)
    assert tensor[0].unique().tolist() == [1] and tensor[1].max() == 0
    assert tensor[2, 1, 2].item() == pytest.approx(0.2) and tensor[2].sum().item() == pytest.approx(0.2)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_images_of_any_mode_have_three_channels(tmp_path, mode):
    Image.new("RGB", HW[::-1], (200, 200, 200)).convert(mode).save(tmp_path / "x.png")
    image, _ = dataset([record(tmp_path / "x.png", 1)])[0]
    assert image.shape[0] == 3 and image.dtype == torch.float32


def test_image_of_another_size_than_annotated_is_an_error(tmp_path):
    Image.new("RGB", (60, 90)).save(tmp_path / "turned.png")
    turned = record(tmp_path / "turned.png", 1)
    for read in (read_record, lambda one: dataset([one])[0]):
        with pytest.raises(DataError, match=r"turned\.png has 60x90 pixels, .* 90x60"):
            read(turned)


# Randomness


def test_item_depends_only_on_seed_epoch_and_index(records):
    same = [records[0]] * 3
    first, again, other = dataset(same), dataset(same), dataset(same, seed=1)
    again[2], torch.manual_seed(7), np.random.seed(7)  # what was drawn before does not matter
    assert as_bytes([collate([first[0], first[1]])]) == as_bytes([collate([again[0], again[1]])])
    different = as_bytes([collate([first[0], first[1], first[2], other[0]])])
    first.epoch = 1
    assert len({*different, *as_bytes([collate([first[0]])])}) == 5


def test_number_of_workers_has_no_influence(records):
    for epoch in (0, 1):
        assert as_bytes(batches(records, workers=2, epoch=epoch)) == as_bytes(batches(records, epoch=epoch))


def test_every_epoch_has_a_new_order_and_new_augmentations(records):
    epochs = [batches(records, epoch=epoch) for epoch in range(3)]
    ids = [tuple(t["image_id"].item() for _, targets in epoch for t in targets) for epoch in epochs]
    assert all(sorted(order) == [100, 101, 102, 103, 104, 105] for order in ids)
    assert len(set(ids)) == 3
    assert len({one for epoch in epochs for one in as_bytes(epoch)}) == 18


def test_order_depends_on_the_seed(records):
    def order(seed: int) -> list[int]:
        return [t["image_id"].item() for _, targets in batches(records, seed=seed) for t in targets]

    assert order(0) == order(0)
    assert len({tuple(order(seed)) for seed in range(4)}) > 1


def test_batch_is_a_list_of_images_of_different_sizes(records):
    (images, targets), (rest, _) = batches(records)
    assert isinstance(images, list) and isinstance(targets, list) and (len(images), len(rest)) == (4, 2)
    assert len({image.shape for image in images}) > 1


def test_copy_paste_adds_objects_of_other_images(records):
    def counts(share: float) -> list[int]:
        items = DetectionDataset(records, usual(64, (1, 1), share), with_masks=True)
        return [len(items[i][1]["boxes"]) for i in range(6)]

    assert counts(0.0) == [2, 2, 2, 2, 2, 0]
    assert max(counts(1.0)) > 2 and counts(1.0) == counts(1.0)


def test_masks_used_by_copy_paste_are_not_in_targets_without_masks(records):
    def items(share: float) -> list:
        made = DetectionDataset(records, usual(64, (1, 1), share), with_masks=False)
        return [made[i][1] for i in range(6)]

    assert max(len(target["boxes"]) for target in items(1.0)) > 2, "objects are still pasted"
    assert all("masks" not in target for target in items(1.0) + items(0.0))


# Photographs that are decoded at reduced size

LARGE_HW = 1203, 1601
LARGE_OBJECTS = (
    [[250.0, 150.0, 700.0, 210.0, 760.0, 560.0, 430.0, 700.0, 180.0, 480.0]],
    [[930.0, 610.0, 1400.0, 520.0, 1540.0, 1150.0, 1010.0, 1080.0]],
)


def large(path: Path, orientation: int = 1, image_id: int = 0) -> ImageRecord:
    """Return a photograph of two bright objects on a dark background, one with a polygon and one with an RLE."""
    codes = [masks.from_polygons(outline, LARGE_HW) for outline in LARGE_OBJECTS]
    upright = np.full((*LARGE_HW, 3), 50, np.uint8)
    for one in codes:
        upright[masks.to_bitmap(one) > 0] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(as_it_lies(upright, orientation)).save(path, exif=exif)
    return ImageRecord(
        path=path,
        image_hw=LARGE_HW,
        image_id=image_id,
        boxes=np.stack([masks.box(one) for one in codes]),
        labels=np.array([1, 2]),
        areas=np.array([masks.area(one) for one in codes], float),
        iscrowd=np.zeros(2, bool),
        annotation_ids=np.arange(2),
        masks=[LARGE_OBJECTS[0], codes[1]],
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_masks_fit_images_decoded_at_reduced_size(tmp_path, orientation):
    record = large(tmp_path / "x.jpg", orientation)
    for imgsz, jitter in ((320, (0.6, 1.25)), (200, (0.6, 1.25)), (100, (0.8, 1.0)), (240, (1.5, 1.6))):
        items = DetectionDataset([record], usual(imgsz, jitter), with_masks=True)
        for items.epoch in range(3):
            image, target = items[0]
            gray = image.mean(dim=0)
            shown = gray > (gray.min() + gray.max()) / 2
            in_masks = target["masks"].any(dim=0)
            sliver = len(target["boxes"]) < 2  # an object that the crop cut off is dropped
            assert (shown & in_masks).sum() / (shown | in_masks).sum() > (0.8 if sliver else 0.95)
            for box, mask in zip(target["boxes"], target["masks"], strict=True):
                np.testing.assert_allclose(box, masks.box(masks.from_bitmap(mask.numpy())), atol=1.0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_decoding_at_reduced_size_gives_nearly_the_same_item(tmp_path, share):
    def items(suffix: str) -> DetectionDataset:
        records = [large(tmp_path / f"{turn}{suffix}", turn, turn) for turn in (1, 6)]
        return DetectionDataset(records, usual(200, copy_paste=share), with_masks=True, seed=3)

    photographs, wholes = items(".jpg"), items(".png")  # PNG is always decoded fully
    for epoch in range(4):
        photographs.epoch = wholes.epoch = epoch
        for (image, target), (whole, ground_truth) in zip(photographs, wholes, strict=True):
            assert image.shape == whole.shape and (image - whole).abs().mean() < 0.01
            assert all(torch.equal(target[key], ground_truth[key]) for key in ground_truth)


def test_item_decoded_at_reduced_size_depends_only_on_seed_epoch_and_index(tmp_path):
    records = [large(tmp_path / f"{i}.jpg", orientation=1 + i, image_id=i) for i in range(3)]
    transform = usual(200, copy_paste=0.5)

    def epoch(workers: int) -> list[bytes]:
        items = DetectionDataset(records, transform, with_masks=True)
        return as_bytes(list(TrainLoader(items, 2, workers).epoch(1)))

    again = DetectionDataset(records, transform, with_masks=True)
    again.epoch = 1
    assert epoch(0) == epoch(2) and {*epoch(0)} == {*as_bytes([collate([again[i]]) for i in (2, 0, 1)])}


def test_large_photograph_of_another_size_or_truncated_is_an_error(tmp_path):
    record = large(tmp_path / "x.jpg", orientation=6)
    items = DetectionDataset([record], usual(100, (1, 1)), with_masks=True)
    for wrong in ((1203, 1600), (1202, 1601), (1601, 1203)):
        items.records = [replace(record, image_hw=wrong)]
        with pytest.raises(DataError, match=f"has 1601x1203 pixels, .* {wrong[1]}x{wrong[0]}"):
            items[0]
    record.path.write_bytes(record.path.read_bytes()[: record.path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"x\.jpg: damaged or truncated.*doctor.py check"):
        items[0]
