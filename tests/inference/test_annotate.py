"""Images and videos are annotated by the same functions for scripts and library users."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest
from helpers.fake_predictor import NAMES, FakePredictor, files

from detect.errors import UsageError
from detect.inference.annotate_images import AnnotatedImage, UnreadableImage, annotate_images
from detect.inference.annotate_video import annotate_video
from detect.inference.writers import Source
from detect.inference.writers.annotated_video import write_annotated_video
from detect.media.drawing_style import DrawingStyle
from detect.media.palette import color
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

# Images


def test_images_are_annotated_one_by_one_and_unreadable_ones_reported(images, tmp_path):
    (images / "b.jpg").write_bytes(b"junk")
    out = tmp_path / "out"
    out.mkdir()
    predictor = FakePredictor()
    paths = sorted(images.iterdir())
    results = list(annotate_images(predictor, paths, out, classes=["kite"], batch_size=2, formats=["json"]))
    by_name = {result.path.name: result for result in results}
    assert isinstance(by_name["b.jpg"], UnreadableImage) and "b.jpg" in by_name["b.jpg"].reason
    for name in ("a.png", "c.png"):
        result = by_name[name]
        assert isinstance(result, AnnotatedImage) and result.output == out / name
        assert result.detections.names == ["kite"]
    assert files(out) == ["a.png", "c.png", "detections.json"] and predictor.batches == [1, 1]


def test_stopping_early_keeps_the_images_so_far(images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with closing(annotate_images(FakePredictor(), sorted(images.iterdir()), out, formats=["json"])) as results:
        next(results)
    kept = [entry["annotated_file"] for entry in json.loads((out / "detections.json").read_text())["images"]]
    assert kept[0] == "a.png" and files(out) == sorted([*kept, "detections.json"])


def test_unknown_class_or_format_is_an_error_before_any_work(images, clip, tmp_path):
    predictor = FakePredictor()
    for wrong in ({"classes": ["kit"]}, {"formats": ["jsn"]}):
        with pytest.raises(UsageError, match="did you mean"):
            next(annotate_images(predictor, sorted(images.iterdir()), tmp_path, **wrong))
        with pytest.raises(UsageError, match="did you mean"), VideoReader(clip) as video:
            annotate_video(predictor, video, tmp_path / "out.mp4", **wrong)
    assert not predictor.batches and not list(tmp_path.glob("out*"))


# Videos


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_video_is_annotated_with_stride_classes_and_frame_limit(clip, tmp_path):
    predictor = FakePredictor()
    with VideoReader(clip) as video:
        summary = annotate_video(
            predictor, video, tmp_path / "out.mp4", classes=[9], stride=2, max_frames=5, formats=["json"]
        )
    assert (summary.frames, summary.interrupted) == (5, False)
    rows = lines(tmp_path / "out.jsonl")
    assert [row["frame"] for row in rows if row["detected"]] == [0, 2, 4] and len(rows) == 5
    assert all([one["name"] for one in row["detections"]] == ["kite"] for row in rows)


def test_one_warning_counts_the_images_and_the_frames_that_reached_the_limit(images, clip, tmp_path, capsys):
    predictor = FakePredictor()
    list(annotate_images(predictor, sorted(images.iterdir()), tmp_path))
    assert "limit" not in capsys.readouterr().err
    predictor.max_detections = 2
    list(annotate_images(predictor, sorted(images.iterdir()), tmp_path, classes=["kite"], formats=["json"]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 3 of 3 images") and "`max_detections=2`" in line
    rows = json.loads((tmp_path / "detections.json").read_text())["images"]
    assert [row["limit_reached"] for row in rows] == [True] * 3
    with closing(annotate_images(predictor, sorted(images.iterdir()), tmp_path)) as results:
        next(results)
    assert "reached the limit" in capsys.readouterr().err
    with VideoReader(clip) as video:
        annotate_video(predictor, video, tmp_path / "out.mp4", stride=3, max_frames=7, formats=["json"])
    assert "warning: 3 of 3 frames" in capsys.readouterr().err
    assert all(row["limit_reached"] for row in lines(tmp_path / "out.jsonl"))


def test_interrupted_video_keeps_its_frames(clip, tmp_path):
    predictor = FakePredictor()
    predictor.interrupt_at = 4
    with VideoReader(clip) as video:
        summary = annotate_video(predictor, video, tmp_path / "out.mp4")
    assert (summary.frames, summary.interrupted) == (3, True)
    predictor.interrupt_at = len(predictor.batches) + 1
    with pytest.raises(KeyboardInterrupt), VideoReader(clip) as video:
        annotate_video(predictor, video, tmp_path / "none.mp4")


def test_model_runs_on_every_nth_frame_and_where_the_size_changes(tmp_path):
    clip, seen = tmp_path / "clip.mp4", []
    with VideoWriter(clip, 10, (64, 96)) as out:
        out.write(np.zeros((64, 96, 3), np.uint8))

    def detect(frames: Sequence[Frame]) -> list[Detections]:
        seen.extend(frame.hw for frame in frames)
        return [Detections(frame.hw) for frame in frames]

    sizes = [(64, 96), (64, 96), (64, 96), (64, 96), (32, 48), (32, 48), (32, 48)]
    path = tmp_path / "out.mp4"
    frames = [Frame(np.zeros((*hw, 3), np.uint8), Fraction(i, 10), None) for i, hw in enumerate(sizes)]
    with VideoReader(clip) as video:
        write_annotated_video(video, frames, detect, NAMES, path, stride=3, formats=["json"])
    assert [row["frame"] for row in lines(path.with_suffix(".jsonl")) if row["detected"]] == [0, 3, 4, 6]
    assert seen == [(64, 96), (64, 96), (32, 48), (32, 48)]


def test_an_overlay_lies_below_boxes_and_its_captions_above_them(tmp_path):
    clip, shown, white = tmp_path / "clip.mp4", [], (255, 255, 255)
    box = np.array([[2, 2, 60, 60]], np.float32)
    one = Detections((64, 96), box, np.ones(1, np.float32), np.ones(1, np.int64))

    def overlay(canvas: np.ndarray, source: Source, detections: Detections) -> list[str]:
        canvas[30:34] = white
        return ["2 up"]

    with VideoWriter(clip, 10, (64, 96)) as out:
        out.write(np.zeros((64, 96, 3), np.uint8))
    with VideoReader(clip) as video:
        style = DrawingStyle(hide_labels=True)
        options = {"style": style, "overlay": overlay, "show": shown.append}
        write_annotated_video(video, video, lambda _: [one], NAMES, tmp_path / "out.mp4", **options)
    (frame,) = shown
    assert tuple(frame[32, 60]) == color(0) and tuple(frame[32, 80]) == white, "the box lies above the overlay"
    assert tuple(frame[2, 0]) == tuple(frame[2, 2]) == white, "the plate of the caption lies above the box"


@pytest.mark.parametrize("gray", [True, False])
def test_gray_removes_color_outside_the_objects(tmp_path, gray):
    clip, names = tmp_path / "clip.mp4", ClassNames(("kite",))
    red = np.full((64, 96, 3), (200, 30, 30), np.uint8)
    with VideoWriter(clip, 10, (64, 96)) as out:
        out.write(red)
        out.write(red)
    box = np.array([[48, 0, 96, 64]], np.float32)
    one = Detections((64, 96), box, np.ones(1, np.float32), np.ones(1, np.int64))
    path = tmp_path / "out.mp4"
    found = iter((one, Detections((64, 96))))
    with VideoReader(clip) as video:
        write_annotated_video(video, video, lambda _: [next(found)], names, path, formats=["json"], gray=gray)
    with VideoReader(path) as video:
        first, second = (np.ptp(frame.image.astype(int), axis=2) for frame in video)
    outside, inside = first[40:, :40].mean(), first[40:, 60:88].mean()
    assert inside > 100 and (outside < 20) == (second.mean() < 20) == gray
    rows = [(row["frame"], row["detected"], len(row["detections"])) for row in lines(path.with_suffix(".jsonl"))]
    assert rows == [(0, True, 1), (1, True, 0)]
