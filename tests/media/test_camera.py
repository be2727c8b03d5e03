"""Cameras: frame times, slow consumers, and errors of missing or hanging cameras."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from detect.errors import MediaError
from detect.media import camera as camera_module
from detect.media import video_reader
from detect.media.quiet import silence_codecs
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter


class FakeCamera:
    """Stands in for cv2.VideoCapture: ``frames`` frames, ``rate`` a second, each as bright as its number."""

    frames, rate, hangs_after, opens = 1000, 50.0, 10**9, True
    last: FakeCamera

    def __init__(self, address: int | str) -> None:
        self.address, self.count, self.released = address, 0, False
        self.made_on = threading.current_thread()
        type(self).last = self

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opens

    def read(self):
        if self.count == self.hangs_after:
            time.sleep(1)
        time.sleep(1 / self.rate)
        self.count += 1
        return self.count <= self.frames, np.full((24, 32, 3), (self.count % 256, 0, 9), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch):
    class Fake(FakeCamera):
        pass

    monkeypatch.setattr(camera_module.cv2, "VideoCapture", Fake)
    return Fake


def test_camera_frames_are_timed_by_the_clock(camera):
    camera.frames = 50
    with VideoReader("2") as reader:
        assert (reader.live, reader.size_hw, reader.frame_count, reader.sound) == (True, (24, 32), 0, None)
        frames = list(reader)
    assert camera.last.address == 2 and camera.last.released
    assert camera.last.made_on is threading.main_thread(), "macOS asks for leave there alone"
    times = [f.time for f in frames]
    assert times[0] == 0 and times == sorted(set(times)) and len(times) >= 3
    passed = int(frames[-1].image[0, 0, 2]) - int(frames[0].image[0, 0, 2])
    assert float(times[-1]) >= 0.8 * passed / 50
    assert frames[0].image[0, 0, 0] == 9, "RGB"
    assert re.fullmatch(r"camera 2 has ended: \d+ frames, .* s", reader.warning)


def test_slow_consumer_gets_the_newest_frame(camera, tmp_path):
    """A detector of 5 frames a second and a camera of 50: frames are dropped, and a second stays a second."""
    requested, received = [], []
    opened = time.monotonic()
    with VideoReader("0") as reader:
        time.sleep(0.4)  # a model is loaded
        with VideoWriter(tmp_path / "x.mp4", reader.fps, reader.size_hw) as out:
            frames = iter(reader)
            while out.frames < 5:
                requested.append(time.monotonic())
                newest = camera.last.count
                frame = next(frames)
                received.append(time.monotonic())
                age = (newest - int(frame.image[0, 0, 2]) + 128) % 256 - 128  # the brightness is modulo 256
                assert age <= 2, "the newest one at the time of the request, also the first time"
                time.sleep(0.2)
                out.write(frame.image, frame.time, frame.duration)
    with VideoReader(tmp_path / "x.mp4") as written:
        times = [float(f.time) for f in written]
    # A frame arrives after the request for the previous frame and before it is received.
    for number in range(1, 5):
        assert requested[number - 1] - received[0] - 0.01 <= times[number] <= received[number] - opened + 0.01
    assert times[0] == 0 and times[-1] > 0.59


def test_missing_camera_is_an_error(camera, capfd):
    camera.opens = False
    with pytest.raises(MediaError, match="camera 7 cannot be opened: check that it is connected"):
        VideoReader("7")
    assert camera.last.released and capfd.readouterr() == ("", "")


def test_camera_without_frames_is_an_error(camera):
    camera.frames = 0
    with pytest.raises(MediaError, match="camera 0 cannot be opened: it returns no frame"):
        VideoReader("0")


def test_hanging_camera_times_out(camera, monkeypatch):
    camera.hangs_after = 0
    monkeypatch.setattr(video_reader, "OPEN_SECONDS", 0.2)
    with pytest.raises(MediaError, match="camera 0 cannot be opened: no frame within 0 s"):
        VideoReader("0")


def test_stalled_camera_ends(camera, monkeypatch):
    camera.hangs_after = 10
    monkeypatch.setattr(video_reader, "STALL_SECONDS", 0.3)
    with VideoReader("0") as reader:
        assert 1 <= len(list(reader)) <= 10
    assert reader.warning.startswith("camera 0 has sent nothing for 0 s and counts as ended: ")


def test_missing_real_camera_is_an_error(capfd):
    silence_codecs()  # as programs do
    if Path("/dev/video99").exists():
        pytest.skip("has a hundred cameras")
    with pytest.raises(MediaError, match="camera 99 cannot be opened"):
        VideoReader("99")
    assert capfd.readouterr() == ("", ""), "one message, ours"
