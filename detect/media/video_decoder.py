"""The frames of a file or a stream, decoded by ffmpeg in a process of its own.

ffmpeg and not OpenCV, whose frames of a turned or mirrored video, of one that changes size and of one with a
varying rate are not those that players show, and whose wheels decode no AV1.

Colors are those that players show, too, but for HDR (PQ, HLG), which looks pale: its curve is not undone.
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
from detect.media.ffmpeg import command, crash, own_group

THREADS = 2  # the detector needs the other cores
FALLBACK_FPS = Fraction(25)
_HD_HEIGHT = 720  # coded rows from which browsers take an untagged video for BT.709
_SHORTEST = Fraction(1, 240)  # some containers say a tick of their clock where they do not know
_ERRORS_KEPT = 20

# Turned as the file says by ffmpeg itself, then stretched to square pixels. A ratio beyond 4 is a broken header.
_FILTERS = (
    "scale=in_color_matrix={matrix}:w='if(between(sar,1.01,4),iw*sar,iw)':h='if(between(sar,0.25,0.99),ih/sar,ih)',setsar=1,format=rgb24,"
    "sidedata=mode=delete,showinfo=checksum=0"
)

_DURATION = re.compile(r"^\[info\]\s+Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_INPUT = re.compile(r"^\[info\] Input #0, (.*), from ")
_SOUND = re.compile(r"^\[info\]\s+Stream #0:.*: Audio: ")
# Only at the beginning of a line, since a title may hold any words.
_SHOWINFO = r"^\[Parsed_showinfo_\d+ @ [^\]]+\] \[info\] "
_CLOCK = re.compile(_SHOWINFO + r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_FRAME = re.compile(_SHOWINFO + r"n: *\d+ pts: *(-?\d+|NOPTS).*? s:(\d+)x(\d+)")
# The pixel format with what is known of its colors: yuv420p(tv, bt709, progressive). Where
# the matrix, the primaries and the curve differ it is a/b/c.
_IMAGE = re.compile(r"^\[info\]\s+Stream #0:.*: Video: [^,]+, (\w+)(?:\(([^)]*)\))?, \d+x(\d+)")
_NO_MATRIX = re.compile(r"pc|tv|unknown(/.*)?|progressive|top.*|bottom.*")
_SHOWN_FOR = re.compile(r" duration: *(\d+)")
_ERROR = re.compile(
    r"^(\[[^\]]*\] )*(\[(error|fatal)\] |\[warning\] corrupt )"
)  # corrupt: lost packets, which may lose frames


@dataclass(frozen=True)
class Frame:
    """One image of a video.

    image: uint8 RGB [H, W, 3], upright, in square pixels.
    time: seconds since the beginning of the video, exact, and later than that of the frame before.
    duration: for how long it is shown, in seconds; None where that is not told.
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
    """The frames of what ffmpeg finds at ``address``, a URL or ``file:`` and a path, in order and at their times.

    options: for ffmpeg, in front of the address.
    with_sound: count time from the beginning of the sound where that is the earlier one.
    matrix: ffmpeg's name of what turns YCbCr into RGB; ``auto``: what the file says, else BT.601.
    max_pixels: of a frame; larger ones are not unpacked, and MediaError ends the frames at one that grew later.

    From the first frame on these are known:
    fps: the rate as the file claims it, the mean or the highest one where it varies, 25 where it says nothing.
    seconds: the length that the file claims; None where it says nothing.
    kind: ffmpeg's name of the container.
    has_sound: whether there is sound beside the image.
    untagged_hd: whether it is high definition that does not say its matrix: players show it with ``bt709``.
    crashed: whether ffmpeg crashed, which ``errors`` tells then; known at the end.
    errors: what ffmpeg complained of since it began to decode, the first lines and the last one.
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
        self.untagged_hd: bool | None = None
        self.errors: list[str] = []
        self._time_base = Fraction(1)
        self._stamps: SimpleQueue[_Stamp | None] = SimpleQueue()
        # Some containers' time begins with the earliest stream *in use*, so the sound is used: it goes to nowhere.
        nowhere = ("-map", "0:V:0", "-map", "0:a:0?", "-c", "copy", "-f", "null", "-")
        # fmt: off
        arguments = [
            "-loglevel", "level+info", *options, *(("-max_pixels", str(max_pixels)) if max_pixels else ()),
            "-threads", str(THREADS), "-i", address,
            "-map", "0:V:0",  # V: not the cover of a song
            "-vf", _FILTERS.format(matrix=matrix), "-noautoscale", "-fps_mode", "passthrough",
            "-c:v", "rawvideo", "-f", "rawvideo", "pipe:1",
            *(nowhere if with_sound else ()),
        ]
        # fmt: on
        self._process = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **own_group(),
        )
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()

    def __iter__(self) -> Iterator[Frame]:
        assert self._process.stdout is not None
        last = None
        while (stamp := self._stamps.get()) is not None:
            if self.max_pixels and stamp.height * stamp.width > self.max_pixels:
                raise MediaError(
                    f"frames of {stamp.width}x{stamp.height} pixels, more than the {self.max_pixels:,} that are taken"
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
            if told := crash(self._process.wait(1)):
                self.crashed = True
                self.errors[:] = [told]

    def close(self) -> None:
        """Stop, from any thread: whoever waits for a frame gets the end."""
        self._process.kill()  # does nothing to one that has ended
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
            self._stamps.put(None)  # whatever happens, nobody waits for ever

    def _read_line(self, text: str) -> None:
        if found := _FRAME.match(text):
            self._stamps.put(self._stamp(text, *found.groups()))
        elif found := _CLOCK.match(text):
            a, b, c, d = map(int, found.groups())
            self._time_base = Fraction(a, b) if b else Fraction(1)
            self.fps = sensible_rate(c / d if d else 0)
        elif found := _DURATION.match(text):
            hours, minutes, seconds = found.groups()
            self.seconds = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
        elif found := _INPUT.match(text):
            self.kind = found[1]
            self.errors.clear()  # of chapters it cannot find and the like, which cost no frame
        elif _SOUND.match(text):
            self.has_sound = True
        elif found := _IMAGE.match(text):
            if self.untagged_hd is None and not text.endswith("(attached pic)"):  # the first one, not a cover
                self.untagged_hd = _untagged(found[1], found[2] or "") and int(found[3]) >= _HD_HEIGHT
        elif _ERROR.search(text):
            self.errors[_ERRORS_KEPT:] = [text]

    def _stamp(self, line: str, pts: str, width: str, height: str) -> _Stamp:
        time = None if pts == "NOPTS" else int(pts) * self._time_base
        shown_for = _SHOWN_FOR.search(line)
        duration = int(shown_for[1]) * self._time_base if shown_for else Fraction(0)
        return _Stamp(time, duration if duration >= _SHORTEST else None, int(width), int(height))


@dataclass(frozen=True)
class _Stamp:
    """What the log tells of a frame."""

    time: Fraction | None
    duration: Fraction | None
    width: int
    height: int


def sensible_rate(fps: float) -> Fraction:
    """The fraction meant: 23.976023976 is 24000/1001, as film in television and telephones have it; 25 where
    ``fps`` is senseless."""
    if not 1e-9 < fps <= 1000:  # nan fails too
        return FALLBACK_FPS
    if fps < 1:  # an image each hour: the time between two is the plain number
        return 1 / Fraction(1 / fps).limit_denominator(1001)
    return Fraction(fps).limit_denominator(1001)


def _untagged(pixels: str, color: str) -> bool:
    """Whether pixels are YCbCr of which nothing tells the matrix."""
    ycbcr = pixels.startswith(("yuv", "nv", "p0", "uyvy"))
    return ycbcr and all(_NO_MATRIX.fullmatch(word) for word in color.split(", ") if word)
