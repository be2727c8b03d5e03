"""benchmark.py decoding: both ways make the same items and are scored alike, and the page says what was measured."""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import ROOT
from helpers.tiny_models import as_checkpoint, assert_same_detections, make_image, random_model, render_shapes

import benchmark
from benchmarks import decoding, decoding_page, markdown, sharpness
from benchmarks.decoding import WAYS, Items
from benchmarks.output import command, part_of
from benchmarks.sharpness import Sharpness
from detect.cli.exit_status import exit_status
from detect.data.augmentation import PRESETS
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset, read_record
from detect.data.description import find_spec
from detect.errors import DataError, DiskError
from detect.media.images import write_image
from detect.models import checkpoint
from detect.structures import masks
from detect.structures.class_names import ClassNames

CLASSES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))
IMGSZ = 48  # the rendered images are several times as large
AUGMENTATION = PRESETS["default"]
BEGIN, END = markdown.markers(part_of("decoding"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset of three splits, and a model that was hardly trained on it."""
    folder = tmp_path_factory.mktemp("data")
    render_shapes(folder, {"train": 3, "val": 2, "test": 2})
    checkpoint.save(as_checkpoint(random_model(), classes=CLASSES), folder / "m.safetensors")
    return folder


@pytest.fixture
def spec(folder):
    return find_spec(str(folder / "few.yaml"))


@pytest.fixture
def run(monkeypatch, folder):
    """Run benchmark.py decoding in-process, on one thread; its exit status."""
    monkeypatch.setattr("detect.runtime.available_cores", lambda: 1)
    monkeypatch.setattr(sharpness, "DRAWS", 5)
    monkeypatch.setattr(decoding, "_PHOTOGRAPH_ITEMS", 2)

    def call(*arguments: object) -> int:
        line = ["benchmark.py", "decoding", "--data", folder / "few.yaml", "--model", folder / "m.safetensors"]
        line += ["--imgsz", IMGSZ, "--rounds", 1, "--device", "cpu", "--quiet", *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        return exit_status(benchmark.main)

    return call


@pytest.fixture
def temporary(monkeypatch, tmp_path) -> Path:
    """The folder for temporary things."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def error(capsys) -> str:
    """The one line on stderr."""
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


# The whole command


def test_the_page_says_what_was_measured(run, capsys, folder, tmp_path, temporary):
    page, figures = tmp_path / "page.md", tmp_path / "new" / "figures.json"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert run("--data-root", folder / "files", "--write", page, "--json", figures) == 0
    text, said = page.read_text(), capsys.readouterr()
    assert said.err == "" and not [*temporary.iterdir()]
    assert text.startswith(f"before\n{BEGIN}\n\nWritten by `python benchmark.py decoding ")
    assert text.endswith(f"\n\n{END}\nafter\n") and text.split("\n\n")[3] in said.out
    assert " --data-root DIR " in text and str(folder / "files") not in text + figures.read_text()
    assert "3 images in 1 round," in text and " 12 megapixels " in text and "nan" not in text
    for size in (IMGSZ, 32):
        assert f"| all, --imgsz {size} | 3 |" in text and f"| the photograph, --imgsz {size} | 2 |" in text
        assert re.search(rf"At `--imgsz {size}` \d+% of the items are reduced; over all, an item takes ", text)
    for title in decoding_page.TITLES.values():
        assert re.search(rf"^\| {title} \|( \d+\.\d \|){{4}}$", text, re.MULTILINE)

    facts = json.loads(figures.read_text())
    assert facts["data"] == "few" and [*facts["items"]] == [*facts["photograph"]] == [str(IMGSZ), "32"]
    for some, shape in ((facts["items"], (1, 3)), (facts["photograph"], (1, 2))):
        for items in some.values():
            assert [*items["cpu_ms"]] == [*WAYS] and np.shape(items["reduced"]) == shape
            assert all(np.shape(ms) == shape and np.min(ms) > 0 for ms in items["cpu_ms"].values())
            assert np.any(items["reduced"])
    assert [one["imgsz"] for one in facts["sharpness"]] == [IMGSZ, 32]
    result = facts["sharpness"][0]
    assert (result["imgsz"], result["splits"], result["images"]) == (IMGSZ, ["val", "test"], 4)
    assert 0 < result["reduced"] <= 4 and f"which reduces {result['reduced']} of them" in text and " draws of " in text
    for scores in result["scores"].values():
        assert [*scores] == ["bbox AP", "bbox AP50", "segm AP", "segm AP50"]
        assert all(0 <= value <= 1 for value in scores.values())


def test_a_set_without_val_and_test_is_scored_on_train(spec):
    splits, names, records = sharpness.read_scored(replace(spec, splits={"train": spec.splits["train"]}), CLASSES)
    assert splits == ("train",) and names == CLASSES and len(records) == 3


def test_nothing_to_find_is_no_result(spec, monkeypatch):
    empty = [without_objects(record) for record in spec.read("val")[1]]
    monkeypatch.setattr(type(spec), "read", lambda *_: (CLASSES, empty))
    with pytest.raises(DataError, match="not one image of val and test has an object"):
        sharpness.read_scored(spec, CLASSES)


def without_objects(record):
    parts = ("boxes", "labels", "areas", "iscrowd", "annotation_ids", "masks")
    return replace(record, **{name: getattr(record, name)[:0] for name in parts})


def test_a_model_of_other_classes_is_one_line(run, capsys, folder, tmp_path):
    strange = as_checkpoint(random_model(), classes=ClassNames(("a", "b", "c"), (1, 2, 3)))
    checkpoint.save(strange, tmp_path / "x.safetensors")
    assert run("--model", tmp_path / "x.safetensors") == 2
    assert "share no class" in error(capsys)


def test_a_page_without_its_markers_is_one_line_before_any_work(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "measure", None)
    (tmp_path / "page.md").write_text("")
    assert run("--write", tmp_path / "page.md") == 2
    assert BEGIN in error(capsys)


def test_the_page_of_this_repository_has_its_markers():
    markdown.check_part(ROOT / "docs" / "data.md", part_of("decoding"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("decoding --objects 5", "--objects is for data, not for decoding"),
        ("decoding --heads", "--heads is for inference, not for decoding"),
        ("data --imgsz 64", "--imgsz is for inference, train, decoding, serve, not for data"),
        ("inference --data-root x", "--data-root is for train, decoding, results, not for inference"),
        ("decoding --model ballon", "unknown model 'ballon': did you mean balloon"),
        ("decoding --data ballon", "unknown dataset 'ballon': did you mean balloon"),
        ("decoding --data-root nowhere", "--data-root nowhere is not a folder"),
        ("decoding --rounds 0", "--rounds 0 must be at least 1"),
    ],
)
def test_flags_that_mean_nothing_are_refused(monkeypatch, capsys, line, words):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *line.split()])
    assert exit_status(benchmark.main) == 2
    assert words in error(capsys)


@pytest.mark.parametrize("words", [["--data-root", "/a b"], ["--data-root=/a b"]])
def test_the_printed_command_names_no_folder_of_this_machine(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["/a b/benchmark.py", "decoding", *words, "--rounds", "2"])
    said = command()
    assert said.replace("=", " ") == "python benchmark.py decoding --data-root DIR --rounds 2"


# Items


def test_both_ways_make_the_same_item_but_for_the_decoding(spec):
    _, records = spec.read("train")
    transform = TrainTransform(IMGSZ, AUGMENTATION)
    makers = [decoding._Maker(records, transform, way, with_masks=True) for way in WAYS.values()]
    plain = DetectionDataset(records, transform, with_masks=True)
    for i in range(len(records)):
        (whole, ground_truth), (reduced, same), (usual, _) = makers[0][i], makers[1][i], plain[i]
        assert makers[0].hw == makers[1].hw
        assert (reduced == usual).all() and all((ground_truth[key] == same[key]).all() for key in ground_truth)
        assert whole.shape == reduced.shape
        is_reduced = decoding.is_reduced(records[i], makers[0].hw)
        assert (0 < (whole - reduced).abs().mean() < 0.05) if is_reduced else (whole == reduced).all()


def test_every_round_draws_other_sizes_and_small_images_are_not_reduced(spec):
    _, records = spec.read("train")
    few = decoding.measure(records, IMGSZ, AUGMENTATION, with_masks=True, rounds=2)
    assert few.reduced.shape == (2, 3) and few.reduced.any()
    large = decoding.measure(records, 480, AUGMENTATION, with_masks=False, rounds=1)
    assert not large.reduced.any() and all((ms > 0).all() for ms in large.cpu_ms.values())


def test_the_photograph_shows_the_objects_of_the_largest_image(spec, temporary):
    _, records = spec.read("train")
    with decoding.photograph(records) as photograph:
        record = photograph.record
        image = read_record(record)
        assert record.path.is_relative_to(temporary) and photograph.file_bytes == record.path.stat().st_size
        assert image[..., 0].size == pytest.approx(12e6, rel=0.001)
        largest = max(records, key=lambda one: one.image_hw[0] * one.image_hw[1])
        assert photograph.made_from_hw == largest.image_hw and record.labels.tolist() == largest.labels.tolist()
        for mask, box in zip(record.masks, record.boxes, strict=True):
            np.testing.assert_allclose(masks.box(mask), box, atol=12)  # a pixel of the image it was made from
        here, there = (WAYS["whole"](one, (64, 64)).astype(float) for one in (record, largest))
        assert np.abs(here - there).mean() < 8
    assert not [*temporary.iterdir()]


def test_it_can_be_stopped(spec):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    _, records = spec.read("train")
    decoding.measure(records, IMGSZ, AUGMENTATION, with_masks=True, rounds=1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_no_folder_for_temporary_things_is_one_line(spec, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DiskError, match="cannot make a temporary folder"), decoding.photograph(spec.read("train")[1]):
        pass


# Sharpness


def test_detections_are_those_of_the_predictor_on_the_original_pixels(folder, tmp_path):
    """Every pixel four times: resized to the half, in whatever way, that is the same image again."""
    pixels = make_image((IMGSZ, 72), 0).repeat(2, axis=0).repeat(2, axis=1)
    write_image(tmp_path / "x.png", pixels)
    record = without_objects(find_spec(str(folder / "few.yaml")).read("val")[1][0])
    record = replace(record, path=tmp_path / "x.png", image_hw=pixels.shape[:2])
    predictor = sharpness.load_at(str(folder / "m.safetensors"), IMGSZ, "cpu")
    for way in WAYS.values():
        (found,), (usual,) = sharpness.detect_prepared(predictor, [record], way), predictor([pixels])
        assert_same_detections(found, usual, px=0.01, score=1e-4)
        assert sum(map(masks.area, found.masks)) == pytest.approx(sum(map(masks.area, usual.masks)), rel=1e-3)


def test_a_model_of_one_size_keeps_it(monkeypatch, folder):
    predictor = sharpness.load_at(str(folder / "m.safetensors"), 96, "cpu")
    assert predictor.model.transform.min_size == (96,)
    predictor.model.transform.fixed_size = (IMGSZ, IMGSZ)
    monkeypatch.setattr(sharpness, "load_model", lambda *_, **__: predictor)
    assert sharpness.load_at("x", 480, "cpu").model.transform.fixed_size == (IMGSZ, IMGSZ)


def figures(**values: float) -> dict[str, float]:
    return {key.replace("_", " "): value for key, value in values.items()}


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.03, -0.01, "bbox AP changes by −2.0 (−3.0 to −1.0), a loss"),
        (-0.03, 0.01, "bbox AP changes by −2.0 (−3.0 to +1.0), which may be chance: a loss in 80% of the draws"),
        (-0.03, 0.0, "bbox AP changes by −2.0 (−3.0 to 0.0), which may be chance: a loss in 80%"),
        (0.001, 0.02, "bbox AP changes by −2.0 (+0.1 to +2.0), a gain"),
    ],
)
def test_what_a_difference_means_is_computed(low, high, words):
    scores = {"whole": figures(bbox_AP=0.6, bbox_AP50=0.8), "reduced": figures(bbox_AP=0.58, bbox_AP50=0.8)}
    span = (figures(bbox_AP=low, bbox_AP50=0), figures(bbox_AP=high, bbox_AP50=0), figures(bbox_AP=0.8))
    one = Sharpness(480, ("val",), 5, 9, 3, scores, *span)
    said = decoding_page._sharpness_in_words(one)
    assert words in said and "AP50" not in said
    assert "| difference | −2.0 | 0.0 |" in decoding_page._scores(one)
    assert "None of these" in decoding_page._sharpness_in_words(replace(one, reduced=0))


def test_what_the_times_mean_is_computed():
    reduced = np.array([[True, False]])
    items = Items({"whole": np.array([[40.0, 10.0]]), "reduced": np.array([[20.0, 10.0]])}, reduced)
    slower = Items({"whole": np.array([[10.0]]), "reduced": np.array([[15.0]])}, np.array([[False]]))
    said = decoding_page._time_in_words({480: items}, {480: items, 320: slower})
    assert "50% of the items are reduced; over all, an item takes 40% less time, and 50% less time where" in said
    assert said.endswith("The photograph takes 40% less time at `--imgsz 480` and 50% more time at `--imgsz 320`.")
    rows = decoding_page._rows({480: items, 320: slower}, "all")
    assert rows[0][1:] == ["2", "25.0", "25.0", "15.0", "15.0", "0.60"] and rows[1][1:] == ["1", *["40.0"] * 2,
        "20.0", "20.0", "0.50"]  # fmt: skip
    assert rows[3][1:] == ["0", *["–"] * 5]


def test_polygons_stay_polygons_in_the_photograph():
    (mask,) = decoding._enlarged([[[1, 2, 5, 2, 5, 8], [0, 0, 1, 0, 1, 1]]], 3, (10, 20), (30, 60))
    assert [part.tolist() for part in mask] == [[3, 6, 15, 6, 15, 24], [0, 0, 3, 0, 3, 3]]
