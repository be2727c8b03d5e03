"""Reading of videos: files, cameras and streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from detect.errors import MediaError
from detect.media.camera import Camera, LiveFrameReader
from detect.media.ffmpeg import last_error
from detect.media.formats import begins_as_video, content_in_words
from detect.media.video_decoder import FALLBACK_FPS, Decoder, Frame
from detect.media.video_source import Source

OPEN_SECONDS = 20.0  # a network camera may take this long until its next key frame
STALL_SECONDS = 15.0
SILENCE_SECONDS = 30.0  # ffmpeg then ends by itself, also when this process was killed and cannot end it
_COMPLETE = Fraction(98, 100)  # fraction of the stated length, which is an estimate
# ffmpeg's names of containers that hold their frames (no playlists), and of the only protocol that they need.
_CONTAINED = (
    *("-format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg"),
    *("-protocol_whitelist", "file"),
)
_NOT_VIDEOS = ("image2", "_pipe", "tty")  # ffmpeg's names of images and text, which it would turn into videos


class VideoReader:
    """The frames of a file, a camera or a stream, in order and with their times.

        with VideoReader("input/video_1.mp4") as video:
            for frame in video: ... frame.image, frame.time

    Frames are uint8 RGB [H, W, 3] as players show them: upright, with square pixels; high definition without a stated
    color matrix is read as BT.709 (of a stream as BT.601). A frame may differ in size from the first one. Interlaced
    frames stay interlaced, transparency is dropped, and HDR looks pale.

    source: path, camera number, or URL; see ``Source.parse``.
    contained: accept only files that hold all of their frames, for files from unknown senders: a playlist could name
        other files of this machine, or URLs.
    max_pixels: maximum size of a frame of a file, checked before it is decoded.

    Attributes:
    live: whether the source is a camera or a stream of unknown length. Its frames are timed by their arrival, from 0,
        and frames that arrive while one is processed are skipped, so the next frame is always the current one.
    fps: frame rate as stated by the file; 25 for a camera or when it states none.
    size_hw: (height, width) of the first frame.
    frame_count: number of frames as stated by the file, for a progress bar; 0 when it states none.
    sound: file that may have sound for these frames; None for cameras and streams.
    warning: after the last frame: why there were fewer frames than expected, or None.

    Raises MediaError for a source that is missing, cannot be opened within 20 seconds, is not a video, or has no
    frame that can be decoded.
    """

    def __init__(self, source: str | Path, *, contained: bool = False, max_pixels: int | None = None) -> None:
        self.source = Source.parse(source)
        self._options = _CONTAINED if contained else ()
        self._max_pixels = max_pixels
        self.warning: str | None = None
        self._stalled = False
        self._decoder: Decoder | None = None
        self._camera: Camera | None = None
        self._reader: LiveFrameReader | None = None
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
        """Yield each frame; can be iterated once."""
        # A camera continues while a model loads, so its first frame is used only if no newer one arrives.
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
            self.warning = self._why_ended(f"{count} frames, {float(end):.1f} s")
        else:
            self.warning = self._why_incomplete(count, end)

    def close(self) -> None:
        """Release the file, the camera or the stream."""
        for part in (self._decoder, self._camera, self._reader):
            if part is not None:
                part.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Frame:
        """Open the source and return its first frame."""
        source = self.source
        try:
            if source.kind == "file":
                self._frames = self._open_file()
            elif source.kind == "stream":
                self._decoder = decoder = Decoder(source.address, _options(source.address))
                self._reader = LiveFrameReader(decoder, waits=lambda: decoder.seconds is not None)
            else:
                self._camera = Camera(source.address, source.shown)
                self._reader = LiveFrameReader(self._camera)
            first = next(self._frames, None) if self._reader is None else self._reader.take(OPEN_SECONDS)
        except TimeoutError:
            raise MediaError(f"{source.shown} cannot be opened: no frame within {OPEN_SECONDS:.0f} s") from None
        if first is None:
            raise MediaError(self._why_no_frame())
        if self._decoder and self._decoder.kind.endswith(_NOT_VIDEOS):
            raise MediaError(f"{source.shown} is an image or a text, not a video; use detect_image.py for images")
        return first

    def _open_file(self) -> Iterator[Frame]:
        # "file:", since ffmpeg interprets "concat:x" as a protocol and "-x" as an option.
        address = f"file:{self.source.address}"
        decoder = partial(Decoder, address, self._options, with_sound=True, max_pixels=self._max_pixels)
        self._decoder = decoder()
        frames = iter(self._decoder)
        first = next(frames, None)
        if first is not None and self._decoder.is_untagged_hd:  # ffmpeg's filters cannot choose this
            self._decoder.close()
            self._decoder = decoder(matrix="bt709")
            return iter(self._decoder)
        return frames if first is None else chain([first], frames)

    def _next(self) -> Frame | None:
        if self._reader is None:
            return next(self._frames, None)
        if self._stalled:
            return None
        try:
            return self._reader.take(STALL_SECONDS)
        except TimeoutError:
            self._stalled = True
            return None

    def _why_no_frame(self) -> str:
        shown, decoder = self.source.shown, self._decoder
        if decoder is None:
            return f"{shown} cannot be opened: it returns no frame"
        held = self._what_it_is()
        if decoder.kind.endswith(_NOT_VIDEOS) and held:
            return f"{shown} is not a supported video{held}"
        if decoder.kind and not decoder.crashed:
            why = "sound only, no frames" if decoder.has_sound else "no frame that can be decoded"
            if self._max_pixels:
                why += f", or frames of more than {self._max_pixels:,} pixels"
            return f"{shown} has {why}"
        if self.source.kind == "file":
            return f"{shown} is not a supported video{held}: {last_error(decoder.errors)}"
        why = self.source.redact(last_error(decoder.errors))
        return f"the stream {shown} cannot be opened: {why}; check that the URL is right and its server runs"

    def _what_it_is(self) -> str:
        """Return what a file is that is no video, such as " (it is text)"; "" when unknown."""
        path = Path(self.source.address)
        with suppress(OSError):  # ffmpeg says why it cannot read the file
            if self.source.kind == "file" and not begins_as_video(path) and (held := content_in_words(path)):
                return f" (it is {held})"
        return ""

    def _why_ended(self, got: str) -> str:
        """Return why a live source ended; ``got`` says how much was read."""
        shown = self.source.shown
        if self._stalled:
            return f"{shown} has sent nothing for {STALL_SECONDS:.0f} s and counts as ended: {got}"
        errors = self._decoder.errors if self._decoder else []
        why = f" ({self.source.redact(last_error(errors))})" if errors else ""
        return f"{shown} has ended{why}: {got}"

    def _why_incomplete(self, count: int, end: Fraction) -> str | None:
        """Return why a video with ``count`` frames until ``end`` seconds is incomplete, or None."""
        assert self._decoder is not None
        shown, stated, errors = self.source.shown, self._decoder.seconds, self._decoder.errors
        short = stated is not None and end < stated * _COMPLETE - 1
        of = f" of {float(stated):.1f} s" if stated and stated >= end else ""
        got = f"{count} frames, {float(end):.1f} s{of}"
        if self._stalled:
            return f"{shown} has sent nothing for {STALL_SECONDS:.0f} s and counts as ended: {got}"
        if errors:
            why = self.source.redact(last_error(errors[:1]))
            return f"{shown} is damaged or incomplete ({why}); only {got} could be decoded"
        if short and not self._decoder.has_sound:  # the stated length may be that of the sound
            return f"{shown} is shorter than its header states: {got}"
        return None


def _options(address: str) -> tuple[str, ...]:
    """Return ffmpeg's options for a stream."""
    url = urlsplit(address.lower())
    silence = str(round(SILENCE_SECONDS * 1e6))
    if url.scheme in ("rtsp", "rtsps"):
        return ("-rtsp_transport", "tcp", "-timeout", silence)  # with UDP, lost packets smear the image
    options = ("-rw_timeout", silence) if url.scheme in ("http", "https", "tcp", "rtmp", "rtmps") else ()
    if url.path.endswith((".m3u8", ".mpd")):
        return (*options, "-re")  # segments of some seconds arrive in one piece each
    return options
