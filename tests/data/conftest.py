"""Images and functions that read annotations of them, for the tests of readers and of validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import coco_files, via_files


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with the images a.png, b.png and more/c.png."""
    return via_files.write_images(tmp_path)


@pytest.fixture
def read(images: Path) -> Callable:
    """Return a function that writes JSON beside the images and reads it, as COCO unless another format is given."""
    return coco_files.reader(images)


@pytest.fixture
def read_via(images: Path) -> Callable:
    """Return a function that writes a VIA file beside the images and reads it."""
    return via_files.reader(images)
