"""Videos: batches, tracking, and failures of one part while the others work."""

from __future__ import annotations

import csv
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fake_predictor import FakePredictor, files

from detect.errors import DiskError, MediaError, UsageError
from detect.inference.annotate_video import annotate_video
from detect.inference.tracking.count_line import CountLine
from detect.inference.writers.annotated_video import write_annotated_video
from detect.media import ffmpeg
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter
from detect.structures.detections import Detections


class MovingPredictor(FakePredictor):
    """Detects one balloon that moves down by 4 pixels from frame to frame; its score is in ``scores``, in turn.

    thresholds: of the calls.
    """

    def __init__(self, scores: tuple[float, ...] = (0.9,)) -> None:
        super().__init__()
        self.scores = scores
        self.thresholds: list[float | None] = []
        self.count = 0

    def predict_batch(self, images, labels=None, threshold=None):
        self.thresholds.append(threshold)
        results = []
        for every in super().predict_batch(images, labels, threshold):
            top = 4 * self.count
            boxes = np.float32([[10, top, 30, top + 16]])
            score = np.float32([self.scores[self.count % len(self.scores)]])
            found = Detections(every.image_hw, boxes, score, np.ones(1, np.int64), class_names=self.class_names)
            results.append(found.filter(self.threshold if threshold is None else threshold))
            self.count += 1
        return results


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def annotated(predictor: FakePredictor, clip: Path, folder: Path, **options) -> list[dict]:
    """Return the rows of the JSON file."""
    folder.mkdir(exist_ok=True)
    with VideoReader(clip) as video:
        annotate_video(predictor, video, folder / "out.mp4", formats=["json"], **options)
    return lines(folder / "out.jsonl")


# Batches


@pytest.mark.parametrize(("batch_size", "stride", "batches"), [(4, 1, [4, 4, 2]), (3, 2, [3, 2]), (8, 5, [2])])
def test_batches_of_frames_give_the_same_result(clip, tmp_path, batch_size, stride, batches):
    predictor = FakePredictor()
    rows = annotated(predictor, clip, tmp_path / "batches", batch_size=batch_size, stride=stride)
    assert predictor.batches == batches
    assert rows == annotated(FakePredictor(), clip, tmp_path / "single", stride=stride)


def test_on_a_gpu_frames_are_batched_by_default(clip, tmp_path):
    predictor = FakePredictor()
    predictor.device = torch.device("cuda")
    assert len(annotated(predictor, clip, tmp_path / "gpu")) == 10 and predictor.batches == [8, 2]


def test_frames_do_not_wait_without_end_for_a_full_batch(tmp_path):
    path, seen = tmp_path / "x.mp4", []
    with VideoWriter(path, 25, (16, 16)) as out:
        for _ in range(90):
            out.write(np.zeros((16, 16, 3), np.uint8))

    def detect(frames):
        seen.append(len(frames))
        return [Detections(frame.hw) for frame in frames]

    with VideoReader(path) as video:
        done = write_annotated_video(
            video, video, detect, FakePredictor.class_names, tmp_path / "out.mp4", stride=20, batch_size=100
        )
    assert done.frames == 90 and seen == [2, 2, 1]


# Tracking


def test_tracked_objects_have_numbers_and_files_of_their_own(clip, tmp_path):
    rows = annotated(MovingPredictor(), clip, tmp_path / "out", track=True)
    assert files(tmp_path / "out") == ["out.jsonl", "out.mp4", "out_tracks.csv", "out_tracks.json"]
    assert [[one["track_id"] for one in row["detections"]] for row in rows] == [[1]] * 10
    (track,) = json.loads((tmp_path / "out" / "out_tracks.json").read_text())["tracks"]
    assert (track["name"], track["detections"], track["last_frame"]) == ("balloon", 10, 9)
    with (tmp_path / "out" / "out_tracks.csv").open() as file:
        assert [row["track_id"] for row in csv.DictReader(file)] == ["1"]


def test_the_model_is_asked_for_low_scores_and_they_continue_a_track(clip, tmp_path):
    predictor = MovingPredictor((0.9, 0.4, 0.35))
    rows = annotated(predictor, clip, tmp_path / "out", track=True)
    assert [row["detections"][0]["track_id"] for row in rows] == [1] * 10
    assert set(predictor.thresholds) == {0.3}
    predictor = MovingPredictor((0.4,))
    assert not any(row["detections"] for row in annotated(predictor, clip, tmp_path / "low", track=True))
    predictor.threshold, predictor.class_thresholds = 0.2, {"balloon": 0.2, "kite": 0.9}
    annotated(predictor, clip, tmp_path / "lower", track=True)
    assert predictor.thresholds[-1] == 0.2, "the lowest threshold of a class is lower"


@pytest.mark.parametrize("options", [{}, {"stride": 3}, {"batch_size": 4}])
def test_objects_that_cross_the_line_are_counted(clip, tmp_path, options):
    predictor = MovingPredictor()
    with VideoReader(clip) as video:
        line = CountLine.parse("0,18,62,18")
        summary = annotate_video(predictor, video, tmp_path / "out.mp4", count_line=line, **options)
    assert summary.tracks.counts == {"balloon": {"down": 1, "up": 0}}
    document = json.loads((tmp_path / "out_tracks.json").read_text())
    assert document["count_line"]["counts"] == summary.tracks.counts


def test_a_line_outside_of_the_frames_is_refused_before_any_work(clip, tmp_path):
    predictor = FakePredictor()
    with pytest.raises(UsageError, match="62x46"), VideoReader(clip) as video:
        annotate_video(predictor, video, tmp_path / "out.mp4", count_line=CountLine.parse("0,99,62,99"))
    assert not predictor.batches and files(tmp_path) == ["kite.mp4"]


def test_tracks_before_ctrl_c_are_kept(clip, tmp_path):
    predictor = MovingPredictor()
    predictor.interrupt_at = 5
    with VideoReader(clip) as video:
        summary = annotate_video(predictor, video, tmp_path / "out.mp4", track=True)
    assert summary.interrupted and summary.frames == 4
    (track,) = json.loads((tmp_path / "out_tracks.json").read_text())["tracks"]
    assert track["detections"] == 4
    predictor.interrupt_at = len(predictor.batches) + 1
    with pytest.raises(KeyboardInterrupt), VideoReader(clip) as video:
        annotate_video(predictor, video, tmp_path / "none.mp4", track=True)
    assert not list(tmp_path.glob("none*"))


def test_numbers_survive_a_change_of_the_frame_size(tmp_path):
    path = tmp_path / "x.mp4"
    with VideoWriter(path, 10, (64, 96)) as out:
        out.write(np.zeros((64, 96, 3), np.uint8))
    sizes = [(64, 96)] * 4 + [(32, 48)] * 4
    frames = [Frame(np.zeros((*hw, 3), np.uint8), Fraction(i, 10), None) for i, hw in enumerate(sizes)]

    class Clip(VideoReader):
        def __iter__(self):
            return iter(frames)

    with Clip(path) as video:
        annotate_video(FakePredictor(), video, tmp_path / "out.mp4", formats=["json"], track=True)
    found = [[one["track_id"] for one in row["detections"]] for row in lines(tmp_path / "out.jsonl")]
    assert found == [[1, 2]] * 8


# A part that fails


class FailingPredictor(FakePredictor):
    """Raises ``error`` in the sixth call."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def predict_batch(self, images, labels=None, threshold=None):
        if len(self.batches) == 5:
            raise self.error
        return super().predict_batch(images, labels, threshold)


@pytest.mark.parametrize("error", [MediaError("broken"), RuntimeError("out of memory")])
def test_a_failing_model_keeps_the_frames_before_it(clip, tmp_path, error):
    with pytest.raises(type(error), match=str(error)) as raised, VideoReader(clip) as video:
        annotate_video(FailingPredictor(error), video, tmp_path / "out.mp4", formats=["json"], track=True)
    if isinstance(error, MediaError):
        assert re.search(r"the frames before that are in .*out\.part\.mp4$", str(raised.value))
    with VideoReader(tmp_path / "out.part.mp4") as video:
        assert len(list(video)) == 5
    assert len(lines(tmp_path / "out.jsonl")) == 5 and (tmp_path / "out_tracks.json").is_file()


def test_a_failing_decoder_keeps_the_frames_before_it(clip, tmp_path):
    class Clip(VideoReader):
        def __iter__(self):
            for index, frame in enumerate(super().__iter__()):
                if index == 7:
                    raise MediaError("the camera has caught fire")
                yield frame

    with (
        pytest.raises(MediaError, match=r"caught fire; the frames before that are in .*out\.part\.mp4"),
        Clip(clip) as video,
    ):
        annotate_video(FakePredictor(), video, tmp_path / "out.mp4", formats=["json"])
    with VideoReader(tmp_path / "out.part.mp4") as video:
        assert len(list(video)) == len(lines(tmp_path / "out.jsonl")) == 7


def test_a_full_disk_ends_the_work_with_one_line_that_names_what_is_kept(tmp_path, monkeypatch):
    noise = np.random.default_rng(0)
    with VideoWriter(tmp_path / "noise.mp4", 25, (64, 64)) as out:
        for _ in range(500):
            out.write(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    predictor = FakePredictor()
    with VideoReader(tmp_path / "noise.mp4") as video:
        command, limit = ffmpeg.command, "trap '' XFSZ; ulimit -f 400; exec \"$@\""
        monkeypatch.setattr(ffmpeg, "command", lambda *arguments: ["sh", "-c", limit, "sh", *command(*arguments)])
        with pytest.raises(DiskError, match=r"out\.mp4: .*out\.part\.mp4 can be played up to that point"):
            annotate_video(predictor, video, tmp_path / "out.mp4", formats=["json"])
    assert len(predictor.batches) < 500, "the model does not go on"
    with VideoReader(tmp_path / "out.part.mp4") as video:
        assert 0 < len(list(video)) <= len(lines(tmp_path / "out.jsonl"))


def test_a_json_file_that_cannot_be_written_ends_the_work(clip, tmp_path):
    (tmp_path / "out.jsonl").mkdir()
    with pytest.raises(DiskError, match=r"out\.jsonl: .*; the frames before that are in .*out\.part\.mp4"):
        annotated(FakePredictor(), clip, tmp_path)
