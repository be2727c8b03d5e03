"""Decoding of video files and streams by ffmpeg in a separate process.

A separate process, so that a hostile video cannot crash the caller. ffmpeg instead of OpenCV: OpenCV's frames differ
from those that players show for rotated or mirrored videos, videos that change size and videos with a variable frame
rate, and its wheels cannot decode AV1.

Colors are those that players show, except for HDR (PQ, HLG), which looks pale because its transfer curve is not
inverted.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from queue import SimpleQueue

import numpy as np

from detect.errors import MediaError
from detect.media.ffmpeg import crash_message, start

THREADS = 2  # the detector needs the other cores
FALLBACK_FPS = Fraction(25)
_HD_HEIGHT = 720  # coded rows from which browsers interpret an untagged video as BT.709
_MIN_DURATION = Fraction(1, 240)  # seconds; some containers give one tick of their clock for an unknown duration
_ERRORS_KEPT = 20

# ffmpeg itself rotates as the file says; then pixels are made square. A ratio beyond 4 is a broken header.
_FILTERS = (
    "scale=in_color_matrix={matrix}"
    ":w='if(between(sar,1.01,4),iw*sar,iw)':h='if(between(sar,0.25,0.99),ih/sar,ih)',setsar=1,format=rgb24,"
    "sidedata=mode=delete,showinfo=checksum=0"
)

_DURATION = re.compile(r"^\[info\]\s+Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_INPUT = re.compile(r"^\[info\] Input #0, (.*), from ")
_SOUND = re.compile(r"^\[info\]\s+Stream #0:.*: Audio: ")
# Matched at the beginning of a line only, since a title may hold any text.
_SHOWINFO = r"^\[Parsed_showinfo_\d+ @ [^\]]+\] \[info\] "
_CLOCK = re.compile(_SHOWINFO + r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_FRAME = re.compile(_SHOWINFO + r"n: *\d+ pts: *(-?\d+|NOPTS).*? s:(\d+)x(\d+)")
# Pixel format with its color properties, such as yuv420p(tv, bt709, progressive), or a/b/c when matrix, primaries and
# transfer curve differ.
_IMAGE = re.compile(r"^\[info\]\s+Stream #0:.*: Video: [^,]+, (\w+)(?:\(([^)]*)\))?, \d+x(\d+)")
_NO_MATRIX = re.compile(r"pc|tv|unknown(/.*)?|progressive|top.*|bottom.*")
_SHOWN_FOR = re.compile(r" duration: *(\d+)")
_ERROR = re.compile(r"^(\[[^\]]*\] )*(\[(error|fatal)\] |\[warning\] corrupt )")  # corrupt: lost packets


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    image: uint8 RGB [H, W, 3], upright, with square pixels.
    time: exact time in seconds since the beginning of the video, later than that of the previous frame.
    duration: time for which the frame is shown, in seconds; None when unknown.
    """

    image: np.ndarray
    time: Fraction
    duration: Fraction | None = None

    @property
    def hw(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.image.shape[:2]
        return height, width


class Decoder:
    """An iterable of the frames at ``address``, a URL or ``file:`` and a path, in order and with their times.

    options: options of ffmpeg in front of the address.
    with_sound: timestamps start at the audio stream if it begins before the video.
    matrix: ffmpeg's name of the matrix from YCbCr to RGB; ``auto`` takes the file's, else BT.601.
    max_pixels: maximum size of a frame; larger frames are not decoded. A frame that grows beyond it later raises
        MediaError.

    Attributes, valid from the first frame on:
    fps: frame rate as stated by the file: the mean or the highest one of a variable rate; 25 when it states none.
    seconds: length as stated by the file; None when it states none.
    kind: ffmpeg's name of the container.
    has_sound: whether there is an audio track.
    is_untagged_hd: whether the video is high definition and states no matrix; players then use ``bt709``.
    crashed: True if ffmpeg crashed; ``errors`` holds the message. Set when decoding has ended.
    errors: error lines of ffmpeg since decoding began: the first ones and the last one.
    """

    def __init__(
        self,
        address: str,
        options: Sequence[str] = (),
        *,
        with_sound: bool = False,
        matrix: str = "auto",
        max_pixels: int | None = None,
    ) -> None:
        self.max_pixels = max_pixels
        self.fps = FALLBACK_FPS
        self.seconds: Fraction | None = None
        self.kind = ""
        self.has_sound = self.crashed = False
        self.is_untagged_hd: bool | None = None
        self.errors: list[str] = []
        self._time_base = Fraction(1)
        self._stamps: SimpleQueue[_Stamp | None] = SimpleQueue()
        # The time of some containers begins with the earliest stream *in use*, so the sound is read and discarded.
        nowhere = ("-map", "0:V:0", "-map", "0:a:0?", "-c", "copy", "-f", "null", "-")
        self._process = start(
            "-loglevel", "level+info", *options, *(("-max_pixels", str(max_pixels)) if max_pixels else ()),
            "-threads", str(THREADS), "-i", address,
            "-map", "0:V:0",  # V: not the cover image of a song
            "-vf", _FILTERS.format(matrix=matrix), "-noautoscale", "-fps_mode", "passthrough",
            "-c:v", "rawvideo", "-f", "rawvideo", "pipe:1",
            *(nowhere if with_sound else ()),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()

    def __iter__(self) -> Iterator[Frame]:
        assert self._process.stdout is not None
        last = None
        while (stamp := self._stamps.get()) is not None:
            if self.max_pixels and stamp.height * stamp.width > self.max_pixels:
                raise MediaError(
                    f"frames of {stamp.width}x{stamp.height} pixels, more than the limit of {self.max_pixels:,}"
                )
            image = np.empty((stamp.height, stamp.width, 3), np.uint8)
            if self._process.stdout.readinto(image.data.cast("B")) < image.nbytes:  # type: ignore[attr-defined]
                break
            time = stamp.time
            if last is not None and (time is None or time <= last):
                time = last + 1 / self.fps
            last = time or Fraction(0)
            yield Frame(image, last, stamp.duration)
        self._log_reader.join()
        with suppress(subprocess.TimeoutExpired):
            if message := crash_message(self._process.wait(1)):
                self.crashed = True
                self.errors[:] = [message]

    def close(self) -> None:
        """Stop decoding, from any thread; a thread that waits for a frame gets the end."""
        self._process.kill()  # has no effect after its end
        self._process.wait()
        self._log_reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        try:
            with self._process.stderr:
                for line in self._process.stderr:
                    self._read_line(line.decode(errors="replace").rstrip())
        finally:
            self._stamps.put(None)  # so that the reader of frames never waits forever

    def _read_line(self, text: str) -> None:
        if found := _FRAME.match(text):
            self._stamps.put(self._stamp(text, *found.groups()))
        elif found := _CLOCK.match(text):
            a, b, c, d = map(int, found.groups())
            self._time_base = Fraction(a, b) if b else Fraction(1)
            self.fps = plausible_rate(c / d if d else 0)
        elif found := _DURATION.match(text):
            hours, minutes, seconds = found.groups()
            self.seconds = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
        elif found := _INPUT.match(text):
            self.kind = found[1]
            self.errors.clear()  # for instance about chapters, which cost no frame
        elif _SOUND.match(text):
            self.has_sound = True
        elif found := _IMAGE.match(text):
            if self.is_untagged_hd is None and not text.endswith("(attached pic)"):  # the first one, not a cover
                self.is_untagged_hd = _untagged(found[1], found[2] or "") and int(found[3]) >= _HD_HEIGHT
        elif _ERROR.search(text):
            self.errors[_ERRORS_KEPT:] = [text]

    def _stamp(self, line: str, pts: str, width: str, height: str) -> _Stamp:
        time = None if pts == "NOPTS" else int(pts) * self._time_base
        shown_for = _SHOWN_FOR.search(line)
        duration = int(shown_for[1]) * self._time_base if shown_for else Fraction(0)
        return _Stamp(time, duration if duration >= _MIN_DURATION else None, int(width), int(height))


@dataclass(frozen=True)
class _Stamp:
    """Properties of a frame in ffmpeg's log."""

    time: Fraction | None
    duration: Fraction | None
    width: int
    height: int


def plausible_rate(fps: float) -> Fraction:
    """Return the exact frame rate that ``fps`` approximates: 23.976 is 24000/1001. Returns 25 for an invalid rate."""
    if not 1e-9 < fps <= 1000:  # NaN is refused too
        return FALLBACK_FPS
    if fps < 1:  # below one frame per second, the interval is the round number
        return 1 / Fraction(1 / fps).limit_denominator(1001)
    return Fraction(fps).limit_denominator(1001)


def _untagged(pixels: str, color: str) -> bool:
    """Return whether pixels are YCbCr without a stated matrix."""
    ycbcr = pixels.startswith(("yuv", "nv", "p0", "uyvy"))
    return ycbcr and all(_NO_MATRIX.fullmatch(word) for word in color.split(", ") if word)
