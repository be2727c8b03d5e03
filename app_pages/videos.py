"""Processing an uploaded video, and showing it with its detections."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app_pages.downloads import Download, download_buttons, in_markdown
from app_pages.models import predict
from app_pages.settings import DetectionSettings, Drawing
from detect.errors import DetectError, MediaError
from detect.inference.writers.annotated_video import frames_ahead, write_annotated_video
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.structures.detections import Detections
from detect.text import counted

MAX_FRAME_PIXELS = 16_000_000  # more would take over half a gigabyte of memory
PREVIEW_SECONDS = 1.0  # time between two frames that are shown while a video is processed


@dataclass(frozen=True)
class VideoResult:
    """An annotated video.

    video: MP4.  lines: the detections of each frame, JSON Lines.  caption: what was done, in words.
    """

    video: bytes
    lines: bytes
    caption: str


def show_video(name: str, content: bytes, settings: DetectionSettings, drawing: Drawing, wide: bool) -> None:
    """Show the video, process it when the visitor asks for it, and show the result until a setting changes.

    wide: whether both are as wide as the page, one below the other.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = "number of frames to process; a second has 25 to 30"
        max_frames = st.number_input("Frames", 1, 3000, 150, help=words)
        words = "run the model on every Nth frame; others repeat its detections"
        stride = st.number_input("Stride", 1, 30, 3, help=words)
        is_asked = st.button("Detect objects", type="primary")
    after, before = (st.container(), st.container()) if wide else st.columns(2)
    before.video(content, alt="the original video")
    key = (name, hash(content), settings, drawing, max_frames, stride)
    if is_asked:
        with after:
            result = annotate_video(name, content, settings, drawing, max_frames, stride)
        st.session_state.video = key, result
    known, result = st.session_state.get("video", (None, None))
    if known == key:
        after.video(result.video, autoplay=is_asked, muted=True, alt="the video with detections")
        after.caption(in_markdown(result.caption))
        files = [
            Download("Video", "_detections.mp4", "video/mp4", result.video),
            Download("JSON of each frame", "_detections.jsonl", "application/jsonl", result.lines),
        ]
        download_buttons(name, files)
    elif known is not None and known[:2] == key[:2]:
        after.info("The settings have changed. Click *Detect objects* again.")
    else:
        after.info("Click *Detect objects* to process the video.")


def annotate_video(
    name: str, content: bytes, settings: DetectionSettings, drawing: Drawing, max_frames: int, stride: int
) -> VideoResult:
    """Return the annotated video, while a progress bar and the latest finished frame are shown."""
    predictor = settings.predictor
    bar, preview = st.progress(0.0, "reading the video"), st.empty()
    finished: list[np.ndarray] = []  # the latest finished frame
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "upload", Path(folder) / "annotated.mp4"
        path.write_bytes(content)

        def without_paths(text: str) -> str:
            return text.replace(str(path), name).replace(f"{folder}{os.sep}", "")

        def detect(frames: Sequence[Frame]) -> list[Detections]:
            return [predict(predictor, frame.image, settings.threshold, settings.labels) for frame in frames]

        def frames(decoded: Iterable[Frame], total: int) -> Iterator[Frame]:
            shown = 0.0
            for number, frame in enumerate(islice(decoded, max_frames), start=1):
                yield frame
                bar.progress(min(1.0, number / total), f"{number} of {total} frames")
                if finished and time.monotonic() >= shown + PREVIEW_SECONDS:
                    preview.image(finished[-1], width="stretch", alt="the latest frame with detections")
                    shown = time.monotonic()

        def keep(image: np.ndarray) -> None:  # in a thread of the writer, where Streamlit cannot draw
            finished[:] = [image]

        try:
            with (
                VideoReader(path, contained=True, max_pixels=MAX_FRAME_PIXELS) as video,
                frames_ahead(video) as decoded,
            ):
                shown = frames(decoded, min(max_frames, video.frame_count or max_frames))
                options: Any = {
                    "stride": stride,
                    "formats": ["json"],
                    "gray": drawing.gray,
                    "style": drawing.style,
                    "show": keep,
                }
                done = write_annotated_video(video, shown, detect, predictor.class_names, out, **options)
                warning = f"; {without_paths(video.warning)}" if video.warning else ""
        except DetectError as error:
            raise MediaError(without_paths(str(error))) from None
        finally:
            bar.empty()
            preview.empty()
        caption = counted(done.frames, "frame") + warning
        return VideoResult(out.read_bytes(), out.with_suffix(".jsonl").read_bytes(), caption)
