"""detect_video.py from command line to files, with a fake predictor."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.fake_predictor import files

from detect.cli.commands import detect_video
from detect.media import camera as camera_module
from detect.media import ffmpeg
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter


def read_video(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as video:
        assert video.fps == Fraction(24000, 1001)
        return [frame.image for frame in video]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_frame_is_annotated(run_script, predictor, clip, tmp_path, capsys):
    assert run_script(detect_video, "--input", clip) == 0
    assert files(tmp_path / "out") == ["kite/kite.mp4"]
    drawn, source = read_video(tmp_path / "out" / "kite" / "kite.mp4"), read_video(clip)
    assert len(drawn) == len(predictor.batches) == 10
    assert all(np.abs(d.astype(int) - s).max() > 40 for d, s in zip(drawn, source, strict=True))
    first, last = capsys.readouterr().out.splitlines()
    assert first == "model: fake, threshold 0.5" and last.startswith("10 frames, 20 detections in 10 frames, ")


def test_stride_runs_the_model_on_some_frames_and_keeps_all(run_script, predictor, clip, tmp_path):
    assert run_script(detect_video, "--input", clip, "--stride", 4, "--save-json", "--quiet") == 0
    assert len(predictor.batches) == 3
    assert len(read_video(tmp_path / "out" / "kite" / "kite.mp4")) == 10
    rows = lines(tmp_path / "out" / "kite" / "kite.jsonl")
    assert [row["frame"] for row in rows if row["detected"]] == [0, 4, 8]
    assert [row["frame"] for row in rows] == list(range(10))
    assert rows[3]["time"] == pytest.approx(3 * 1001 / 24000, abs=1e-6)
    assert rows[3]["detections"] == rows[0]["detections"]


def test_max_frames_and_classes_are_respected(run_script, predictor, clip, tmp_path):
    assert run_script(detect_video, "--input", clip, "--max-frames", 3, "--classes", "9", "--save-json") == 0
    assert len(read_video(tmp_path / "out" / "kite" / "kite.mp4")) == 3
    rows = lines(tmp_path / "out" / "kite" / "kite.jsonl")
    assert [[d["category_id"] for d in row["detections"]] for row in rows] == [[9]] * 3


def test_truncated_video_is_kept_with_a_warning(run_script, predictor, clip, tmp_path, capsys):
    clip.write_bytes(clip.read_bytes()[:-40])
    assert run_script(detect_video, "--input", clip, "--name", "x", "--quiet") == 0
    assert "warning: " in (error := capsys.readouterr().err) and clip.name in error
    assert 0 < len(read_video(tmp_path / "out" / "x" / clip.name)) < 10


def test_frames_of_another_size_are_processed_at_their_own_size(run_script, predictor, tmp_path, capsys):
    source = tmp_path / "x.h264"
    with source.open("wb") as file:
        for hw in ((48, 64), (80, 96)):
            with VideoWriter(tmp_path / "part.mp4", 25, hw) as out:
                for _ in range(4):
                    out.write(np.zeros((*hw, 3), np.uint8))
            command = ffmpeg.command("-i", str(tmp_path / "part.mp4"), "-c", "copy", "-f", "h264", "-")
            file.write(subprocess.run(command, capture_output=True, check=True).stdout)
    assert run_script(detect_video, "--input", source, "--save-json", "--stride", 3, "--quiet") == 0
    assert "x.h264 changes from 64x48 (width x height) to 96x80 (width x height) at frame 4" in capsys.readouterr().err
    rows = lines(tmp_path / "out" / "x" / "x.jsonl")
    assert [(row["height"], row["width"]) for row in rows] == [(48, 64)] * 4 + [(80, 96)] * 4
    assert [row["frame"] for row in rows if row["detected"]] == [0, 3, 4, 6]
    assert rows[4]["detections"][0]["box_xyxy"] == [1, 1, 48, 40], "in pixels of the frame"
    with VideoReader(tmp_path / "out" / "x" / "x.mp4") as video:
        assert {frame.hw for frame in video} == {(48, 64)}


def test_times_of_a_variable_frame_rate_are_kept(run_script, predictor, tmp_path):
    times = [0, 0.5, 0.6, 1.5]
    with VideoWriter(tmp_path / "x.mp4", 30, (32, 32)) as out:
        for since in times:
            out.write(np.zeros((32, 32, 3), np.uint8), Fraction(since))
    assert run_script(detect_video, "--input", tmp_path / "x.mp4", "--save-json", "--quiet") == 0
    rows = lines(tmp_path / "out" / "x" / "x.jsonl")
    assert [row["time"] for row in rows] == pytest.approx(times, abs=0.001)
    with VideoReader(tmp_path / "out" / "x" / "x.mp4") as video:
        assert [float(frame.time) for frame in video] == pytest.approx(times, abs=0.001)


def test_ctrl_c_keeps_a_playable_video(run_script, predictor, clip, tmp_path, capsys):
    predictor.interrupt_at = 5
    assert run_script(detect_video, "--input", clip, "--save-json", "--quiet") == 130
    assert len(read_video(tmp_path / "out" / "kite" / "kite.mp4")) == 4
    assert len(lines(tmp_path / "out" / "kite" / "kite.jsonl")) == 4
    assert capsys.readouterr().err == f"stopped after 4 frames, which are kept in {tmp_path}/out/kite/kite.mp4\n"


def test_ctrl_c_before_the_first_frame_leaves_no_file(run_script, predictor, clip, tmp_path):
    predictor.interrupt_at = 1
    assert run_script(detect_video, "--input", clip, "--quiet") == 130
    assert not files(tmp_path / "out")


def test_an_absent_camera_is_one_line(run_script, capfd):
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)  # as in a new process
    assert run_script(detect_video, "--input", "99") == 2
    printed = capfd.readouterr()
    assert printed.err.startswith("error: camera 99 cannot be opened: ") and printed.err.count("\n") == 1


@pytest.fixture
def camera(monkeypatch, predictor):
    """Camera 3 with frames of 40 x 60 pixels, unplugged 10 frames after the fifth call of the predictor."""

    class Camera:
        left = 10

        def __init__(self, number: int) -> None:
            assert number == 3
            self.num_calls = len(predictor.batches)

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return True

        def read(self):
            self.left -= len(predictor.batches) >= self.num_calls + 5
            time.sleep(0.02)
            return self.left >= 0, np.full((40, 60, 3), 99, np.uint8)

        def release(self) -> None:
            pass

    monkeypatch.setattr(camera_module.cv2, "VideoCapture", Camera)


def test_camera_is_recorded_until_it_is_unplugged(run_script, predictor, camera, tmp_path, capsys):
    assert run_script(detect_video, "--input", 3, "--save-json") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith(
        f"camera 3 until it ends or Ctrl-C -> {tmp_path}/out/camera_3/camera_3.mp4"
    )
    assert "warning: camera 3 has ended: " in printed.err
    rows = lines(tmp_path / "out" / "camera_3" / "camera_3.jsonl")
    with VideoReader(tmp_path / "out" / "camera_3" / "camera_3.mp4") as video:
        times = [float(frame.time) for frame in video]
    assert 5 <= len(rows) <= 20
    assert times == pytest.approx([row["time"] for row in rows], abs=0.001)


def test_ctrl_c_and_max_frames_end_the_recording_of_a_camera(run_script, predictor, camera, tmp_path):
    assert run_script(detect_video, "--input", 3, "--max-frames", 2, "--quiet") == 0
    predictor.interrupt_at = len(predictor.batches) + 4
    assert run_script(detect_video, "--input", 3, "--quiet") == 130
    for name, count in {"camera_3": 2, "camera_3_2": 3}.items():
        with VideoReader(tmp_path / "out" / name / "camera_3.mp4") as video:
            assert len(list(video)) == count


def test_frames_of_a_camera_never_wait_for_a_batch(run_script, predictor, camera, tmp_path):
    assert run_script(detect_video, "--input", 3, "--max-frames", 3, "--batch-size", 4, "--quiet") == 0
    assert predictor.batches == [1, 1, 1]


def test_tracking_writes_a_row_per_object_and_prints_the_counts(run_script, predictor, clip, tmp_path, capsys):
    assert run_script(detect_video, "--input", clip, "--track", "--save-json") == 0
    folder = tmp_path / "out" / "kite"
    assert files(folder) == ["kite.jsonl", "kite.mp4", "kite_tracks.csv", "kite_tracks.json"]
    assert "2 tracks\n" in capsys.readouterr().out
    assert [[one["track_id"] for one in row["detections"]] for row in lines(folder / "kite.jsonl")] == [[1, 2]] * 10
    assert run_script(detect_video, "--input", clip, "--count-line", "0,9,62,9", "--quiet") == 0
    assert "2 tracks, balloon: 0 down, 0 up, kite: 0 down, 0 up\n" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "kite_2" / "kite_tracks.json").read_text())
    assert document["count_line"] == {"xyxy": [0, 9, 62, 9], "counts": {"balloon": ZERO, "kite": ZERO}}


ZERO = {"down": 0, "up": 0}


@pytest.mark.parametrize("line", ["1,2,3", "a,b,c,d", "5,5,5,5", "0,900,62,900"])
def test_a_wrong_count_line_is_one_line_of_text(run_script, predictor, clip, tmp_path, capsys, line):
    assert run_script(detect_video, "--input", clip, "--count-line", line) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --count-line {line} ") and error.count("\n") == 1
    assert not predictor.batches and not files(tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_show_without_a_display_is_one_line_of_text(run_script, predictor, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    assert run_script(detect_video, "--input", clip, "--show") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --show needs a display: ") and error.count("\n") == 1
    assert not predictor.batches and not files(tmp_path / "out")
