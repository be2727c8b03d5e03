"""Fixtures of the tests of videos."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.api_server import serving, tiny_model
from helpers.video_uploads import video_of


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    """A video of five frames."""
    return video_of(tmp_path_factory.mktemp("videos") / "five.mp4", 5)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def client(model, folder):
    with serving(model, max_video_bytes=200_000, max_jobs=2, max_frames=8) as client:
        yield client
    assert not list(folder.iterdir()), "a server that has ended leaves no file"
