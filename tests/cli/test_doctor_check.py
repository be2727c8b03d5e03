"""doctor.py check: reports each kind of problem, and nothing else, for datasets with one known problem."""

from __future__ import annotations

import json
import sys

import pytest
from helpers.any_format import put_images, put_text, voc, yolo
from helpers.planted_problems import CLASSES, PLANTS, SPLITS, load, plant, save, write_clean

from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.data.description import find_spec
from detect.data.quality.diagnosis import diagnose
from detect.data.validation.problems import ERROR, KINDS, NOTE, WARNING
from detect.text import display_width

# Problems of formats with one annotation file or mask per image; the others are planted in COCO files.
TESTED_WITH_VOC = {"unreadable_annotations", "unannotated_image"}
TESTED_WITH_MASKS = {"assumed_instances"}
TESTED_WITH_CROWDS = {"only_crowds", "many_crowds"}
# Notes and problems of single formats, tested with their readers.
TESTED_WITH_READERS = {
    "background_shape", "class_attribute", "corner_label", "embedded_image", "extra_columns", "fractional_boxes",
    "no_class", "no_class_column", "no_header", "shape_without_area",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write_clean(tmp_path / "set")
    return tmp_path / "set"


def kinds(folder) -> dict[str, int]:
    """Return the kinds found, with their counts."""
    found = diagnose(find_spec(str(folder))).by_kind()
    return {kind: sum(len(problem.locations) for _, problem in problems) for kind, problems in found}


def check(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["doctor.py", "check", *map(str, arguments)])
    return exit_status(doctor.main)


def test_every_kind_is_tested():
    elsewhere = {"stuck_box"} | TESTED_WITH_VOC | TESTED_WITH_MASKS | TESTED_WITH_CROWDS | TESTED_WITH_READERS
    assert set(PLANTS) | elsewhere == set(KINDS)


def test_dataset_without_problems_exits_0(folder, monkeypatch, capsys):
    assert kinds(folder) == {}
    assert check(monkeypatch, folder) == 0
    printed = capsys.readouterr()
    assert "no problems found" in printed.out and "set: no errors or warnings" in printed.out and not printed.err


@pytest.mark.parametrize("names", [["狗", "🐕 e\u0301", "x"], ["a", "b", "c"], ["ｆｕｌｌｗｉｄｔｈ", "dog", "สุนัข"]])
def test_columns_of_the_class_table_are_aligned_whatever_the_script(folder, names, monkeypatch, capsys):
    for split in SPLITS:
        content = load(folder, split)
        for category, name in zip(content["categories"], names, strict=False):
            category["name"] = name
        save(folder, split, content)
    assert check(monkeypatch, folder) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("objects of"))
    assert len({display_width(line) for line in lines[first : first + 1 + len(CLASSES)]}) == 1


@pytest.mark.parametrize("kind", PLANTS)
def test_planted_problem_is_reported_and_nothing_else(folder, kind, monkeypatch, capsys):
    plant(kind, folder)
    assert kinds(folder) == {
        kind: 2 if kind in ("duplicate_image_id", "class_not_in_train", "category_id_conflict") else 1
    }
    assert check(monkeypatch, folder) == (0 if KINDS[kind].severity == NOTE else 3)
    out = capsys.readouterr().out
    title = f"{KINDS[kind].severity.label}: {KINDS[kind].title}"
    assert out.count(title) == 1 and KINDS[kind].fix in out
    assert check(monkeypatch, folder, "--json") == (0 if KINDS[kind].severity == NOTE else 3)
    content = json.loads(capsys.readouterr().out)
    assert {problem["kind"] for problem in content["problems"]} == {kind}
    assert content["worst_severity"] == KINDS[kind].severity.label and content["problems"][0]["locations"]


def test_unreadable_annotation_file_and_unannotated_image_are_named(tmp_path):
    names = [f"{i}.png" for i in range(6)]
    put_images(tmp_path / "set", *names)
    voc(tmp_path / "set", names[:5])
    put_text(tmp_path / "set" / "4.xml", "<annotation><object>")
    diagnosis = diagnose(find_spec(str(tmp_path / "set")))
    assert {
        kind: [str(p) for _, problem in found for p in problem.locations] for kind, found in diagnosis.by_kind()
    } == {
        "unreadable_annotations": ["4.xml: no element found: line 1, column 20"],
        "unannotated_image": ["5.png"],
    }


def test_json_report_contains_the_statistics(folder, monkeypatch, capsys):
    assert check(monkeypatch, folder, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in content["classes"]] == list(CLASSES)
    for split, images in SPLITS.items():
        summary = content["splits"][split]
        assert summary["images"] == images and summary["objects"] == dict.fromkeys(CLASSES, images)
        assert summary["sizes"] == {"small": 2 * images, "medium": 0, "large": 0}
        assert summary["per_image"] == [2, 2, 2] and summary["empty"] == 0 and summary["masks"] == 2 * images
        assert summary["sides"] == {"short": [60, 60, 60], "long": [80, 80, 80]}


def test_most_severe_kind_is_reported_first(folder):
    for kind in ("not_8bit_rgb", "box_exceeds_image", "missing_image"):
        # Each problem changes the first annotation or image of train, so one of them goes into val.
        plant(kind, folder) if kind != "missing_image" else (folder / "val" / "val_1.png").unlink()
    found = [KINDS[kind].severity for kind, _ in diagnose(find_spec(str(folder))).by_kind()]
    assert found == [ERROR, WARNING, NOTE]


def test_user_error_is_one_line(tmp_path, monkeypatch, capsys):
    put_images(tmp_path / "set", "a.png")
    yolo(tmp_path / "set", ["a.png"])
    assert check(monkeypatch, tmp_path / "set") == 2
    assert capsys.readouterr().err.startswith("error: the classes of the text files")
    assert check(monkeypatch, tmp_path / "set", "--to", "voc") == 2
    message = capsys.readouterr().err
    assert "--to" in message and "convert" in message and message.count("\n") == 1
    assert check(monkeypatch, "no_such_set") == 2
    assert "unknown dataset 'no_such_set'" in capsys.readouterr().err


def test_crowd_with_the_box_of_an_object_is_no_duplicate(folder):
    content = load(folder)
    content["annotations"].append(content["annotations"][0] | {"id": 999, "iscrowd": 1})
    save(folder, "train", content)
    assert kinds(folder) == {}


def test_classes_of_other_splits_get_unused_ids(folder):
    """Id 1 of val is a class that train lacks; objects keep their class names, and ids stay unique."""
    content = load(folder, "val")
    content["categories"] = [{"id": 1, "name": "plane"}, {"id": 2, "name": "bird"}]
    save(folder, "val", content)
    diagnosis = diagnose(find_spec(str(folder)))
    assert diagnosis.class_names.names == ("kite", "bird", "plane") and diagnosis.class_names.ids == (1, 2, 3)
    assert diagnosis.summaries["val"].objects == {"kite": 0, "bird": 3, "plane": 3}
    assert {kind for kind, _ in diagnosis.by_kind()} == {"category_id_conflict", "class_not_in_train"}
