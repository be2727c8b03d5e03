"""Rendered datasets: exact ground truth, equal bytes for equal seeds, and complete folders or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.folders import ROOT

from detect.data.synthetic import balloons, datasets, scenes
from detect.data.synthetic.balloons import Balloon
from detect.data.synthetic.canvas import MIN_AREA, patch_of, visible_parts
from detect.errors import UsageError
from detect.media.images import image_hw
from detect.structures import masks


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def tiny(monkeypatch):
    for name, kind in datasets.KINDS.items():
        monkeypatch.setitem(datasets.KINDS, name, replace(kind, counts={"train": 3, "val": 1, "test": 1}))


@pytest.mark.parametrize("kind", datasets.KINDS)
def test_equal_seeds_give_equal_bytes(kind, tiny, tmp_path):
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        datasets.render_dataset(kind, tmp_path / folder, seed)
    first, again, other = (files_of(tmp_path / folder) for folder in "abc")
    assert first == again
    assert len(first) == 8  # 5 images, 3 annotation files
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("kind", datasets.KINDS)
def test_ground_truth_is_coco_with_exact_boxes_and_areas(kind, tiny, tmp_path):
    datasets.render_dataset(kind, tmp_path / "set", 1)
    ids: list[int] = []
    for split in datasets.SPLITS:
        ground_truth = json.loads((tmp_path / "set" / f"{split}.json").read_text())
        assert {c["id"]: c["name"] for c in ground_truth["categories"]} == dict(datasets.KINDS[kind].categories)
        images = {i["id"]: i for i in ground_truth["images"]}
        ids += images
        for image in images.values():
            assert image_hw(tmp_path / "set" / split / image["file_name"]) == (
                image["height"],
                image["width"],
            )
        for annotation in ground_truth["annotations"]:
            image = images[annotation["image_id"]]
            rle = masks.from_coco(annotation["segmentation"], (image["height"], image["width"]))
            x, y, w, h = annotation["bbox"]
            assert masks.box(rle).tolist() == [x, y, x + w, y + h]
            assert masks.area(rle) == annotation["area"] >= MIN_AREA
    assert len(ids) == len(set(ids)) == 5


@pytest.mark.parametrize("kind", datasets.KINDS.values(), ids=datasets.KINDS)
def test_masks_do_not_overlap(kind):
    for index in range(4):
        image = kind.render_image(np.random.default_rng([3, index]), index)
        assert image.image.dtype == np.uint8
        assert len(image.masks) == len(image.category_ids)
        assert np.array_equal(masks.iou(image.masks, image.masks), np.eye(len(image.masks)))


def test_most_but_not_all_images_have_balloons():
    counts = [len(scenes.render_image(np.random.default_rng([1, n]), n).masks) for n in range(14)]
    assert counts[scenes.EMPTY_EVERY // 2] == 0
    assert sum(n > 0 for n in counts) >= 12


def test_category_ids_of_shapes_are_sparse_and_unsorted():
    assert list(datasets.KINDS["shapes"].categories.items()) == [(90, "circle"), (7, "square"), (3, "triangle")]
    kind = datasets.KINDS["shapes"]
    seen = {i for n in range(12) for i in kind.render_image(np.random.default_rng(n), n).category_ids}
    assert seen == {90, 7, 3}


def test_interrupted_rendering_leaves_no_files(monkeypatch, tmp_path):
    def stop(rng, index):
        raise KeyboardInterrupt

    monkeypatch.setitem(datasets.KINDS, "shapes", replace(datasets.KINDS["shapes"], render_image=stop))
    with pytest.raises(KeyboardInterrupt):
        datasets.render_dataset("shapes", tmp_path / "set", 1)
    assert list(tmp_path.iterdir()) == []


def test_second_rendering_keeps_existing_files(tiny, tmp_path):
    datasets.render_dataset("shapes", tmp_path / "set", 1)
    before = files_of(tmp_path / "set")
    datasets.render_dataset("shapes", tmp_path / "set", 1)
    assert files_of(tmp_path) == {f"set/{name}": content for name, content in before.items()}


def test_unknown_kind_suggests_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="did you mean shapes"):
        datasets.render_dataset("shape", tmp_path / "set", 1)


def test_coverage_matches_the_coordinates_of_the_shape():
    patch = patch_of([square(10, 20, 5)], (40, 40))
    whole = np.zeros((40, 40))
    whole[patch.window] = patch.alpha
    assert np.argwhere(whole == 1).min(axis=0).tolist() == [20, 10]
    assert whole.sum() == pytest.approx(25)
    assert patch_of([square(10.5, 20, 5)], (40, 40)).alpha.sum() == pytest.approx(25, rel=0.01)
    turns = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([20 + 8 * np.cos(turns), 20 + 8 * np.sin(turns)], axis=1)
    assert patch_of([circle], (40, 40)).alpha.sum() == pytest.approx(64 * np.pi, rel=0.01)


def test_hidden_and_cut_shapes_have_no_ground_truth():
    size = (60, 60)
    behind, hidden, front = (patch_of([square(*s)], size) for s in ((5, 5, 30), (12, 12, 10), (10, 10, 20)))
    parts = visible_parts([behind, hidden, front], size)
    assert [part and masks.area(part) for part in parts] == [30 * 30 - 20 * 20, None, 400]
    mostly_outside = patch_of([square(55, 10, 40)], size)  # 5 of 40 columns: less than a fifth
    outside = patch_of([square(100, 10, 40)], size)
    assert visible_parts([mostly_outside, outside], size) == [None, None]


def test_mask_covers_the_painted_pixels():
    canvas = np.full((160, 160, 3), 0.5, np.float32)
    light = scenes.light_for(canvas, np.random.default_rng(0))
    balloon = Balloon((80.0, 70.0), 40.0, (0.9, 0.05, 0.1), angle=0.4, opacity=1.0, shadow=0.0)
    painted = canvas.copy()
    (part,) = scenes.draw(painted, [balloon], light)
    changed = masks.from_bitmap(np.abs(painted - canvas).max(axis=-1) > 0.1)
    assert masks.iou([part], [changed])[0, 0] > 0.97
    x0, y0, x1, y1 = masks.box(part)
    assert x1 - x0 > 75 and y1 - y0 > 80
    assert x0 < balloon.knot_xy[0] < 80 and y0 < balloon.knot_xy[1] < y1  # below and, rotated by 0.4, to the left


def test_string_is_not_part_of_the_coverage():
    balloon = Balloon((50.0, 40.0), 20.0, (0.1, 0.4, 0.8))
    tied = replace(balloon, string=np.array([[50.0, 60.0], [50.0, 99.0]]))
    free, held = (balloons.coverage(b, (100, 100)) for b in (balloon, tied))
    assert np.array_equal(free.alpha, held.alpha)


@pytest.mark.parametrize("name, count", [("balloons_1", 10), ("balloons_2", 58)])
def test_sample_images_agree_with_their_ground_truth(name, count):
    ground_truth = json.loads((ROOT / "input" / f"{name}.json").read_text())
    (image,) = ground_truth["images"]
    assert image_hw(ROOT / "input" / image["file_name"]) == (image["height"], image["width"])
    assert len(ground_truth["annotations"]) == count


def test_sample_video_has_ground_truth_for_every_frame():
    ground_truth = json.loads((ROOT / "input" / "balloons.json").read_text())
    assert [i["frame"] for i in ground_truth["images"]] == list(range(240))
    boxes = np.array([a["bbox"] for a in ground_truth["annotations"]])
    assert (boxes[:, 2:] > 0).all()
    assert ((boxes[:, :2] >= 0) & (boxes[:, :2] + boxes[:, 2:] <= (640, 360))).all()


@pytest.mark.parametrize("name", ["sample", "shapes"])
def test_dataset_descriptions_name_known_kinds(name):
    content = yaml.safe_load((ROOT / "datasets" / f"{name}.yaml").read_text())
    assert content["render"]["kind"] in datasets.KINDS
    assert list(content["splits"]) == list(datasets.SPLITS)


def test_shading_rotates_with_the_balloon():
    canvas = np.full((200, 200, 3), 0.5, np.float32)
    light = replace(scenes.light_for(canvas, np.random.default_rng(0)), key=0.0, back=0.0, highlights=())
    even = replace(light, sky=np.full(3, 0.8, np.float32), ground=np.full(3, 0.8, np.float32))
    images = []
    for angle in (0.0, np.pi / 2):
        image = canvas.copy()
        balloon = Balloon((100.0, 100.0), 60.0, (0.9, 0.4, 0.1), angle=angle, opacity=1.0, shadow=0.0)
        scenes.draw(image, [balloon], even)
        images.append(image)
    # After a quarter turn the knot is on the left instead of below; in even light nothing else changes.
    assert np.abs(np.rot90(images[0], -1) - images[1]).mean() < 0.002


@pytest.mark.parametrize("kind", datasets.KINDS)
def test_description_in_the_files_is_that_of_earlier_versions(kind, tiny, tmp_path):
    """Runs compare digests of their annotations before they resume, so rendering again must give the same files."""
    datasets.render_dataset(kind, tmp_path / "set", 5)
    info = json.loads((tmp_path / "set" / "val.json").read_text())["info"]
    assert info == {"description": "rendered by detect.data.sample, seed 5"}
