"""Digests that recognize the training images of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.data.digests import (
    TRAIN_IMAGES,
    copy_digests,
    dataset_digest,
    image_digest,
    image_digests,
    read_digests,
    write_digests,
)

SIZES = (0, 1, 4096, 16384, 16385, 100_000)  # bytes, around the length up to which a file is read completely


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{size}.jpg" for size in SIZES]
    for path, size in zip(found, SIZES, strict=True):
        path.write_bytes(np.random.default_rng(size).bytes(size))
    return found


def test_images_of_different_lengths_differ(paths):
    assert len(set(image_digests(paths))) == len(SIZES)


def test_a_copy_under_another_name_has_the_same_digest(paths, tmp_path):
    for path in paths:
        copy = tmp_path / "copy.png"
        copy.write_bytes(path.read_bytes())
        assert image_digest(copy) == image_digest(path)


@pytest.mark.parametrize("head", [b"\xff\xd8", b"\x89PNG", b"RIFF\0\0\0\0WEBP", b"\0\0\0\0ftypavif"])
@pytest.mark.parametrize("position", [50, 4095, 33_000, 66_000, 99_999])
def test_a_change_in_a_block_changes_the_digest_of_a_long_compressed_file(paths, position, head):
    content = bytearray(head + paths[-1].read_bytes()[len(head) :])
    paths[-1].write_bytes(content)
    before = image_digest(paths[-1])
    content[position] ^= 1
    paths[-1].write_bytes(content)
    assert image_digest(paths[-1]) != before


@pytest.mark.parametrize("name", ["a.bmp", "a.tif"])
def test_uncompressed_images_that_differ_in_few_pixels_differ(tmp_path, name):
    digests = set()
    for i in range(20):
        pixels = np.zeros((120, 160, 3), np.uint8)
        pixels[20 + 4 * i, 80] = 255
        Image.fromarray(pixels).save(tmp_path / name)
        digests.add(image_digest(tmp_path / name))
    assert len(digests) == 20


def test_any_change_changes_the_digest_of_a_short_file(paths):
    before, content = image_digest(paths[3]), bytearray(paths[3].read_bytes())
    for position in range(0, 16384, 1023):
        content[position] ^= 1
        paths[3].write_bytes(content)
        assert image_digest(paths[3]) != before
        content[position] ^= 1


def test_an_unreadable_file_has_no_digest(paths, tmp_path):
    assert image_digests([tmp_path / "gone.jpg", paths[0]]) == ["", image_digest(paths[0])]


def test_the_digest_of_a_dataset_does_not_depend_on_names_or_order(paths):
    digests = image_digests(paths)
    assert dataset_digest(digests) == dataset_digest(digests[::-1]) != dataset_digest(digests[1:])


def test_a_list_is_read_back_for_the_checkpoint_beside_it(paths, tmp_path):
    digests = [*image_digests(paths), ""]  # the last one cannot be read
    names = [path.name for path in paths]
    names[1:4] = "two words.jpg", "a\u2028b\x85c\rd\ne.jpg", "\udcff.jpg"
    write_digests(tmp_path / TRAIN_IMAGES, digests, [*names, "gone.jpg"])
    assert read_digests(tmp_path / "best.safetensors", dataset_digest(digests)) == set(digests) - {""}


def test_a_list_of_a_resumed_run_keeps_that_of_its_earlier_images(paths, tmp_path):
    digests, names = image_digests(paths), [path.name for path in paths]
    for some in (slice(3), slice(6), slice(3)):
        write_digests(tmp_path / TRAIN_IMAGES, digests[some], names[some])
    for some in (slice(3), slice(6)):
        found = read_digests(tmp_path / "best.safetensors", dataset_digest(digests[some]))
        assert found == set(digests[some])
    assert (tmp_path / TRAIN_IMAGES).read_text().count("#") == 2


def test_a_list_of_other_images_is_not_used(paths, tmp_path):
    digests = image_digests(paths)
    write_digests(tmp_path / TRAIN_IMAGES, digests[1:], [path.name for path in paths[1:]])
    assert read_digests(tmp_path / "best.safetensors", dataset_digest(digests)) == frozenset()


def test_a_list_that_was_changed_is_not_used(paths, tmp_path):
    digests = image_digests(paths)
    write_digests(tmp_path / TRAIN_IMAGES, digests, [path.name for path in paths])
    lines = (tmp_path / TRAIN_IMAGES).read_text().splitlines(keepends=True)
    (tmp_path / TRAIN_IMAGES).write_text("".join(lines[:-1]))
    assert read_digests(tmp_path / "best.safetensors", dataset_digest(digests)) == frozenset()


def test_a_checkpoint_without_a_list_has_no_digests(tmp_path):
    assert read_digests(tmp_path / "best.safetensors", "0") == frozenset()


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_export_keeps_the_list_of_its_checkpoint(paths, tmp_path, is_folder):
    digests = image_digests(paths)
    write_digests(tmp_path / TRAIN_IMAGES, digests, [path.name for path in paths])
    (folder := tmp_path / "export").mkdir()
    exported = folder if is_folder else folder / "model.onnx"
    copy_digests(tmp_path / "best.safetensors", exported)
    assert read_digests(exported, dataset_digest(digests)) == set(digests)
    copy_digests(tmp_path / "elsewhere" / "best.safetensors", exported)  # without a list, nothing is copied
    assert read_digests(exported, dataset_digest(digests)) == set(digests)
