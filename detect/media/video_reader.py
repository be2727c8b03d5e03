"""Reading videos: files, cameras and streams. Everywhere else a frame is uint8 RGB [H, W, 3], upright."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from detect.errors import MediaError
from detect.media.camera import Camera, Feed
from detect.media.ffmpeg import complaint
from detect.media.video_decoder import FALLBACK_FPS, Decoder, Frame
from detect.media.video_source import Source

OPEN_SECONDS = 20.0  # a camera in the network may be this far from its next whole image
STALL_SECONDS = 15.0
SILENCE_SECONDS = 30.0  # then ffmpeg ends by itself, which counts where we were killed and cannot end it
_COMPLETE = Fraction(98, 100)  # of the length that a file claims, which is an estimate
# ffmpeg's names of containers, none of which is a list of other files, and of the one protocol that they need.
_CONTAINED = (
    *("-format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg"),
    *("-protocol_whitelist", "file"),
)
_NO_VIDEOS = ("image2", "_pipe", "tty")  # ffmpeg's names of images and text, from which it makes videos


class VideoReader:
    """The frames of a file, a camera or a stream, in order, each with its time.

        with VideoReader("input/video_1.mp4") as video:
            for frame in video: ... frame.image, frame.time

    They are as players show them: upright, mirrored where the file says so, in square pixels, and high definition
    without a word on its color matrix by BT.709 (a stream's by BT.601). A frame may have another size than the first
    one. Interlaced ones stay so, transparency is left out, and HDR looks pale.

    source: a path, a camera's number, or a URL; see ``Source.parse``.
    contained: take a file only if it brings all of its frames itself, for files of strangers: a playlist could name
        other files of this machine, or addresses.
    max_pixels: of a frame, before it is unpacked; for files.
    live: a camera, or a stream of unknown length. Its frames are timed by their arrival, from 0 for the first, and
        while one is worked on others pass by unseen: what comes next is always what is to be seen now.
    fps: frames a second as the file claims; 25 where it does not tell, and of a camera.
    size_hw: (height, width) of the first frame.
    frame_count: what the file claims, for a progress bar; 0 where it does not tell.
    sound: the file that may have sound to these frames; None for cameras and streams.
    trouble: once the frames are through: why they are fewer than they should be, in words; else None.

    Raises MediaError for what is missing, cannot be opened within 20 seconds, is no video, or has no frame that
    can be decoded.
    """

    def __init__(self, source: str | Path, *, contained: bool = False, max_pixels: int | None = None) -> None:
        self.source = Source.parse(source)
        self._options = _CONTAINED if contained else ()
        self._most_pixels = max_pixels
        self.trouble: str | None = None
        self._stalled = False
        self._decoder: Decoder | None = None
        self._camera: Camera | None = None
        self._feed: Feed | None = None
        try:
            self._first = self._open()
        except BaseException:
            self.close()
            raise
        self.size_hw = self._first.hw
        decoder = self._decoder
        self.live = decoder is None or (self.source.kind == "stream" and decoder.seconds is None)
        self.fps = FALLBACK_FPS if decoder is None else decoder.fps
        self.frame_count = round((decoder.seconds or 0) * self.fps) if decoder else 0
        self.sound = Path(self.source.address) if self.source.kind == "file" else None

    def __iter__(self) -> Iterator[Frame]:
        """Once only."""
        # While a model loads a camera goes on: the first frame is only for where no other comes.
        frame: Frame | None = (self._next() if self.live else None) or self._first
        assert frame is not None
        zero = frame.time if self.live else Fraction(0)
        count, end = 0, Fraction(0)
        while frame is not None:
            frame = replace(frame, time=frame.time - zero)
            yield frame
            count += 1
            end = frame.time + (frame.duration or 1 / self.fps)
            frame = self._next()
        if self.live:
            self.trouble = self._why_ended(f"{count} frames, {float(end):.1f} s")
        else:
            self.trouble = self._damage(count, end)

    def close(self) -> None:
        """Let go of the file, the camera or the stream."""
        for part in (self._decoder, self._camera, self._feed):
            if part is not None:
                part.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Frame:
        """Begin, and return the first frame."""
        source = self.source
        try:
            if source.kind == "file":
                self._frames = self._open_file()
            elif source.kind == "stream":
                self._decoder = decoder = Decoder(source.address, _options(source.address))
                self._feed = Feed(decoder, waits=lambda: decoder.seconds is not None)
            else:
                self._camera = Camera(source.address, source.shown)
                self._feed = Feed(self._camera)
            first = next(self._frames, None) if self._feed is None else self._feed.take(OPEN_SECONDS)
        except TimeoutError:
            raise MediaError(f"{source.shown} cannot be opened: no image within {OPEN_SECONDS:.0f} s") from None
        if first is None:
            raise MediaError(self._why_nothing())
        if self._decoder and self._decoder.kind.endswith(_NO_VIDEOS):
            raise MediaError(f"{source.shown} is an image or a text, not a video; detect_image.py takes images")
        return first

    def _open_file(self) -> Iterator[Frame]:
        # "file:" since ffmpeg takes "concat:x" for a protocol and "-x" for a flag.
        address = f"file:{self.source.address}"
        decoder = partial(Decoder, address, self._options, with_sound=True, max_pixels=self._most_pixels)
        self._decoder = decoder()
        frames = iter(self._decoder)
        first = next(frames, None)
        if first is not None and self._decoder.untagged_hd:  # ffmpeg's filters cannot choose by themselves
            self._decoder.close()
            self._decoder = decoder(matrix="bt709")
            return iter(self._decoder)
        return frames if first is None else chain([first], frames)

    def _next(self) -> Frame | None:
        if self._feed is None:
            return next(self._frames, None)
        if self._stalled:
            return None
        try:
            return self._feed.take(STALL_SECONDS)
        except TimeoutError:
            self._stalled = True
            return None

    def _why_nothing(self) -> str:
        shown, decoder = self.source.shown, self._decoder
        if decoder is None:
            return f"{shown} cannot be opened: it gives no image"
        if decoder.kind and not decoder.crashed:
            why = "no image, only sound" if decoder.has_sound else "no frame that can be decoded"
            if self._most_pixels:
                why += f", or frames of more than {self._most_pixels:,} pixels"
            return f"{shown} has {why}"
        if self.source.kind == "file":
            return f"{shown} is not a video that can be read: {complaint(decoder.errors)}"
        why = self.source.without_secrets(complaint(decoder.errors))
        return f"the stream {shown} cannot be opened: {why}; see that the address is right and its server runs"

    def _why_ended(self, got: str) -> str:
        """Of a camera or a stream, which have no end of their own."""
        shown = self.source.shown
        if self._stalled:
            return f"{shown} has given nothing for {STALL_SECONDS:.0f} s, so this is its end: {got}"
        errors = self._decoder.errors if self._decoder else []
        why = f" ({self.source.without_secrets(complaint(errors))})" if errors else ""
        return f"{shown} has ended{why}: {got}"

    def _damage(self, count: int, end: Fraction) -> str | None:
        """What is wrong with a video of ``count`` frames that last until ``end``."""
        assert self._decoder is not None
        shown, claimed, errors = self.source.shown, self._decoder.seconds, self._decoder.errors
        short = claimed is not None and end < claimed * _COMPLETE - 1
        of = f" of {float(claimed):.1f} s" if claimed and claimed >= end else ""
        got = f"{count} frames, {float(end):.1f} s{of}"
        if self._stalled:
            return f"{shown} has given nothing for {STALL_SECONDS:.0f} s, so this is its end: {got}"
        if errors:
            why = self.source.without_secrets(complaint(errors[:1]))
            return f"{shown} is damaged or breaks off ({why}): {got}, could be decoded"
        if short and not self._decoder.has_sound:  # the claim may be that of the sound
            return f"{shown} is shorter than it claims: {got}"
        return None


def _options(address: str) -> tuple[str, ...]:
    """What ffmpeg needs to know of a stream."""
    url = urlsplit(address.lower())
    silence = str(round(SILENCE_SECONDS * 1e6))
    if url.scheme in ("rtsp", "rtsps"):
        return ("-rtsp_transport", "tcp", "-timeout", silence)  # over UDP lost packets smear the image
    options = ("-rw_timeout", silence) if url.scheme in ("http", "https", "tcp", "rtmp", "rtmps") else ()
    if url.path.endswith((".m3u8", ".mpd")):
        return (*options, "-re")  # it comes in pieces of some seconds, each at once
    return options
