"""detect_image.py and detect_video.py, from command line to files, with a stand-in for the model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import detect_image
import detect_video
from detect.errors import DiskError, exit_status
from detect.media import ffmpeg, images, live
from detect.media.images import read_image, write_image
from detect.media.video import VideoReader
from detect.media.video_writer import VideoWriter
from detect.types import ClassNames, Detections

ROOT = Path(__file__).parent.parent
NAMES = ClassNames(("balloon", "kite"), (7, 9))


class FakePredictor:
    """Finds one balloon and one kite in every picture, and keeps the sizes of its batches."""

    class_names = NAMES
    threshold = 0.5

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.interrupt_at = sys.maxsize

    def __call__(self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None) -> list[Detections]:
        self.batches.append(len(images))
        if len(self.batches) == self.interrupt_at:
            raise KeyboardInterrupt
        found = []
        for image in images:
            assert image.dtype == np.uint8 and image.shape[2] == 3
            h, w = image.shape[:2]
            boxes = np.array([[1, 1, w / 2, h / 2], [w / 4, h / 4, w - 1, h - 1]], np.float32)
            every = Detections((h, w), boxes, np.array([0.91, 0.6], np.float32), np.array([1, 2]))
            found.append(every.filter(self.threshold, labels))
        return found


@pytest.fixture
def predictor(monkeypatch):
    """The stand-in; ``asked`` holds what the script asked load_predictor for."""
    fake = FakePredictor()
    fake.asked = {}

    def load_predictor(model, **options):
        fake.asked.update(options, model=model)
        return fake

    module = types.ModuleType("detect.predictor")
    module.load_predictor = load_predictor
    monkeypatch.setitem(sys.modules, "detect.predictor", module)
    return fake


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a script's main in-process with ``--output-dir tmp_path/out``; its exit status."""

    def call(script, *arguments) -> int:
        line = [script.__name__, *map(str, arguments), "--output-dir", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", line)
        return exit_status(script.main)

    return call


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate(("a.png", "b.jpg", "c.png")):
        write_image(folder / name, np.full((40 + i, 60, 3), 80 * i, np.uint8))
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "kite.mp4"
    with VideoWriter(path, Fraction(24000, 1001), (46, 62)) as out:
        for i in range(10):
            out.write(np.full((46, 62, 3), 20 * i, np.uint8))
    return path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# Pictures


def test_a_folder_is_drawn_and_told_line_by_line(run, predictor, pictures, tmp_path, capsys):
    assert run(detect_image, "--input", pictures) == 0
    out = tmp_path / "out"
    assert files(out) == ["in/a.png", "in/b.jpg", "in/c.png"]
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"{pictures}/a.png: 1 balloon (0.91), 1 kite (0.60) -> {out}/in/a.png"
    assert last.startswith("3 pictures, 6 objects, ") and last.endswith(f"-> {out}/in")
    assert (read_image(out / "in" / "a.png") != read_image(pictures / "a.png")).any()


def test_the_settings_reach_the_predictor(run, predictor, pictures):
    flags = ["--model", "m.safetensors", "--imgsz", 320, "--threshold", 0.3, "--device", "cpu"]
    assert run(detect_image, "--input", pictures / "a.png", *flags) == 0
    assert predictor.asked == {"model": "m.safetensors", "imgsz": 320, "threshold": 0.3, "device": "cpu"}


def test_runs_never_share_a_folder(run, predictor, pictures, tmp_path):
    for _ in range(2):
        assert run(detect_image, "--input", pictures / "a.png") == 0
    assert run(detect_image, "--input", pictures / "*.png", "--name", "mine") == 0
    assert run(detect_image, "--input", pictures / "*.png") == 0
    assert files(tmp_path / "out") == [
        "a/a.png", "a_2/a.png", "in/a.png", "in/c.png", "mine/a.png", "mine/c.png",
    ]  # fmt: skip


def test_batches_hold_what_was_asked(run, predictor, pictures):
    assert run(detect_image, "--input", pictures, "--batch-size", 2) == 0
    assert predictor.batches == [2, 1]


@pytest.mark.parametrize("kite", ["kite", "9"])
def test_classes_are_names_or_ids(run, predictor, pictures, tmp_path, kite):
    assert run(detect_image, "--input", pictures, "--classes", kite, "--save-json") == 0
    rows = json.loads((tmp_path / "out" / "in" / "detections.json").read_text())
    assert [Path(row["source"]).name for row in rows] == ["a.png", "b.jpg", "c.png"]
    assert all([d["name"] for d in row["detections"]] == ["kite"] for row in rows)
    assert rows[1]["height"] == 41


def test_an_unknown_class_is_refused_before_any_work(run, predictor, pictures, tmp_path, capsys):
    assert run(detect_image, "--input", pictures, "--classes", "kit") == 2
    assert "error: unknown class 'kit': did you mean kite?" in capsys.readouterr().err
    assert not predictor.batches and not files(tmp_path / "out")


def test_a_broken_picture_costs_only_itself(run, predictor, pictures, tmp_path, capsys):
    (pictures / "b.jpg").write_bytes(b"junk")
    assert run(detect_image, "--input", pictures, "--save-json") == 2
    assert files(tmp_path / "out") == ["in/a.png", "in/c.png", "in/detections.json"]
    said = capsys.readouterr()
    assert "1 of 3 pictures could not be read:\n" in said.err and "b.jpg is not a picture" in said.err
    assert "2 pictures, 4 objects" in said.out


def test_quiet_leaves_the_last_line(run, predictor, pictures, capsys):
    assert run(detect_image, "--input", pictures, "--quiet") == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_ctrl_c_keeps_the_pictures_done(run, predictor, pictures, tmp_path, capsys):
    predictor.interrupt_at = 2
    assert run(detect_image, "--input", pictures, "--save-json") == 130
    assert files(tmp_path / "out") == ["in/a.png", "in/detections.json"]
    assert len(json.loads((tmp_path / "out" / "in" / "detections.json").read_text())) == 1
    assert capsys.readouterr().err == "stopped after 1 of 3 pictures, which are kept\n"


def test_a_full_disk_keeps_the_pictures_done(run, predictor, pictures, tmp_path, capsys, monkeypatch):
    def full_at_b(path, content):
        if path.name == "b.jpg":
            raise DiskError(f"cannot write {path}: No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(images, "write_bytes", full_at_b)
    assert run(detect_image, "--input", pictures, "--save-json") == 2
    assert files(tmp_path / "out") == ["in/a.png", "in/detections.json"]
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith("b.jpg: No space left on device; 1 of 3 pictures are done and kept")


@pytest.mark.parametrize("script", [detect_image, detect_video])
def test_an_unwritable_output_is_told_before_the_model_loads(run, predictor, pictures, clip, tmp_path, script):
    (tmp_path / "out").touch()
    assert run(script, "--input", clip if script is detect_video else pictures) == 2
    assert not predictor.asked


@pytest.mark.parametrize("script", [detect_image, detect_video])
def test_a_missing_input_is_told_before_the_model_loads(run, predictor, script, capsys):
    assert run(script, "--input", "none.mp4") == 2
    assert "none.mp4" in capsys.readouterr().err
    assert not predictor.asked


def test_many_scores_are_cut_short():
    boxes, scores = np.zeros((7, 4), np.float32), np.linspace(0.9, 0.6, 7, dtype=np.float32)
    words = detect_image.in_words(Detections((9, 9), boxes, scores, np.ones(7, np.int64)), NAMES)
    assert words == "7 balloon (0.90 0.85 0.80 0.75 0.70 ...)"
    assert detect_image.in_words(Detections((9, 9)), NAMES) == "nothing found"


# Videos


def read_video(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as video:
        assert video.fps == Fraction(24000, 1001)
        return [frame.image for frame in video]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_frame_is_drawn(run, predictor, clip, tmp_path, capsys):
    assert run(detect_video, "--input", clip) == 0
    assert files(tmp_path / "out") == ["kite/kite.mp4"]
    drawn, source = read_video(tmp_path / "out" / "kite" / "kite.mp4"), read_video(clip)
    assert len(drawn) == len(predictor.batches) == 10
    assert all(np.abs(d.astype(int) - s).max() > 40 for d, s in zip(drawn, source, strict=True))
    assert capsys.readouterr().out.startswith("10 frames, ")


def test_stride_looks_at_some_frames_and_keeps_all(run, predictor, clip, tmp_path):
    assert run(detect_video, "--input", clip, "--stride", 4, "--save-json", "--quiet") == 0
    assert len(predictor.batches) == 3
    assert len(read_video(tmp_path / "out" / "kite" / "kite.mp4")) == 10
    rows = lines(tmp_path / "out" / "kite" / "kite.jsonl")
    assert [row["frame"] for row in rows if row["detected"]] == [0, 4, 8]
    assert [row["frame"] for row in rows] == list(range(10))
    assert rows[3]["time"] == pytest.approx(3 * 1001 / 24000, abs=1e-6)
    assert rows[3]["detections"] == rows[0]["detections"]


def test_max_frames_and_classes(run, predictor, clip, tmp_path):
    assert run(detect_video, "--input", clip, "--max-frames", 3, "--classes", "9", "--save-json") == 0
    assert len(read_video(tmp_path / "out" / "kite" / "kite.mp4")) == 3
    rows = lines(tmp_path / "out" / "kite" / "kite.jsonl")
    assert [[d["category_id"] for d in row["detections"]] for row in rows] == [[9]] * 3


def test_a_video_that_breaks_off_is_kept_and_told(run, predictor, clip, tmp_path, capsys):
    clip.write_bytes(clip.read_bytes()[:-40])
    assert run(detect_video, "--input", clip, "--name", "x", "--quiet") == 0
    assert "is damaged or breaks off" in capsys.readouterr().err
    assert 0 < len(read_video(tmp_path / "out" / "x" / clip.name)) < 10


def test_a_video_that_changes_its_size_is_looked_at_as_it_is(run, predictor, tmp_path, capsys):
    source = tmp_path / "x.h264"
    with source.open("wb") as file:
        for hw in ((48, 64), (80, 96)):
            with VideoWriter(tmp_path / "part.mp4", 25, hw) as out:
                for _ in range(4):
                    out.write(np.zeros((*hw, 3), np.uint8))
            command = ffmpeg.command("-i", str(tmp_path / "part.mp4"), "-c", "copy", "-f", "h264", "-")
            file.write(subprocess.run(command, capture_output=True, check=True).stdout)
    assert run(detect_video, "--input", source, "--save-json", "--stride", 3, "--quiet") == 0
    assert "x.h264 changes from 64x48 (width x height) to 96x80 (width x height) at frame 4" in capsys.readouterr().err
    rows = lines(tmp_path / "out" / "x" / "x.jsonl")
    assert [(row["height"], row["width"]) for row in rows] == [(48, 64)] * 4 + [(80, 96)] * 4
    assert [row["frame"] for row in rows if row["detected"]] == [0, 3, 4, 6]
    assert rows[4]["detections"][0]["box_xyxy"] == [1, 1, 48, 40], "in pixels of the frame itself"
    with VideoReader(tmp_path / "out" / "x" / "x.mp4") as video:
        assert {frame.hw for frame in video} == {(48, 64)}


def test_a_varying_rate_is_told_truly(run, predictor, tmp_path):
    times = [0, 0.5, 0.6, 1.5]
    with VideoWriter(tmp_path / "x.mp4", 30, (32, 32)) as out:
        for since in times:
            out.write(np.zeros((32, 32, 3), np.uint8), Fraction(since))
    assert run(detect_video, "--input", tmp_path / "x.mp4", "--save-json", "--quiet") == 0
    rows = lines(tmp_path / "out" / "x" / "x.jsonl")
    assert [row["time"] for row in rows] == pytest.approx(times, abs=0.001)
    with VideoReader(tmp_path / "out" / "x" / "x.mp4") as video:
        assert [float(frame.time) for frame in video] == pytest.approx(times, abs=0.001)


def test_ctrl_c_keeps_a_video_that_plays(run, predictor, clip, tmp_path, capsys):
    predictor.interrupt_at = 5
    assert run(detect_video, "--input", clip, "--save-json", "--quiet") == 130
    assert len(read_video(tmp_path / "out" / "kite" / "kite.mp4")) == 4
    assert len(lines(tmp_path / "out" / "kite" / "kite.jsonl")) == 4
    assert capsys.readouterr().err == "stopped after 4 frames, which are kept\n"


def test_ctrl_c_before_the_first_frame_leaves_no_video(run, predictor, clip, tmp_path):
    predictor.interrupt_at = 1
    assert run(detect_video, "--input", clip, "--quiet") == 130
    assert not files(tmp_path / "out")


@pytest.fixture
def camera(monkeypatch):
    """Camera 3, of 40 x 60 pixels, which is unplugged after 30 pictures."""

    class Camera:
        left = 30

        def __init__(self, number: int) -> None:
            assert number == 3

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return True

        def read(self):
            self.left -= 1
            time.sleep(0.02)
            return self.left >= 0, np.full((40, 60, 3), 99, np.uint8)

        def release(self) -> None:
            pass

    monkeypatch.setattr(live.cv2, "VideoCapture", Camera)


def test_a_camera_is_recorded_until_it_is_unplugged(run, predictor, camera, tmp_path, capsys):
    assert run(detect_video, "--input", 3, "--save-json") == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"camera 3 until it ends or Ctrl-C -> {tmp_path}/out/camera_3/camera_3.mp4\n")
    assert "warning: camera 3 has ended: " in said.err
    rows = lines(tmp_path / "out" / "camera_3" / "camera_3.jsonl")
    with VideoReader(tmp_path / "out" / "camera_3" / "camera_3.mp4") as video:
        times = [float(frame.time) for frame in video]
    assert 1 < len(rows) <= 30
    assert times == pytest.approx([row["time"] for row in rows], abs=0.001)


def test_ctrl_c_and_max_frames_end_a_camera(run, predictor, camera, tmp_path):
    assert run(detect_video, "--input", 3, "--max-frames", 2, "--quiet") == 0
    predictor.interrupt_at = len(predictor.batches) + 4
    assert run(detect_video, "--input", 3, "--quiet") == 130
    for name, count in {"camera_3": 2, "camera_3_2": 3}.items():
        with VideoReader(tmp_path / "out" / name / "camera_3.mp4") as video:
            assert len(list(video)) == count


# The real command lines


@pytest.mark.parametrize("script", ["detect_image.py", "detect_video.py"])
def test_help_and_mistakes_need_no_torch(script):
    def call(*arguments: str) -> subprocess.CompletedProcess:
        code = (
            "import runpy, sys; sys.argv = sys.argv[1:]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "finally: assert 'torch' not in sys.modules"
        )
        command = [sys.executable, "-c", code, script, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    help_ = call("--help")
    assert help_.returncode == 0 and "--input FILE" in help_.stdout and not help_.stderr
    wrong = call("--input", "x", "--treshold", "0.3")
    assert wrong.returncode == 2 and not wrong.stdout
    assert wrong.stderr.startswith("error: unknown flag '--treshold': did you mean --threshold")
    assert wrong.stderr.count("\n") == 1
    missing = call("--input", "none.jpg")
    assert missing.returncode == 2 and "none.jpg" in missing.stderr


def test_a_bug_of_ours_is_not_dressed_up(run, predictor, pictures, monkeypatch):
    monkeypatch.setattr(FakePredictor, "__call__", lambda self, images, labels: [None])
    with pytest.raises(AttributeError):
        run(detect_image, "--input", pictures / "a.png")
