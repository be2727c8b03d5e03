"""Models and their exports, which all tests of exports share."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.exports import BOXES, MASKS, TARGETS, save
from helpers.tiny_models import render_shapes

import detect


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Checkpoints masks.safetensors and boxes.safetensors, and the dataset few.yaml."""
    folder = tmp_path_factory.mktemp("models")
    save(MASKS, folder / "masks.safetensors")
    save(BOXES, folder / "boxes.safetensors")
    render_shapes(folder, {"train": 4, "val": 3})
    return folder


@pytest.fixture(scope="session")
def exported(folder) -> dict[str, Path]:
    """The paths of the exported masks.safetensors, by target."""
    return {to: detect.export(folder / "masks.safetensors", to, output_dir=folder / "out").path for to in TARGETS}
