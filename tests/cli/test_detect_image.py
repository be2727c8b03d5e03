"""detect_image.py from command line to files, with a fake predictor."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_predictor import FakePredictor, files
from PIL import Image

from detect.cli.commands import detect_image
from detect.errors import DiskError
from detect.media import images as images_module
from detect.media.images import read_image


def test_every_image_of_a_folder_is_annotated_and_reported_on_a_line(run_script, predictor, images, tmp_path, capsys):
    assert run_script(detect_image, "--input", images) == 0
    out = tmp_path / "out"
    assert files(out) == ["in/a.png", "in/b.jpg", "in/c.png"]
    model, first, *_, last = capsys.readouterr().out.splitlines()
    assert model == "model: fake, threshold 0.5"
    assert re.fullmatch(rf"image 1/3 {re.escape(str(images))}/a\.png: 1 balloon, 1 kite, \d+ ms", first)
    assert last.startswith("3 images, 6 objects, ") and last.endswith(f"-> {out}/in")
    assert (read_image(out / "in" / "a.png") != read_image(images / "a.png")).any()


def test_settings_are_passed_to_load_model(run_script, predictor, images):
    (images / "m.safetensors").touch()
    flags = ["--model", images / "m.safetensors", "--imgsz", 320, "--threshold", 0.3, "--device", "cpu"]
    flags += ["--max-detections", 300, "--tile", 640, "--nms", 0.4, "--one-label-per-object"]
    assert run_script(detect_image, "--input", images / "a.png", *flags) == 0
    assert predictor.asked == {
        "model": str(images / "m.safetensors"),
        "imgsz": 320,
        "threshold": 0.3,
        "max_detections": 300,
        "device": "cpu",
        "precision": None,
        "proposals": None,
        "fast": False,
        "tile": "640",
        "nms": 0.4,
        "one_label_per_object": True,
    }


@pytest.mark.parametrize(
    "flags",
    [
        ("--tile", 0),
        ("--tile", 63),
        ("--tile", -100),
        ("--tile", "large"),
        ("--tile", 64.5),
        ("--nms", 2),
        ("--nms", -1),
    ],
)
def test_an_invalid_tile_or_iou_is_a_mistake_of_the_user(run_script, predictor, images, capsys, flags):
    assert run_script(detect_image, "--input", images / "a.png", *flags) == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["tile", "nms", "one_label_per_object"])
def test_a_run_is_not_continued_with_other_tiles_or_nms(run_script, predictor, images, setting, capsys):
    for value in (getattr(predictor, setting), 0.25):
        setattr(predictor, setting, value)
        status = run_script(detect_image, "--input", images, "--name", "x", "--skip-existing")
    assert status == 2 and setting.replace("_", "-") in capsys.readouterr().err


def test_runs_write_to_different_folders(run_script, predictor, images, tmp_path):
    for _ in range(2):
        assert run_script(detect_image, "--input", images / "a.png") == 0
    assert run_script(detect_image, "--input", images / "*.png", "--name", "mine") == 0
    assert run_script(detect_image, "--input", images / "*.png") == 0
    assert files(tmp_path / "out") == [
        "a/a.png", "a_2/a.png", "in/a.png", "in/c.png", "mine/a.png", "mine/c.png",
    ]  # fmt: skip


def test_several_inputs_are_processed_in_their_order_and_each_image_once(run_script, predictor, images, tmp_path):
    for more in ("one/b.jpg", "two/b.jpg"):
        (tmp_path / more).parent.mkdir()
        (tmp_path / more).write_bytes((images / "b.jpg").read_bytes())
    inputs = [images / "c.png", tmp_path / "two", "--input", images / "*.png", "--input", tmp_path / "one" / "b.jpg"]
    assert run_script(detect_image, "--input", *inputs, "--save-json", "--name", "x") == 0
    rows = json.loads((tmp_path / "out" / "x" / "detections.json").read_text())["images"]
    assert [Path(row["source"]).relative_to(tmp_path).as_posix() for row in rows] == [
        "in/c.png", "two/b.jpg", "in/a.png", "one/b.jpg",
    ]  # fmt: skip
    assert [row["annotated_file"] for row in rows] == ["c.png", "b.jpg", "a.png", "b_2.jpg"]
    assert set(files(tmp_path / "out" / "x")) == {"detections.json", *(row["annotated_file"] for row in rows)}


def test_default_name_of_a_run_is_that_of_the_input(run_script, predictor, images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    square = tmp_path / "photos [2024]"
    square.mkdir()
    (square / "a.png").write_bytes((images / "a.png").read_bytes())
    for name, inputs in (
        ("a", ["a.png"]),
        ("in", ["a.png", "b.jpg"]),
        ("photos [2024]", [square]),
        ("photos [2024]_2", [square / "*.png"]),
        (tmp_path.name, [square, "."]),
    ):
        assert run_script(detect_image, "--input", *inputs, "--quiet") == 0
        assert (tmp_path / "out" / name).is_dir(), (name, files(tmp_path / "out"))


@pytest.mark.parametrize("text", ["input: [a.png, '*.jpg']", "input:\n- a.png\n- b.jpg", "input: 007.png"])
def test_input_in_a_config_file_is_a_list_or_one_text(run_script, predictor, images, tmp_path, monkeypatch, text):
    monkeypatch.chdir(images)
    (images / "c.png").rename(images / "007.png")
    (tmp_path / "c.yaml").write_text(text)
    assert run_script(detect_image, "--config", tmp_path / "c.yaml", "--name", "x") == 0
    assert files(tmp_path / "out" / "x") == (["007.png"] if "007" in text else ["a.png", "b.jpg"])


def test_batch_size_is_passed_to_the_predictor(run_script, predictor, images):
    assert run_script(detect_image, "--input", images, "--batch-size", 2) == 0
    assert predictor.batches == [2, 1]


@pytest.mark.parametrize("kite", ["kite", "9"])
def test_classes_are_given_by_name_or_category_id(run_script, predictor, images, tmp_path, kite):
    assert run_script(detect_image, "--input", images, "--classes", kite, "--save-json") == 0
    rows = json.loads((tmp_path / "out" / "in" / "detections.json").read_text())["images"]
    assert [Path(row["source"]).name for row in rows] == ["a.png", "b.jpg", "c.png"]
    assert all([d["name"] for d in row["detections"]] == ["kite"] for row in rows)
    assert rows[1]["height"] == 41


def test_unknown_class_is_an_error_before_any_work(run_script, predictor, images, tmp_path, capsys):
    assert run_script(detect_image, "--input", images, "--classes", "kit") == 2
    assert "error: unknown class 'kit': did you mean kite?" in capsys.readouterr().err
    assert not predictor.batches and not files(tmp_path / "out")


def test_broken_image_is_skipped_and_reported(run_script, predictor, images, tmp_path, capsys):
    (images / "b.jpg").write_bytes(b"junk")
    assert run_script(detect_image, "--input", images, "--save-json") == 2
    assert files(tmp_path / "out") == ["in/a.png", "in/c.png", "in/detections.json"]
    printed = capsys.readouterr()
    assert "1 of 3 images could not be read:\n" in printed.err and "b.jpg is not an image" in printed.err
    assert "2 images, 4 objects" in printed.out


def test_quiet_prints_only_the_last_line(run_script, predictor, images, capsys):
    assert run_script(detect_image, "--input", images, "--quiet") == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_ctrl_c_keeps_the_finished_images(run_script, predictor, images, tmp_path, capsys):
    predictor.interrupt_at = 2
    assert run_script(detect_image, "--input", images, "--save-json") == 130
    assert files(tmp_path / "out") == ["in/a.png", "in/detections.json"]
    assert len(json.loads((tmp_path / "out" / "in" / "detections.json").read_text())["images"]) == 1
    assert capsys.readouterr().err == f"stopped after 1 of 3 images, which are kept in {tmp_path}/out/in\n"


def test_full_disk_keeps_the_finished_images(run_script, predictor, images, tmp_path, capsys, monkeypatch):
    def full_at_b(path, content):
        if path.name == "b.jpg":
            raise DiskError(f"cannot write {path}: No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(images_module, "write_bytes", full_at_b)
    assert run_script(detect_image, "--input", images, "--save-json") == 2
    rows = json.loads((tmp_path / "out" / "in" / "detections.json").read_text())["images"]
    kept = [row["annotated_file"] for row in rows]
    assert kept in (["a.png"], ["a.png", "c.png"])  # another thread may write c.png before the error is noticed
    assert files(tmp_path / "out" / "in") == [*kept, "detections.json"]
    (error,) = capsys.readouterr().err.splitlines()
    assert "b.jpg: No space left on device" in error and f"{len(kept)} of 3 images" in error
    assert "--skip-existing continues" in error


def test_internal_error_shows_its_traceback(run_script, predictor, images, monkeypatch):
    monkeypatch.setattr(FakePredictor, "predict_batch", lambda self, given, labels: [None])
    with pytest.raises(AttributeError):
        run_script(detect_image, "--input", images / "a.png")


def test_video_or_url_as_input_is_an_error_and_leaves_no_folder(run_script, predictor, clip, tmp_path, capsys):
    assert run_script(detect_image, "--input", clip) == 2
    assert "detect_video.py" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
    assert run_script(detect_image, "--input", "https://host/x.jpg?key=secret") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "download" in error and "secret" not in error


def test_16_bit_images_with_few_gray_levels_are_counted_and_can_be_rescaled(run_script, images, monkeypatch, capsys):
    values = np.linspace(0, 4095, 41 * 60).reshape(41, 60).astype(np.uint16)
    Image.fromarray(values).save(images / "d.png")
    Image.fromarray(values * 16).save(images / "e.png")
    seen = []

    class Seeing(FakePredictor):
        def predict_batch(self, given, labels=None):
            seen.extend(image.max() for image in given)
            return super().predict_batch(given, labels)

    monkeypatch.setattr("detect.inference.load.load_model", lambda *_, **__: Seeing())
    assert run_script(detect_image, "--input", images / "[de].png") == 0
    assert seen == [16, 255] and "1 of 2 images has 16 bits" in capsys.readouterr().err
    assert run_script(detect_image, "--input", images / "[de].png", "--rescale-16bit", 0, 4095) == 0
    assert seen[2:] == [255, 255] and capsys.readouterr().err == ""


@pytest.mark.parametrize("values", [[5], [5, 5], [9, 5], [1, 2, 3], [0, 65536], [-1, 5]])
def test_range_of_gray_values_is_two_ascending_numbers_of_16_bits(run_script, predictor, images, capsys, values):
    assert run_script(detect_image, "--input", images, "--rescale-16bit", *values) == 2
    assert "--rescale-16bit" in capsys.readouterr().err


def test_more_than_ten_images_have_no_line_each_but_with_verbose(run_script, predictor, images, capsys):
    content = (images / "a.png").read_bytes()
    for number in range(8):
        (images / f"{number}.png").write_bytes(content)
    assert run_script(detect_image, "--input", images) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.startswith("11 images, 22 objects")
    assert run_script(detect_image, "--input", images, "--verbose") == 0
    assert len(capsys.readouterr().out.splitlines()) == 13
    assert run_script(detect_image, "--input", images, "--verbose", "--quiet") == 2


# Lists of images


def test_a_text_file_lists_images_in_their_order(run_script, predictor, images, tmp_path, capsys):
    odd = images / "no  ü [1].png"
    (images / "a.png").rename(odd)
    listed = tmp_path / "night shift.TXT"
    listed.write_bytes(f"\ufeff{images}/c.png\r\n\n{odd}\nnone.jpg\nin/b.jpg\n{images}\n{odd}\n".encode())
    assert run_script(detect_image, "--input", listed, "--save-json") == 2
    printed = capsys.readouterr()
    assert "2 of 5 images could not be read" in printed.err
    assert "no such file: none.jpg" in printed.err and f"{images} is a folder" in printed.err
    rows = json.loads((tmp_path / "out" / "night shift" / "detections.json").read_text())["images"]
    assert [Path(row["source"]).name for row in rows] == ["c.png", odd.name, "b.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="a disk that takes these names")
def test_listed_names_need_not_be_text(run_script, predictor, images, tmp_path):
    name = os.fsdecode(b"half \xff.png")
    (images / "a.png").rename(images / name)
    (tmp_path / "list.txt").write_bytes(os.fsencode(images / name) + b"\n")
    assert run_script(detect_image, "--input", tmp_path / "list.txt", "--save-csv", "--save-coco") == 0
    assert files(tmp_path / "out") == ["list/detections.csv", "list/detections_coco.json", "list/half _.png"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\n \n", "is empty"), ("a.png\n".encode("utf-16"), "expected UTF-8 text")],
)
def test_a_list_without_images_is_an_error(run_script, predictor, tmp_path, capsys, content, said):
    (tmp_path / "list.txt").write_bytes(content)
    assert run_script(detect_image, "--input", tmp_path / "list.txt") == 2
    assert said in capsys.readouterr().err and not predictor.asked


def test_an_image_with_the_suffix_of_a_list_is_an_image(run_script, predictor, images, tmp_path):
    (images / "a.png").rename(images / "a.txt")
    assert run_script(detect_image, "--input", images / "a.txt") == 0
    assert files(tmp_path / "out") == ["a/a.jpg"]


# Outputs


def test_outputs_without_annotated_copies(run_script, predictor, images, tmp_path):
    flags = ["--no-annotated", "--save-csv", "--save-crops", "--save-labels", "voc"]
    assert run_script(detect_image, "--input", images, *flags) == 0
    written = files(tmp_path / "out" / "in")
    assert (
        "detections.csv" in written and "crops/kite/b_2.jpg" in written and "labels_voc/Annotations/a.xml" in written
    )
    assert not {"a.png", "b.jpg", "c.png"} & set(written)


def test_what_is_drawn_can_be_chosen(run_script, predictor, images, tmp_path):
    hidden = [f"--hide-{part}" for part in ("labels", "boxes", "masks")]
    for name, flags in (("none", hidden), ("boxes", ["--hide-labels", "--line-width", 1]), ("all", ["--hide-scores"])):
        assert run_script(detect_image, "--input", images / "a.png", "--name", name, *flags) == 0
    original, *drawn = (
        read_image(path)
        for path in (images / "a.png", *(tmp_path / "out" / n / "a.png" for n in ("none", "boxes", "all")))
    )
    changed = [int((image != original).any(axis=2).sum()) for image in drawn]
    assert 0 == changed[0] < changed[1] < changed[2]


@pytest.mark.parametrize(
    ("flags", "said"), [(("--font", "none.ttf"), "--font none.ttf"), (("--line-width", 0), "--line-width")]
)
def test_an_invalid_drawing_setting_is_a_mistake_of_the_user(run_script, predictor, images, capsys, flags, said):
    assert run_script(detect_image, "--input", images / "a.png", *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_run_without_any_output_is_an_error(run_script, predictor, images, capsys):
    assert run_script(detect_image, "--input", images, "--no-annotated") == 2
    assert "--no-annotated without another output writes nothing" in capsys.readouterr().err


def test_unknown_label_format_names_the_formats(run_script, predictor, images, capsys):
    assert run_script(detect_image, "--input", images, "--save-labels", "yollo") == 2
    assert "'yollo': did you mean yolo?" in capsys.readouterr().err


# Runs that are continued


def test_skip_existing_continues_an_interrupted_run_in_its_folder(run_script, predictor, images, tmp_path, capsys):
    predictor.interrupt_at = 2
    assert run_script(detect_image, "--input", images, "--save-json") == 130
    capsys.readouterr()
    assert run_script(detect_image, "--input", images, "--save-json", "--skip-existing") == 0
    printed = capsys.readouterr().out
    assert "2 images, 4 objects" in printed and "1 image finished before" in printed and "/a.png" not in printed
    assert files(tmp_path / "out") == ["in/a.png", "in/b.jpg", "in/c.png", "in/detections.json"]
    rows = json.loads((tmp_path / "out" / "in" / "detections.json").read_text())["images"]
    assert [row["annotated_file"] for row in rows] == ["a.png", "b.jpg", "c.png"]
    assert run_script(detect_image, "--input", images, "--skip-existing") == 0
    assert "0 images, 0 objects" in capsys.readouterr().out and len(predictor.batches) == 4


def test_skip_existing_begins_a_new_run(run_script, predictor, images, tmp_path):
    assert run_script(detect_image, "--input", images, "--skip-existing", "--name", "x") == 0
    assert files(tmp_path / "out") == ["x/a.png", "x/b.jpg", "x/c.png"]


def test_skip_existing_refuses_a_folder_of_other_files(run_script, predictor, images, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    images.rename(tmp_path / "out" / "in")
    assert run_script(detect_image, "--input", tmp_path / "out" / "in", "--skip-existing") == 2
    assert "--skip-existing cannot continue there; choose another --name" in capsys.readouterr().err
    assert files(tmp_path / "out") == ["in/a.png", "in/b.jpg", "in/c.png"]
