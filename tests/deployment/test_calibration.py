"""Images and network inputs for the calibration of 8 bits are made one at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from helpers.exports import IMAGES
from helpers.tiny_models import render_shapes

import detect
from detect.data.load import find_spec
from detect.deployment.calibration import evenly_spaced_images, network_inputs
from detect.errors import DataError


class Counted(Sequence[np.ndarray]):
    """Images, and how often each was accessed."""

    def __init__(self) -> None:
        self.accesses = [0] * len(IMAGES)

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> np.ndarray:
        self.accesses[index] += 1
        return IMAGES[index]


def test_inputs_are_those_of_a_detection_and_made_again_at_each_access(folder):
    original = detect.load_model(folder / "boxes.safetensors", device="cpu")
    model, images = original.runtime.model, Counted()
    inputs = network_inputs(original, model, images)
    assert set(inputs) == {"dense", "box_head"} and len(inputs["dense"]) == len(inputs["box_head"]) == len(IMAGES)
    assert inputs["box_head"][0].shape == (32, 128, 7, 7)
    before = images.accesses.copy()
    seen = []
    hook = model.backbone.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    for _ in range(2):
        for image, dense in zip(IMAGES, inputs["dense"], strict=True):
            original.predict_batch([image])
            assert torch.equal(dense, seen.pop())
    hook.remove()
    assert [new - old for new, old in zip(images.accesses, before, strict=True)] == [2] * len(IMAGES)


def test_calibration_images_are_spread_over_the_split_without_unreadable_ones(tmp_path):
    spec = find_spec(str(render_shapes(tmp_path, {"train": 5})))
    names = sorted(
        image["file_name"] for image in json.loads((tmp_path / "files" / "train.json").read_text())["images"]
    )
    assert len(evenly_spaced_images(spec, "train", 3)) == 3
    (tmp_path / "files" / "train" / names[0]).write_bytes(b"no image")
    images = evenly_spaced_images(spec, "train", 5)
    assert len(images) == 4 and all(image.dtype == np.uint8 for image in images)
    for name in names:
        (tmp_path / "files" / "train" / name).write_bytes(b"no image")
    with pytest.raises(DataError, match="split 'train'"):
        evenly_spaced_images(spec, "train", 5)
