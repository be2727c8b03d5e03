"""doctor.py fix: a repaired copy, an unchanged original, and a ledger that restores every original value."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.any_format import put_images, put_text, voc, yolo
from helpers.planted_problems import PLANTS, SPLITS, load, plant, save, write_clean
from PIL import Image

from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.data.description import find_spec
from detect.data.quality.diagnosis import diagnose
from detect.data.validation.problems import ERROR, KINDS
from detect.errors import MediaError
from detect.media.images import decode, read_header, read_image
from detect.structures import masks

ON_REQUEST = "doctor.py fix --"  # with a further flag only
FIXED = {kind for kind in PLANTS if "doctor.py fix" in KINDS[kind].fix.replace(ON_REQUEST, "")}
READ_DIFFERENTLY = {
    "renamed_image",
    "no_object",
    "renumbered_ids",
    "rotated_box",
    "keypoints",
    "dropped_category",
    "box_without_polygon",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    write_clean(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def fix(monkeypatch, tmp_path):
    """Return a function that fixes a dataset and returns the new folder and the ledger."""

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


def objects_of(folder: Path, split: str) -> dict[int, dict]:
    """Return the annotated objects of a split with the keys of the ledger."""
    content = load(folder, split)
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    files = {entry["id"]: entry["file_name"] for entry in content["images"]}
    found = {}
    for entry in content["annotations"]:
        segmentation = entry.get("segmentation")
        is_rle = isinstance(segmentation, dict)
        x, y, w, h = entry.get("bbox") or (None,) * 4
        found[entry["id"]] = {
            "image": files[entry["image_id"]],
            "id": entry["id"],
            "category": names[entry["category_id"]],
            "category_id": entry["category_id"],
            "box_xyxy": None if x is None else [x, y, x + w, y + h],
            "segmentation": masks.to_json(masks.from_rle(segmentation)) if is_rle else segmentation,
            "area": entry.get("area"),
            "iscrowd": entry["iscrowd"],
        }
    return found


def restored(new: Path, ledger: list[dict], split: str) -> tuple[dict[int, dict], list[dict]]:
    """Return the original objects, computed from the copy and its ledger, and the skipped entries."""
    found, skipped = objects_of(new, split), []
    images = {}  # new name -> original name
    for line in ledger:
        if line["change"] == "image changed" and "file_name" in line["before"]:
            images[line["after"]["file_name"]] = line["before"]["file_name"]
    for entry in found.values():
        entry["image"] = images.get(entry["image"], entry["image"])
    for line in (line for line in ledger if line["split"] == split):
        if line["change"] == "object removed":
            found[-len(found)] = line["before"]
        elif line["change"] == "object changed":
            found[line["id"]] |= line["before"]
        elif line["change"] == "entry skipped":
            skipped.append(json.loads(line["text"]))
    return {entry["id"]: entry for entry in found.values()}, skipped


def test_dataset_without_problems_is_copied_unchanged(folder, fix, capsys):
    new, ledger = fix(folder)
    assert ledger == [] and "no changes needed" in capsys.readouterr().out
    for split in SPLITS:
        assert objects_of(new, split) == objects_of(folder, split)
    images = {name: digest for name, digest in digests(folder).items() if name.endswith(".png")}
    assert {name: digest for name, digest in digests(new).items() if name.endswith(".png")} == images


@pytest.mark.parametrize("kind", PLANTS)
def test_errors_are_fixed_and_the_ledger_restores_the_original(folder, fix, kind):
    plant(kind, folder)
    new, ledger = fix(folder)
    found = {name for name, _ in diagnose(find_spec(str(new))).by_kind()}
    assert all(KINDS[name].severity < ERROR for name in found)
    assert kind not in FIXED or kind not in found
    assert (not ledger) == (kind not in FIXED | READ_DIFFERENTLY)
    assert all(kind in line["reasons"] for line in ledger)
    if kind in READ_DIFFERENTLY:
        assert [line["change"] for line in ledger] == ["entry read differently"] and ledger[0]["location"]
        return
    if kind == "split_without_objects":
        assert not (new / "annotations" / "instances_val.json").exists()
        return
    if kind in ("duplicate_image_id", "malformed_image_entry"):
        listed = [json.dumps(entry) for entry in load(folder)["images"]]
        assert all(json.dumps(json.loads(line["text"])) in listed for line in ledger if "id" in line["text"][:5])
        assert [line["location"] for line in ledger if line["change"] == "entry skipped"]
    if kind in ("duplicate_annotation_id", "duplicate_image_id", "malformed_image_entry"):
        return  # ids are ambiguous; tested below
    for split in SPLITS:
        objects, skipped = restored(new, ledger, split)
        original = load(folder, split)
        lost = [e for e in original["annotations"] if json.dumps(e) in {json.dumps(entry) for entry in skipped}]
        assert len(lost) == len(skipped)
        listed = {**original, "annotations": [e for e in original["annotations"] if e not in lost and not has_nan(e)]}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(listed))
        for annotation_id, expected in objects_of(folder, split).items():
            assert {key: value for key, value in objects.pop(annotation_id).items() if expected[key] is not None} == {
                key: value for key, value in expected.items() if value is not None
            }
        assert not objects


def has_nan(entry: dict) -> bool:
    return "NaN" in json.dumps(entry)


def test_duplicate_annotation_id_is_replaced_and_nothing_else(folder, fix):
    plant("duplicate_annotation_id", folder)
    new, ledger = fix(folder)
    (line,) = ledger
    assert (
        line["before"] == {"id": 1}
        and line["after"] == {"id": line["id"]}
        and line["reasons"] == ["duplicate_annotation_id"]
    )
    assert len(objects_of(new, "train")) == len(load(folder)["annotations"])
    assert objects_of(new, "train")[line["id"]]["box_xyxy"] == [50, 40, 70, 55]


def test_exif_rotation_is_applied_to_the_annotations(folder, fix):
    """A bright square is annotated before the rotation and matches its annotation after the fix."""
    from PIL import Image

    content = load(folder)
    path = folder / "train" / "train_1.png"
    with Image.open(path) as image:
        pixels = np.zeros_like(np.asarray(image.convert("RGB")))
    x0, y0, x1, y1 = 56, 10, 76, 25  # outside the upright image, which is 60 pixels wide
    content["annotations"][0] |= {"bbox": [x0, y0, x1 - x0, y1 - y0]}
    content["annotations"][0]["segmentation"] = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    save(folder, "train", content)
    pixels[y0:y1, x0:x1] = 255
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(pixels).save(path, exif=exif)
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
    before, after = objects_of(folder, "train")[1], objects_of(new, "train")[1]
    assert np.allclose(np.array(after["box_xyxy"]) * 2, before["box_xyxy"])
    assert np.allclose(np.array(after["segmentation"]) * 2, before["segmentation"])
    assert after["area"] * 4 == before["area"]


def test_image_in_train_and_test_is_kept_in_test(folder, fix):
    (folder / "train" / "train_2.png").write_bytes((folder / "test" / "test_1.png").read_bytes())
    new, ledger = fix(folder)
    assert not (new / "train" / "train_2.png").exists() and (new / "test" / "test_1.png").exists()
    assert [line["change"] for line in ledger] == ["image removed", "object removed", "object removed"]


def test_copy_with_the_most_objects_is_kept(folder, fix):
    """The second image of train is a copy of the third, which has one more object."""
    (folder / "train" / "train_2.png").write_bytes((folder / "train" / "train_3.png").read_bytes())
    content = load(folder)
    content["annotations"].append(content["annotations"][4] | {"id": 77, "bbox": [60, 2, 15, 8], "segmentation": None})
    save(folder, "train", content)
    new, ledger = fix(folder)
    content = load(new)
    assert [entry["file_name"] for entry in content["images"]] == [f"train_{i}.png" for i in (1, 3, 4, 5, 6)]
    assert sorted(a["id"] for a in content["annotations"] if a["image_id"] == 3) == [5, 6, 77]
    assert [line["change"] for line in ledger] == ["image removed", "object removed", "object removed"]
    assert all(line["reasons"] == ["duplicate_image"] for line in ledger)


def test_objects_keep_their_class_when_val_lists_other_ids(folder, fix):
    plant("category_id_conflict", folder)
    new, _ = fix(folder)
    names = {entry["id"]: entry["name"] for entry in load(folder, "val")["categories"]}
    before = {entry["id"]: names[entry["category_id"]] for entry in load(folder, "val")["annotations"]}
    assert {annotation_id: entry["category"] for annotation_id, entry in objects_of(new, "val").items()} == before
    assert load(new, "val")["categories"] == load(new, "train")["categories"]


def test_output_folder_inside_the_dataset_is_refused(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doctor.py", "fix", str(folder), "--output-dir", str(folder / "new")])
    assert exit_status(doctor.main) == 2
    message = capsys.readouterr().err
    assert "--output-dir" in message and "inside the dataset" in message and not (folder / "new").exists()


@pytest.mark.parametrize("seed", range(25))
def test_three_problems_are_fixed_together(folder, fix, seed):
    """The fixed copy has no errors, and every original object is in the copy or, once, in the ledger."""
    rng = np.random.default_rng(seed)
    kinds = sorted(FIXED - {"missing_image", "unreadable_image", "duplicate_image_id", "split_without_objects"})
    for kind in rng.choice(kinds, 3, replace=False):
        with suppress(FileNotFoundError, KeyError, MediaError):  # the entry to change may be gone already
            plant(str(kind), folder)
    before = sum(len(load(folder, split)["annotations"]) for split in SPLITS)
    new, ledger = fix(folder)
    found = {name for name, _ in diagnose(find_spec(str(new))).by_kind()}
    assert all(KINDS[name].severity < ERROR for name in found)
    remaining = sum(len(objects_of(new, split)) for split in SPLITS)
    removed = sum(line["change"] == "object removed" or "annotation" in line.get("location", "") for line in ledger)
    assert remaining + removed == before


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
    reasons = sorted(reason for line in ledger for reason in line["reasons"])
    assert reasons == (["unreadable_annotations"] if write is voc else ["malformed_object", "zero_area_box"])


def test_output_folder_must_be_empty_and_is_required(folder, monkeypatch, capsys):
    for arguments in (["--output-dir", str(folder.parent)], []):
        monkeypatch.setattr(sys, "argv", ["doctor.py", "fix", str(folder), *arguments])
        assert exit_status(doctor.main) == 2
    message = capsys.readouterr().err
    assert "is not empty" in message and "--output-dir" in message


def test_16_bit_gray_images_are_rescaled_with_constants_of_the_dataset(tmp_path, monkeypatch, capsys):
    write_clean(tmp_path / "set")
    brightest = {}
    for number, path in enumerate(sorted((tmp_path / "set").rglob("*.png"))):
        values = np.linspace(100 + number, 3000 + number, 60 * 80).reshape(60, 80).astype(np.uint16)
        Image.fromarray(values).save(path)
        brightest[path.name] = values[-10, 0]
    line = ["doctor.py", "fix", str(tmp_path / "set"), "--rescale-16bit", "--output-dir", str(tmp_path / "new")]
    monkeypatch.setattr(sys, "argv", line)
    assert exit_status(doctor.main) == 0
    low, high = map(int, re.search(r"detect_image\.py --rescale-16bit (\d+) (\d+)", capsys.readouterr().out).groups())
    assert 100 <= low <= 130 and 2980 <= high <= 3011
    written = sorted((tmp_path / "new").rglob("*.png"))
    assert len(written) == len(brightest)
    for path in written:
        expected = (int(brightest[path.name]) - low) * 255 / (high - low)
        assert read_header(path).bits == 8 and abs(int(read_image(path)[-10, 0, 0]) - expected) <= 1
    original = next((tmp_path / "set").rglob(written[0].name))
    same = decode(original, gray_range=(low, high))
    assert (same.rgb == read_image(written[0])).all()
    ledger = (tmp_path / "new" / "ledger.jsonl").read_text()
    assert f'"before": [{low}, {high}]' in ledger


def test_rescaling_a_dataset_without_16_bit_images_is_an_error(tmp_path, monkeypatch, capsys):
    write_clean(tmp_path / "set")
    line = ["doctor.py", "fix", str(tmp_path / "set"), "--rescale-16bit", "--output-dir", str(tmp_path / "new")]
    monkeypatch.setattr(sys, "argv", line)
    assert exit_status(doctor.main) == 2 and not (tmp_path / "new").exists()
    assert "no 16-bit gray images" in capsys.readouterr().err
