"""doctor.py check: nothing in a clean dataset, each kind of problem where it is planted and nothing else."""

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
from detect.data.quality.problems import ERROR, WARNING, KINDS, NOTE

# Of annotations with a file for each image; COCO has one for all.
OTHERWISE = {"unreadable_annotations", "unannotated_image"}


@pytest.fixture
def folder(tmp_path):
    write_clean(tmp_path / "set")
    return tmp_path / "set"


def kinds(folder) -> dict[str, int]:
    """Every kind that is found, with its count."""
    found = diagnose(find_spec(str(folder))).by_kind()
    return {kind: sum(len(problem.places) for _, problem in problems) for kind, problems in found}


def check(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["doctor.py", "check", *map(str, arguments)])
    return exit_status(doctor.main)


def test_every_kind_is_planted():
    assert set(PLANTS) | OTHERWISE == set(KINDS)


def test_a_clean_set_has_no_problem(folder, monkeypatch, capsys):
    assert kinds(folder) == {}
    assert check(monkeypatch, folder) == 0
    said = capsys.readouterr()
    assert "no problem found" in said.out and "set: nothing is broken or hurts" in said.out and not said.err


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_planted_is_found_and_nothing_else(folder, kind, monkeypatch, capsys):
    plant(kind, folder)
    assert kinds(folder) == {kind: 2 if kind in ("duplicate_image_id", "class_not_in_train", "category_id_conflict") else 1}
    assert check(monkeypatch, folder) == (0 if KINDS[kind].severity == NOTE else 3)
    out = capsys.readouterr().out
    title = f"{KINDS[kind].severity.words}: {KINDS[kind].title}"
    assert out.count(title) == 1 and KINDS[kind].cure in out
    assert check(monkeypatch, folder, "--json") == (0 if KINDS[kind].severity == NOTE else 3)
    told = json.loads(capsys.readouterr().out)
    assert {problem["kind"] for problem in told["problems"]} == {kind}
    assert told["worst"] == KINDS[kind].severity.words and told["problems"][0]["places"]


def test_a_broken_file_and_an_image_without_one_are_found_by_name(tmp_path):
    names = [f"{i}.png" for i in range(6)]
    put_images(tmp_path / "set", *names)
    voc(tmp_path / "set", names[:5])
    put_text(tmp_path / "set" / "4.xml", "<annotation><object>")
    diagnosis = diagnose(find_spec(str(tmp_path / "set")))
    assert {kind: [str(p) for _, problem in found for p in problem.places] for kind, found in diagnosis.by_kind()} == {
        "unreadable_annotations": ["4.xml: no element found: line 1, column 20"],
        "unannotated_image": ["5.png"],
    }


def test_the_summary_counts_what_is_there(folder, monkeypatch, capsys):
    assert check(monkeypatch, folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["classes"]] == list(CLASSES)
    for split, images in SPLITS.items():
        summary = told["splits"][split]
        assert summary["images"] == images and summary["objects"] == dict.fromkeys(CLASSES, images)
        assert summary["sizes"] == {"small": 2 * images, "medium": 0, "large": 0}
        assert summary["per_image"] == [2, 2, 2] and summary["empty"] == 0 and summary["masks"] == 2 * images
        assert summary["sides"] == {"short": [60, 60, 60], "long": [80, 80, 80]}


def test_the_worst_comes_first(folder):
    for kind in ("not_8bit_rgb", "box_exceeds_image", "missing_image"):
        # Each takes the first annotation or image, so they stand in each other's way in one split alone.
        plant(kind, folder) if kind != "missing_image" else (folder / "val" / "val_1.png").unlink()
    found = [KINDS[kind].severity for kind, _ in diagnose(find_spec(str(folder))).by_kind()]
    assert found == [ERROR, WARNING, NOTE]


def test_a_mistake_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    put_images(tmp_path / "set", "a.png")
    yolo(tmp_path / "set", ["a.png"])
    assert check(monkeypatch, tmp_path / "set") == 2
    assert capsys.readouterr().err.startswith("error: the classes of the text files")
    assert check(monkeypatch, tmp_path / "set", "--to", "voc") == 2
    assert capsys.readouterr().err == "error: --to is for doctor.py convert\n"
    assert check(monkeypatch, "no_such_set") == 2
    assert "unknown dataset 'no_such_set'" in capsys.readouterr().err


def test_a_crowd_around_an_object_is_no_double(folder):
    content = load(folder)
    content["annotations"].append(content["annotations"][0] | {"id": 999, "iscrowd": 1})
    save(folder, "train", content)
    assert kinds(folder) == {}


def test_classes_that_other_splits_list_besides_get_ids_of_their_own(folder):
    """In val the id 1 is a class that train has not; objects keep their names, and no two classes share an id."""
    content = load(folder, "val")
    content["categories"] = [{"id": 1, "name": "plane"}, {"id": 2, "name": "bird"}]
    save(folder, "val", content)
    diagnosis = diagnose(find_spec(str(folder)))
    assert diagnosis.class_names.names == ("kite", "bird", "plane") and diagnosis.class_names.ids == (1, 2, 3)
    assert diagnosis.summaries["val"].objects == {"kite": 0, "bird": 3, "plane": 3}
    assert {kind for kind, _ in diagnosis.by_kind()} == {"category_id_conflict", "class_not_in_train"}
