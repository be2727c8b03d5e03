"""Reading and writing videos: the only place that knows BGR, codecs and frame rates.

OpenCV reads (upright, as the file's rotation says). ffmpeg writes, since browsers play H.264, which OpenCV's
wheels cannot write. Everywhere else a frame is uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints become one MediaError here

import cv2
import imageio_ffmpeg
import numpy as np

from detect.errors import MediaError

FALLBACK_FPS = Fraction(25)
CRF = 20  # x264's constant quality: 18 is all but lossless, 23 its default
ENCODER_THREADS = 2  # the detector needs the other cores

# The colour matrix is chosen *and* written down: players guess at an untagged one, each in its own way.
_FILTERS = (
    "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # a file that is no video is told once, by us


class VideoReader:
    """The frames of a video file, in order, each uint8 RGB [H, W, 3].

        with VideoReader(path) as video:
            for frame in video: ...

    fps: frames a second; the mean where the rate varies, 25 where the file does not tell.
    size_hw: (height, width), upright.
    frame_count: what the file claims, for a progress bar; 0 where it does not tell.

    Raises MediaError for a file that is missing, no video, or without a frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MediaError(f"no such video file: {path}")
        self.path = path
        # Without a named backend OpenCV would also take a numbered picture for a video.
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise MediaError(f"{path} is not a video that can be read")
        self._first = self._read()
        if self._first is None:
            self._capture.release()
            raise MediaError(f"{path} has no frame that can be decoded")
        height, width = self._first.shape[:2]
        self.size_hw: tuple[int, int] = (height, width)
        self.fps = _exact_rate(self._capture.get(cv2.CAP_PROP_FPS))
        self.frame_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[np.ndarray]:
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._read()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def _read(self) -> np.ndarray | None:
        more, bgr = self._capture.read()
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) if more else None


class VideoWriter:
    """An H.264 mp4 that any browser plays, written frame by frame, with the sound of ``sound_from``.

        with VideoWriter(path, video.fps, video.size_hw, sound_from=source) as out:
            out.write(frame)

    fps: kept exactly when given as a Fraction.
    size_hw: (height, width); an odd side is padded by a pixel, as the colour planes have half the size.
    sound_from: a video whose sound, if it has any, is cut to the length of the picture.

    The file appears under its name when the ``with`` block ends well, not at all when an exception ends it.
    Raises MediaError with ffmpeg's last words where it fails.
    """

    def __init__(
        self, path: Path, fps: Fraction | float, size_hw: tuple[int, int], sound_from: Path | None = None
    ) -> None:
        self.path = path
        self.fps = Fraction(fps)
        self.size_hw = size_hw
        self.sound_from = sound_from
        self.frames = 0
        self._silent = path.with_name(f".{path.stem}.part.mp4")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody empties would stop ffmpeg
        height, width = size_hw
        # fmt: off
        arguments = [
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}",
            "-framerate", str(self.fps), "-i", "pipe:0",
            "-vf", _FILTERS, "-c:v", "libx264", "-preset", "veryfast", "-crf", str(CRF),
            "-threads", str(ENCODER_THREADS), "-movflags", "+faststart", str(self._silent),
        ]
        # fmt: on
        self._process = subprocess.Popen(
            [*_ffmpeg(), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # a Ctrl-C is for us; ffmpeg is to finish what it got
        )

    def write(self, frame: np.ndarray) -> None:
        """Append ``frame``, uint8 RGB [H, W, 3] of ``size_hw``; ValueError for any other."""
        if frame.shape != (*self.size_hw, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 {(*self.size_hw, 3)}, not {frame.dtype} {frame.shape}")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:
            self._process.wait()
            raise MediaError(f"cannot write {self.path}: {_last_line(self._log)}") from None
        self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self.frames == 0:
            raise MediaError(f"cannot write {self.path}: not one frame was given")
        self._finish_picture()
        if self.sound_from is None:
            self._silent.replace(self.path)
        else:
            self._add_sound(self.sound_from)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
        finally:
            self._process.kill()  # does nothing to one that has ended
            self._process.communicate()
            self._log.close()
            self._silent.unlink(missing_ok=True)

    def _finish_picture(self) -> None:
        self._process.communicate()
        if self._process.returncode != 0:
            raise MediaError(f"cannot write {self.path}: {_last_line(self._log)}")

    def _add_sound(self, source: Path) -> None:
        """Join picture and sound in a second pass, when the length of the picture is known.

        -shortest in one pass would cut the picture where the sound is the shorter; -t before the second input
        limits only the sound.
        """
        joined = self.path.with_name(f".{self.path.stem}.joined.mp4")
        seconds = float(self.frames / self.fps)
        # fmt: off
        arguments = [
            "-i", str(self._silent), "-t", f"{seconds:.6f}", "-i", str(source),
            "-map", "0:v", "-map", "1:a?", "-c:v", "copy", "-c:a", "aac",
            "-movflags", "+faststart", str(joined),
        ]
        # fmt: on
        try:
            command = [*_ffmpeg(), *arguments]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=self._log, check=False)
            if done.returncode != 0:
                self._silent.replace(self.path)  # hours of detection are worth more than their sound
                raise MediaError(
                    f"{self.path} has no sound, as that of {source} cannot be read: {_last_line(self._log)}"
                )
            joined.replace(self.path)
        finally:
            joined.unlink(missing_ok=True)


def _ffmpeg() -> list[str]:
    """The ffmpeg that imageio-ffmpeg brings, else the system's, quiet but for errors.

    In this order, since some systems' ffmpeg is built without x264.
    """
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise MediaError("no ffmpeg on this machine: install it and see that 'ffmpeg' runs") from None
    return [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]


def _exact_rate(fps: float) -> Fraction:
    """The fraction meant: 23.976023976 is 24000/1001, as film in television and telephones have it."""
    if not 0 < fps <= 1000:  # nan fails too
        return FALLBACK_FPS
    return Fraction(fps).limit_denominator(1001)


def _last_line(log) -> str:  # type: ignore[no-untyped-def]
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ffmpeg ended without a word"
