"""Writing of H.264 videos, which any browser plays and OpenCV's wheels cannot write, with ffmpeg."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from fractions import Fraction
from math import ceil
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from detect.errors import DiskError, MediaError
from detect.io.files import DISK_FULL, fit_file_name, replace_file
from detect.media.ffmpeg import crash_message, last_error, run, start
from detect.media.video_decoder import plausible_rate
from detect.progress import warn

CRF = 20  # constant quality of x264: 18 is visually lossless, 23 its default
ENCODER_THREADS = 2  # the detector needs the other cores
KEYFRAME_SECONDS = 5  # distance of seek points, and the most that a crash can cost
_MIN_TICKS = 10_000  # per second

# The color matrix is chosen *and* stated in the file: players interpret an untagged one differently.
_FILTERS = (
    "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)


class VideoWriter:
    """Writes an H.264 MP4 frame by frame, with the sound of another video.

        with VideoWriter(path, video.fps, video.size_hw, sound_from=video.sound) as out:
            out.write(image)

    fps: rate of frames that are written without a time; exact when given as a Fraction.
    size_hw: (height, width) of the frames; an odd side is padded by one pixel, since color planes have half the size.
    sound_from: video whose first audio track, if it has one, is cut to the length of the frames and added.

    The file appears under its name when the ``with`` block succeeds. Until then it is NAME.part.mp4, which can be
    played at any time and is kept after an exception, a full disk or a power cut.
    Raises DiskError with ffmpeg's error. If the sound cannot be read, a warning is printed and the video has no sound.
    """

    def __init__(
        self, path: Path, fps: Fraction | float, size_hw: tuple[int, int], sound_from: Path | None = None
    ) -> None:
        self.path = path
        self.fps = fps if isinstance(fps, Fraction) else plausible_rate(fps)
        self.size_hw = size_hw
        self.sound_from = sound_from
        self.frames = 0
        # Ticks per second, chosen so that each frame lasts a whole number of ticks.
        self._ticks = self.fps.numerator * ceil(_MIN_TICKS / self.fps.numerator)
        self._last = self._step = 0  # in ticks: time of the last frame, duration of the one before
        self._duration: Fraction | None = None
        self._part = part_file(path)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that is not read would block ffmpeg
        rate = max(self.fps.limit_denominator(1001), Fraction(1))
        self._process = start(
            "-loglevel", "level+error", "-f", "ivf", "-c:v", "rawvideo", "-i", "pipe:0",
            "-vf", _FILTERS, "-fps_mode", "passthrough", "-enc_time_base", f"1/{self._ticks}",
            # No B-frames, so that the last packet holds the last frame.
            "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-crf", str(CRF), "-threads", str(ENCODER_THREADS),
            # Otherwise x264 interprets ticks as frames and states a level that hardware decoders refuse.
            "-x264-params", f"fps={rate.numerator}/{rate.denominator}",
            "-force_key_frames", f"expr:gte(t,n_forced*{KEYFRAME_SECONDS})",
            "-video_track_timescale", str(self._ticks),
            "-movflags", "frag_keyframe+delay_moov+default_base_moof", f"file:{self._part}",
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip
        # IVF is the simplest container with frame times: a header, then (size, time, pixels) of each frame.
        height, width = size_hw
        self._send(struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"RGB\x18", width, height, self._ticks, 1, 0, 0))

    def write(self, image: np.ndarray, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append a frame.

        image: uint8 RGB [H, W, 3] of ``size_hw``; any other array raises ValueError.
        time: start of the frame in seconds; by default 1 / fps after the previous one. The first frame always starts
            at 0.
        duration: seconds for which the last frame is shown; by default as long as the one before.
        """
        if image.shape != (*self.size_hw, 3) or image.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 {(*self.size_hw, 3)}, not {image.dtype} {image.shape}")
        frame_ticks = round(self._ticks / self.fps)
        at = 0
        if self.frames:
            at = self._last + frame_ticks if time is None else max(round(time * self._ticks), self._last + 1)
        self._send(struct.pack("<IQ", image.nbytes, at), np.ascontiguousarray(image).data)
        self._step = at - self._last if self.frames else frame_ticks
        self._last, self._duration = at, duration
        self.frames += 1

    def close(self) -> None:
        """Finish the file and rename it to its final name."""
        if self.frames == 0:
            raise MediaError(f"cannot write {self.path}: no frame was written")
        self._process.communicate()
        if self._process.returncode != 0:
            raise self._encoder_failure()
        error = self._finish(self.sound_from)
        if error is not None and self.sound_from is not None:
            full = any(os.strerror(number) in error for number in DISK_FULL)
            why = "the disk is full" if full else f"the sound of {self.sound_from} cannot be read"
            warn(f"{self.path} has no sound, since {why}: {error}")
            error = self._finish(None)
        if error is not None:
            raise self._failure(error)
        self._part.unlink()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
            else:
                self._process.communicate()
        finally:
            self._process.kill()  # has no effect after its end
            self._process.communicate()
            self._log.close()
            if self.frames == 0 or (self._part.is_file() and self._part.stat().st_size == 0):
                self._part.unlink(missing_ok=True)

    def _send(self, *parts: bytes | memoryview) -> None:
        assert self._process.stdin is not None
        try:
            for part in parts:
                self._process.stdin.write(part)
        except OSError:
            self._process.wait()
            raise self._encoder_failure() from None

    def _encoder_failure(self) -> DiskError:
        self._log.seek(0)
        return self._failure(_error_message(self._process.returncode, self._log.read()))

    def _failure(self, why: str) -> DiskError:
        kept = f"; {self._part} can be played up to that point" if self.frames and self._part.is_file() else ""
        return DiskError(f"cannot write {self.path}: {why}{kept}")

    def _finish(self, sound_from: Path | None) -> str | None:
        """Set the exact length, add the sound and rename the file; return an error message or None.

        This is a second pass, with a known length: -shortest in a single pass would cut the frames when the sound is
        shorter. -t before the second input limits only that input.
        """
        duration = self._step if self._duration is None else max(1, round(self._duration * self._ticks))
        end = Fraction(self._last + duration, self._ticks)
        lengths = f"setts=duration='if(eq(N,{self.frames - 1}),{duration}/{self._ticks}/TB,DURATION)'"
        done = _beside(self.path, ".done.mp4")
        # fmt: off
        sound = [] if sound_from is None else ["-t", f"{float(end):.6f}", "-i", f"file:{sound_from}"]
        image = ["-map", "0:v", "-c:v", "copy", "-bsf:v", lengths]
        arguments = [
            "-loglevel", "level+error", "-i", f"file:{self._part}", *sound, *image,
            *(["-map", "1:a:0?", "-c:a", "aac"] if sound else []), "-movflags", "+faststart", f"file:{done}",
            # As in the decoder: time begins with the earliest stream in use.
            *(["-map", "1:V:0", "-c", "copy", "-f", "null", "-"] if sound else []),
        ]
        # fmt: on
        try:
            second_pass = run(*arguments)
            if second_pass.returncode != 0:
                return _error_message(second_pass.returncode, second_pass.stderr)
            replace_file(done, self.path)
            return None
        except OSError as error:
            return error.strerror
        finally:
            done.unlink(missing_ok=True)


def part_file(path: Path) -> Path:
    """Return the file that has the frames for the video ``path`` until it is finished, and after an error."""
    return _beside(path, ".part.mp4")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(fit_file_name(path.stem, ending))


def _error_message(returncode: int, log: bytes) -> str:
    return crash_message(returncode) or last_error(log.decode(errors="replace").splitlines())


def letterbox(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return ``image`` scaled to fit ``size_hw`` with its aspect ratio kept, centered on black.

    image: uint8 RGB [H, W, 3]; returned itself when it has that size.
    """
    if image.shape[:2] == tuple(size_hw):
        return image
    (height, width), (old_height, old_width) = size_hw, image.shape[:2]
    scale = min(height / old_height, width / old_width)
    h, w = max(1, min(height, round(old_height * scale))), max(1, min(width, round(old_width * scale)))
    top, left = (height - h) // 2, (width - w) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top : top + h, left : left + w] = cv2.resize(image, (w, h), interpolation=smooth)
    return canvas
