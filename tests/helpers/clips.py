"""Videos made for tests, and what is seen in them."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from detect.media import ffmpeg
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter, letterbox

RED, GREEN, BLUE = (230, 20, 40), (30, 200, 60), (20, 40, 220)

FILM = Fraction(24000, 1001)

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def corners(hw: tuple[int, int]) -> np.ndarray:
    """Red with a green upper left and a blue lower right quarter."""
    image = np.full((*hw, 3), RED, np.uint8)
    image[: hw[0] // 2, : hw[1] // 2] = GREEN
    image[hw[0] // 2 :, hw[1] // 2 :] = BLUE
    return image


def clip(path: Path, frames: int = 20, hw: tuple[int, int] = (47, 63), fps=FILM, **options) -> Path:
    """``corners`` with a white bar above that grows by 2 px a frame."""
    with VideoWriter(path, fps, hw, **options) as out:
        for i in range(frames):
            frame = corners(hw)
            frame[:4, : 2 * i] = 255
            out.write(frame)
    return path


def make(path: Path, *arguments: object) -> Path:
    subprocess.run(ffmpeg.command("-loglevel", "error", *map(str, arguments), str(path)), check=True)
    return path


def rendered(path: Path, *options: str, size: str = "64x48", seconds: float = 1, fps: float = 10) -> Path:
    """ffmpeg's test image."""
    return make(path, "-f", "lavfi", "-i", f"testsrc=s={size}:d={seconds}:r={fps}", *options)


def read(path: Path) -> tuple[list[Frame], VideoReader]:
    with VideoReader(path) as reader:
        return list(reader), reader


def rewritten(source: Path, path: Path) -> Path:
    """What a script does to a video, but for the drawing."""
    with VideoReader(source) as reader, VideoWriter(path, reader.fps, reader.size_hw, sound_from=reader.sound) as out:
        for frame in reader:
            out.write(letterbox(frame.image, reader.size_hw), frame.time, frame.duration)
    return path


def with_sound(folder: Path, seconds: float) -> Path:
    image = clip(folder / "mute.mp4")
    return make(folder / "sound.mp4", "-i", image, *tone(seconds), "-c:v", "copy")


def tone(seconds: float) -> list[str]:
    return ["-f", "lavfi", "-t", str(seconds), "-i", "sine=440"]


def ffmpeg_says(path: Path) -> str:
    return subprocess.run(ffmpeg.command("-i", str(path)), capture_output=True, text=True, check=False).stderr


def sound_seconds(path: Path) -> float:
    command = ffmpeg.command("-stats", "-i", str(path), "-map", "0:a", "-f", "null", "-")
    says = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    hours, minutes, seconds = re.findall(r"time=(\d+):(\d+):([\d.]+)", says)[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def about(color) -> object:
    return pytest.approx(color, abs=14)
