"""Writing videos that any browser plays: H.264, which OpenCV's wheels cannot write, by ffmpeg."""

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
from detect.media.ffmpeg import command, complaint, crash, own_group
from detect.media.video_decoder import sensible_rate
from detect.progress import warn

CRF = 20  # x264's constant quality: 18 is all but lossless, 23 its default
ENCODER_THREADS = 2  # the detector needs the other cores
KEYFRAME_SECONDS = 5  # to jump to; and what a crash can cost
_TICKS = 10_000  # a second, at least

# The color matrix is chosen *and* written down: players guess at an untagged one, each in its own way.
_FILTERS = (
    "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)


class VideoWriter:
    """An H.264 mp4 that any browser plays, written frame by frame, with the sound of ``sound_from``.

        with VideoWriter(path, video.fps, video.size_hw, sound_from=video.sound) as out:
            out.write(image)

    fps: the rate of the frames that come without a time; kept exactly when given as a Fraction.
    size_hw: (height, width); an odd side is padded by a pixel, as the color planes have half the size.
    sound_from: a video whose sound, if it has any, is cut to the length of the image; its first track.

    The file appears under its name when the ``with`` block ends well. Until then it is NAME.part.mp4, which plays at
    any time; that is what is left of it when an exception ends the block, the disk is full or the power fails.
    Raises DiskError with ffmpeg's last words where it fails; sound that cannot be read is a warning.
    """

    def __init__(
        self, path: Path, fps: Fraction | float, size_hw: tuple[int, int], sound_from: Path | None = None
    ) -> None:
        self.path = path
        self.fps = fps if isinstance(fps, Fraction) else sensible_rate(fps)
        self.size_hw = size_hw
        self.sound_from = sound_from
        self.frames = 0
        self._ticks = self.fps.numerator * ceil(_TICKS / self.fps.numerator)  # a second; a frame is a whole number
        self._last = self._step = 0  # in ticks: the time of the last frame, and for how long the one before is shown
        self._duration: Fraction | None = None
        self._part = self._beside(".part.mp4")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody empties would stop ffmpeg
        rate = max(self.fps.limit_denominator(1001), Fraction(1))
        # fmt: off
        arguments = [
            "-loglevel", "level+error", "-f", "ivf", "-c:v", "rawvideo", "-i", "pipe:0",
            "-vf", _FILTERS, "-fps_mode", "passthrough", "-enc_time_base", f"1/{self._ticks}",
            # No B-frames, with which the last packet would not be that of the last frame.
            "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-crf", str(CRF), "-threads", str(ENCODER_THREADS),
            # Else x264 takes the ticks for frames, and claims a level that hardware decoders refuse.
            "-x264-params", f"fps={rate.numerator}/{rate.denominator}",
            "-force_key_frames", f"expr:gte(t,n_forced*{KEYFRAME_SECONDS})",
            "-video_track_timescale", str(self._ticks),
            "-movflags", "frag_keyframe+delay_moov+default_base_moof", f"file:{self._part}",
        ]
        # fmt: on
        self._process = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            **own_group(),
        )
        # IVF, the plainest container that gives each frame its time: a header, then (size, time, pixels) of each.
        height, width = size_hw
        self._send(struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"RGB\x18", width, height, self._ticks, 1, 0, 0))

    def write(self, image: np.ndarray, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append ``image``, uint8 RGB [H, W, 3] of ``size_hw``; ValueError for any other.

        time: since when it is to be seen, in seconds; by default a frame of ``fps`` after the one before. The first
            one is seen from the beginning, whatever its time.
        duration: for how long, which counts for the last one; by default as long as the one before.
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
        """Finish the file and give it its name."""
        if self.frames == 0:
            raise MediaError(f"cannot write {self.path}: not one frame was given")
        self._process.communicate()
        if self._process.returncode != 0:
            raise self._failure(self._complaint())
        trouble = None
        if self.sound_from is not None:
            trouble = self._finish(self.sound_from)
            if trouble is not None:
                full = any(os.strerror(number) in trouble for number in DISK_FULL)
                why = "there is no room for it" if full else f"that of {self.sound_from} cannot be read"
                warn(f"{self.path} has no sound, as {why}: {trouble}")
        if self.sound_from is None or trouble is not None:
            trouble = self._finish(None)
            if trouble is not None:
                raise self._failure(trouble)
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
            self._process.kill()  # does nothing to one that has ended
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
            raise self._failure(self._complaint()) from None

    def _failure(self, why: str) -> DiskError:
        kept = f"; {self._part} plays up to there" if self.frames and self._part.is_file() else ""
        return DiskError(f"cannot write {self.path}: {why}{kept}")

    def _finish(self, sound_from: Path | None) -> str | None:
        """Give the image its exact length and its sound, and the file its name; or say what fails.

        In a second pass, when the length is known: -shortest in one pass would cut the image where the sound is
        the shorter. -t before the second input limits only that.
        """
        duration = self._step if self._duration is None else max(1, round(self._duration * self._ticks))
        end = Fraction(self._last + duration, self._ticks)
        lengths = f"setts=duration='if(eq(N,{self.frames - 1}),{duration}/{self._ticks}/TB,DURATION)'"
        done = self._beside(".done.mp4")
        # fmt: off
        sound = [] if sound_from is None else ["-t", f"{float(end):.6f}", "-i", f"file:{sound_from}"]
        image = ["-map", "0:v", "-c:v", "copy", "-bsf:v", lengths]
        arguments = [
            "-loglevel", "level+error", "-i", f"file:{self._part}", *sound, *image,
            *(["-map", "1:a:0?", "-c:a", "aac"] if sound else []), "-movflags", "+faststart", f"file:{done}",
            # As in the reader: time begins with the earliest stream in use.
            *(["-map", "1:V:0", "-c", "copy", "-f", "null", "-"] if sound else []),
        ]
        # fmt: on
        try:
            result = subprocess.run(
                command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, check=False, **own_group()
            )
            if result.returncode != 0:
                words = result.stderr.decode(errors="replace").splitlines()
                return crash(result.returncode) or complaint(words)
            replace_file(done, self.path)
            return None
        except OSError as error:
            return error.strerror
        finally:
            done.unlink(missing_ok=True)

    def _complaint(self) -> str:
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").splitlines()
        return crash(self._process.returncode) or complaint(words)

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(fit_file_name(self.path.stem, ending))


def letterbox(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """``image`` as large as it fits into ``size_hw``, its sides in proportion, on black; itself where it is of that
    size. uint8 RGB [H, W, 3]."""
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
