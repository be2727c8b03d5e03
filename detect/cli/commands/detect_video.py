"""Detect objects in a video, a camera or a stream, and save an annotated copy."""

from __future__ import annotations

import time
from contextlib import ExitStack

from detect.cli.flags import parse
from detect.cli.settings.detection import DetectVideoSettings
from detect.cli.startup import report_model, report_no_detections, start_program
from detect.text import counted


def main() -> None:
    settings, _ = parse(DetectVideoSettings, "Detect objects in a video and save an annotated copy.")

    # Imported late so that --help and errors in flags and paths come before the seconds that torch takes to load.
    from detect.io.files import make_folder, new_run_folder
    from detect.media.quiet import silence_codecs
    from detect.media.video_reader import VideoReader
    from detect.media.window import Window

    silence_codecs()
    with ExitStack() as stack:
        video = stack.enter_context(VideoReader(settings.input[0]))
        make_folder(settings.output_dir)
        window = stack.enter_context(Window(video.source.shown)) if settings.show else None

        from detect.inference.annotate_video import annotate_video
        from detect.inference.load import load_model

        start_program(settings.quiet)
        predictor = load_model(settings.model, **settings.model_settings())
        if not settings.quiet:
            report_model(predictor, settings.model, settings.threshold)
        name = video.source.name
        folder = stack.enter_context(new_run_folder(settings.output_dir, settings.name or name))
        out = folder / f"{name}.mp4"
        if video.live and not settings.quiet:
            print(f"{video.source.shown} until it ends or Ctrl-C -> {out}", flush=True)
        started = time.perf_counter()
        summary = annotate_video(
            predictor,
            video,
            out,
            classes=settings.classes,
            stride=settings.stride,
            max_frames=settings.max_frames,
            batch_size=settings.batch_size,
            formats=settings.formats,
            mask_format=settings.mask_format,
            track=settings.track,
            count_line=settings.line,
            style=settings,
            window=window,
        )
    seconds = time.perf_counter() - started
    frames = counted(summary.frames, "frame")
    if summary.tracks is not None:
        print(", ".join([counted(len(summary.tracks), "track"), *summary.tracks.counts_in_words()]))
    found = "no detections"
    if summary.detections:
        found = f"{counted(summary.detections, 'detection')} in {counted(summary.frames_with_detections, 'frame')}"
    print(f"{frames}, {found}, {seconds:.1f} s, {summary.frames / seconds:.1f} frames per second -> {out}")
    if not summary.detections:
        report_no_detections(predictor)
    if summary.interrupted:
        raise KeyboardInterrupt(f"stopped after {frames}, which are kept in {out}")
