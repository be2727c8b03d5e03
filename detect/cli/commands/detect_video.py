"""Find objects in a video, a camera or a stream, and write it again with boxes, masks and labels drawn on it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.cli.settings import DetectVideoSettings
from detect.progress import warn

if TYPE_CHECKING:
    from detect.inference.predictor import Predictor
    from detect.media.video_reader import VideoReader


def main() -> None:
    settings, _ = parse(DetectVideoSettings, "Find objects in a video and draw them.")

    # Imported here so that --help and a mistyped flag are answered at once; below, the same for torch.
    from detect.io.files import make_folder, new_run_folder
    from detect.media.video_reader import VideoReader

    with ExitStack() as stack:
        video = stack.enter_context(VideoReader(settings.input))
        make_folder(settings.output_dir)

        from detect import progress, runtime
        from detect.inference.load import load_model

        progress.hide_bars(settings.quiet)
        runtime.configure_process()
        predictor = load_model(
            settings.model, device=settings.device, imgsz=settings.imgsz, threshold=settings.threshold
        )
        labels = predictor.class_names.labels(settings.classes) if settings.classes else None
        name = video.source.name
        folder = stack.enter_context(new_run_folder(settings.output_dir, settings.name or name))
        out = folder / f"{name}.mp4"
        if video.live and not settings.quiet:
            print(f"{video.source.shown} until it ends or Ctrl-C -> {out}", flush=True)
        started = time.perf_counter()
        frames, stopped = annotate(
            video,
            predictor,
            labels,
            out,
            stride=settings.stride,
            max_frames=settings.max_frames,
            save_json=settings.save_json,
        )
    seconds = time.perf_counter() - started
    print(f"{frames} frames, {seconds:.1f} s, {frames / seconds:.1f} frames a second -> {out}")
    if stopped:
        raise KeyboardInterrupt(f"stopped after {frames} frames, which are kept")


def annotate(
    video: VideoReader,
    predictor: Predictor,
    labels: Sequence[int] | None,
    out: Path,
    *,
    stride: int = 1,
    max_frames: int | None = None,
    save_json: bool = False,
) -> tuple[int, bool]:
    """Detect on every ``stride``-th frame, and wherever the size changes, and write all frames to ``out``, and with
    ``save_json`` beside it.

    Returns the number of frames written, and whether Ctrl-C ended it early.
    """
    from detect import progress
    from detect.inference.writers import annotated_video

    total = min(video.frame_count or sys.maxsize, max_frames or sys.maxsize)
    stopped = False
    with ExitStack() as stack:
        annotated = stack.enter_context(
            annotated_video(video, predictor.class_names, out, stride=stride, save_json=save_json)
        )
        bar = stack.enter_context(progress.bar(total=total if total < sys.maxsize else None, unit="frame", leave=True))
        hw = video.size_hw
        try:
            for index, frame in enumerate(islice(video, max_frames)):
                if frame.hw != hw:
                    with bar.external_write_mode(file=sys.stderr):
                        warn(f"{video.source.shown} changes from {_words(hw)} to {_words(frame.hw)} at frame {index}")
                    hw = frame.hw
                annotated.write(frame, lambda image: predictor.predict_batch([image], labels)[0])
                bar.update()
        except KeyboardInterrupt:
            if annotated.frames == 0:
                raise
            stopped = True
    if video.trouble:
        warn(video.trouble)
    return annotated.frames, stopped


def _words(hw: tuple[int, int]) -> str:
    return f"{hw[1]}x{hw[0]} (width x height)"
