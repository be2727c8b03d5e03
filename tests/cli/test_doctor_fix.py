"""doctor.py fix: a repaired copy, the original as it was, and a ledger that gives every original value back."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.any_format import put_images, put_text, voc, yolo
from helpers.planted_problems import PLANTS, SPLITS, load, plant, save, write_clean

from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.data.description import find_spec
from detect.data.quality.diagnosis import diagnose
from detect.data.quality.problems import ERROR, KINDS
from detect.errors import MediaError
from detect.structures import masks

FIXED = {kind for kind in PLANTS if "fix " in KINDS[kind].cure}


@pytest.fixture
def folder(tmp_path) -> Path:
    write_clean(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def fix(monkeypatch, tmp_path):
    """Fix a dataset; the new folder and the lines of its ledger."""

    def call(folder: Path) -> tuple[Path, list[dict]]:
        new = tmp_path / "new"
        monkeypatch.setattr(sys, "argv", ["doctor.py", "fix", str(folder), "--output-dir", str(new)])
        before = digests(folder)
        assert exit_status(doctor.main) == 0
        assert digests(folder) == before
        return new, [json.loads(line) for line in (new / "ledger.jsonl").read_text().splitlines()]

    return call


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def things(folder: Path, split: str) -> dict[int, dict]:
    """The objects of a split as its file says, in the words of the ledger."""
    content = load(folder, split)
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    files = {entry["id"]: entry["file_name"] for entry in content["images"]}
    found = {}
    for entry in content["annotations"]:
        segmentation = entry.get("segmentation")
        is_code = isinstance(segmentation, dict)
        x, y, w, h = entry.get("bbox") or (None,) * 4
        found[entry["id"]] = {
            "image": files[entry["image_id"]],
            "id": entry["id"],
            "category": names[entry["category_id"]],
            "category_id": entry["category_id"],
            "box_xyxy": None if x is None else [x, y, x + w, y + h],
            "segmentation": masks.to_json(masks.compressed(segmentation)) if is_code else segmentation,
            "area": entry.get("area"),
            "iscrowd": entry["iscrowd"],
        }
    return found


def restored(new: Path, ledger: list[dict], split: str) -> tuple[dict[int, dict], list[dict]]:
    """The objects of before from those of now, and the entries that never were objects."""
    found, left_out = things(new, split), []
    images = {}  # their names of before
    for line in ledger:
        if line["change"] == "image changed" and "file_name" in line["from"]:
            images[line["to"]["file_name"]] = line["from"]["file_name"]
    for entry in found.values():
        entry["image"] = images.get(entry["image"], entry["image"])
    for line in (line for line in ledger if line["split"] == split):
        if line["change"] == "object removed":
            found[-len(found)] = line["from"]
        elif line["change"] == "object changed":
            found[line["id"]] |= line["from"]
        elif line["change"] == "left out":
            left_out.append(json.loads(line["text"]))
    return {entry["id"]: entry for entry in found.values()}, left_out


def test_a_clean_set_is_copied_as_it_is(folder, fix, capsys):
    new, ledger = fix(folder)
    assert ledger == [] and "nothing had to be changed" in capsys.readouterr().out
    for split in SPLITS:
        assert things(new, split) == things(folder, split)
    images = {name: digest for name, digest in digests(folder).items() if name.endswith(".png")}
    assert {name: digest for name, digest in digests(new).items() if name.endswith(".png")} == images


@pytest.mark.parametrize("kind", PLANTS)
def test_what_breaks_is_mended_and_the_ledger_gives_the_original_back(folder, fix, kind):
    plant(kind, folder)
    new, ledger = fix(folder)
    found = {name for name, _ in diagnose(find_spec(str(new))).by_kind()}
    assert all(KINDS[name].severity < ERROR for name in found)
    assert kind not in FIXED or kind not in found
    assert (not ledger) == (kind not in FIXED)
    assert all(kind in line["why"] for line in ledger)
    if kind == "split_without_objects":
        assert not (new / "annotations" / "instances_val.json").exists()
        return
    if kind in ("duplicate_image_id", "malformed_image_entry"):
        listed = [json.dumps(entry) for entry in load(folder)["images"]]
        assert all(json.dumps(json.loads(line["text"])) in listed for line in ledger if "id" in line["text"][:5])
        assert [line["place"] for line in ledger if line["change"] == "left out"]
    if kind in ("duplicate_annotation_id", "duplicate_image_id", "malformed_image_entry"):
        return  # there is no telling by id; of doubled_id below
    for split in SPLITS:
        objects, left_out = restored(new, ledger, split)
        original = load(folder, split)
        lost = [e for e in original["annotations"] if json.dumps(e) in {json.dumps(entry) for entry in left_out}]
        assert len(lost) == len(left_out)
        listed = {**original, "annotations": [e for e in original["annotations"] if e not in lost and not has_nan(e)]}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(listed))
        for one, said in things(folder, split).items():
            assert {key: value for key, value in objects.pop(one).items() if said[key] is not None} == {
                key: value for key, value in said.items() if value is not None
            }
        assert not objects


def has_nan(entry: dict) -> bool:
    return "NaN" in json.dumps(entry)


def test_objects_that_share_an_id_get_their_own_and_keep_the_rest(folder, fix):
    plant("duplicate_annotation_id", folder)
    new, ledger = fix(folder)
    (line,) = ledger
    assert line["from"] == {"id": 1} and line["to"] == {"id": line["id"]} and line["why"] == ["duplicate_annotation_id"]
    assert len(things(new, "train")) == len(load(folder)["annotations"])
    assert things(new, "train")[line["id"]]["box_xyxy"] == [50, 40, 70, 55]


def test_turned_annotations_lie_on_their_objects_again(folder, fix):
    """A bright square is marked before the image is turned, and is where the mark says after it."""
    from PIL import Image

    content = load(folder)
    path = folder / "train" / "train_1.png"
    with Image.open(path) as image:
        pixels = np.zeros_like(np.asarray(image.convert("RGB")))
    x0, y0, x1, y1 = 6, 10, 26, 25  # of the first object
    pixels[y0:y1, x0:x1] = 255
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(pixels).save(path, exif=exif)
    assert content["annotations"][0]["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    new, _ = fix(folder)
    _, table = find_spec(str(new)).read("train")
    (record,) = (record for record in table if record.path.name == "train_1.png")
    from detect.media.images import read_image

    bright = read_image(record.path)[..., 0] > 128
    assert masks.to_bitmap(masks.from_coco(record.masks[0], record.image_hw)).astype(bool).tolist() == bright.tolist()
    ys, xs = np.nonzero(bright)
    assert record.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_annotations_of_another_size_are_scaled_to_the_image(folder, fix):
    plant("image_size_mismatch", folder)
    new, _ = fix(folder)
    before, after = things(folder, "train")[1], things(new, "train")[1]
    assert np.allclose(np.array(after["box_xyxy"]) * 2, before["box_xyxy"])
    assert np.allclose(np.array(after["segmentation"]) * 2, before["segmentation"])
    assert after["area"] * 4 == before["area"]


def test_the_same_image_in_train_and_test_stays_in_test(folder, fix):
    (folder / "train" / "train_2.png").write_bytes((folder / "test" / "test_1.png").read_bytes())
    new, ledger = fix(folder)
    assert not (new / "train" / "train_2.png").exists() and (new / "test" / "test_1.png").exists()
    assert [line["change"] for line in ledger] == ["image removed", "object removed", "object removed"]


def test_of_a_copy_the_one_with_most_objects_stays(folder, fix):
    """The second image of train is the third again, which has one object more."""
    (folder / "train" / "train_2.png").write_bytes((folder / "train" / "train_3.png").read_bytes())
    content = load(folder)
    content["annotations"].append(content["annotations"][4] | {"id": 77, "bbox": [60, 2, 15, 8], "segmentation": None})
    save(folder, "train", content)
    new, ledger = fix(folder)
    content = load(new)
    assert [entry["file_name"] for entry in content["images"]] == [f"train_{i}.png" for i in (1, 3, 4, 5, 6)]
    assert sorted(a["id"] for a in content["annotations"] if a["image_id"] == 3) == [5, 6, 77]
    assert [line["change"] for line in ledger] == ["image removed", "object removed", "object removed"]
    assert all(line["why"] == ["duplicate_image"] for line in ledger)


def test_classes_that_are_listed_otherwise_in_val_keep_their_objects(folder, fix):
    plant("category_id_conflict", folder)
    new, _ = fix(folder)
    names = {entry["id"]: entry["name"] for entry in load(folder, "val")["categories"]}
    before = {entry["id"]: names[entry["category_id"]] for entry in load(folder, "val")["annotations"]}
    assert {one: thing["category"] for one, thing in things(new, "val").items()} == before
    assert load(new, "val")["categories"] == load(new, "train")["categories"]


def test_the_new_folder_is_not_in_the_old_one(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doctor.py", "fix", str(folder), "--output-dir", str(folder / "new")])
    assert exit_status(doctor.main) == 2
    assert "lies in the dataset itself" in capsys.readouterr().err and not (folder / "new").exists()


@pytest.mark.parametrize("seed", range(25))
def test_several_things_at_once_are_mended(folder, fix, seed):
    """Three of those that fix can mend, in any order; the fixed copy has nothing that is broken, and of every
    object that is there or in the ledger no more are told than there were."""
    rng = np.random.default_rng(seed)
    kinds = sorted(FIXED - {"missing_image", "unreadable_image", "duplicate_image_id", "split_without_objects"})
    for kind in rng.choice(kinds, 3, replace=False):
        with suppress(FileNotFoundError, KeyError, MediaError):  # what one plant has taken another cannot change
            plant(str(kind), folder)
    before = sum(len(load(folder, split)["annotations"]) for split in SPLITS)
    new, ledger = fix(folder)
    found = {name for name, _ in diagnose(find_spec(str(new))).by_kind()}
    assert all(KINDS[name].severity < ERROR for name in found)
    left = sum(len(things(new, split)) for split in SPLITS)
    out = sum(line["change"] == "object removed" or "annotation" in line.get("place", "") for line in ledger)
    assert left + out == before


@pytest.mark.parametrize("write", [voc, yolo])
def test_other_formats_are_fixed_into_coco(tmp_path, fix, write):
    names = [f"{i}.png" for i in range(8)]
    put_images(tmp_path / "set", *names)
    write(tmp_path / "set", names)
    put_text(tmp_path / "set" / "classes.txt", "kite\n")
    bad = {voc: "<annotation><object>broken", yolo: "0 0.5 0.5 0 0.5\n0 0.5 0.5 word 1\n"}[write]
    put_text(tmp_path / "set" / f"0{'.xml' if write is voc else '.txt'}", bad)
    new, ledger = fix(tmp_path / "set")
    assert [KINDS[kind].severity for kind, _ in diagnose(find_spec(str(new))).by_kind() if KINDS[kind].severity] == []
    reasons = sorted(reason for line in ledger for reason in line["why"])
    assert reasons == (["unreadable_annotations"] if write is voc else ["malformed_object", "zero_area_box"])


def test_a_folder_that_holds_something_is_refused(folder, monkeypatch, capsys):
    for arguments in (["--output-dir", str(folder.parent)], []):
        monkeypatch.setattr(sys, "argv", ["doctor.py", "fix", str(folder), *arguments])
        assert exit_status(doctor.main) == 2
    said = capsys.readouterr().err
    assert "is not empty" in said and "doctor.py fix needs --output-dir" in said
