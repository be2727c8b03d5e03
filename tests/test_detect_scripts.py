"""detect_image.py and detect_video.py, from command line to files, with a stand-in for the model."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import detect_image
import detect_video
from detect.errors import exit_status
from detect.media.images import read_image, write_image
from detect.media.video import VideoReader, VideoWriter
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


def test_ctrl_c_keeps_the_pictures_done(run, predictor, pictures, tmp_path):
    predictor.interrupt_at = 2
    assert run(detect_image, "--input", pictures, "--save-json") == 130
    assert files(tmp_path / "out") == ["in/a.png", "in/detections.json"]
    assert len(json.loads((tmp_path / "out" / "in" / "detections.json").read_text())) == 1


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
        return list(video)


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


def test_a_video_that_breaks_off_is_kept_and_told(run, predictor, clip, tmp_path, capsys, monkeypatch):
    read, left = VideoReader._read, iter(range(3))
    monkeypatch.setattr(VideoReader, "_read", lambda self: read(self) if next(left, None) is not None else None)
    assert run(detect_video, "--input", clip, "--name", "x") == 0
    assert "breaks off: only 3 of its" in capsys.readouterr().err
    assert (tmp_path / "out" / "x" / clip.name).is_file()


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
