"""--json-format and --mask-format choose what the detect scripts write as JSON."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_predictor import FakePredictor, files

from detect.cli.flags import parse
from detect.cli.settings.detection import DetectImageSettings, DetectVideoSettings
from detect.errors import UsageError
from detect.inference.annotate_images import annotate_images
from detect.media.images import write_image
from detect.structures import masks


class MaskPredictor(FakePredictor):
    """Detects objects whose masks fill a part of the image."""

    def predict_batch(self, images, labels=None, threshold=None):
        found = super().predict_batch(images, labels, threshold)
        bitmaps = [np.arange(one.image_hw[0] * one.image_hw[1]).reshape(one.image_hw) % 7 > 2 for one in found]
        return [replace(one, masks=[masks.from_bitmap(b)] * len(one)) for one, b in zip(found, bitmaps, strict=True)]


@pytest.mark.parametrize(
    ("flags", "formats"),
    [
        ("", []),
        ("--save-json", ["json"]),
        ("--json-format detect", ["json"]),
        ("--save-json --json-format roboflow", ["roboflow"]),
        ("--json-format huggingface --save-coco", ["coco", "huggingface"]),
        ("--json-format coco --save-coco --save-csv", ["coco", "csv"]),
    ],
)
@pytest.mark.parametrize("settings_class", [DetectImageSettings, DetectVideoSettings])
def test_the_flag_chooses_the_format_and_implies_json(settings_class, flags, formats):
    settings, _ = parse(settings_class, "", ["--input", "x.jpg", *flags.split()])
    assert settings.formats == formats


def test_an_unknown_format_is_an_error_with_the_near_name():
    with pytest.raises(UsageError, match=r"did you mean roboflow"):
        parse(DetectImageSettings, "", ["--input", "x.jpg", "--json-format", "robofow"])


def run(image: Path, folder: Path, **options) -> dict:
    """Detect objects in an image and return the first detection in detections.json."""
    settings = {"formats": ["json"], "annotated": False} | options
    with closing(annotate_images(MaskPredictor(), [image], folder, **settings)) as results:
        assert len(list(results)) == 1
    return json.loads((folder / "detections.json").read_text())["images"][0]["detections"][0]


def test_masks_are_polygons_and_stay_so_if_the_run_is_continued(tmp_path):
    image, out = tmp_path / "a.png", tmp_path / "out"
    out.mkdir()
    write_image(image, np.zeros((20, 30, 3), np.uint8))
    polygons = run(image, out, mask_format="polygons")["segmentation"]
    assert isinstance(polygons, list) and all(isinstance(number, float) for number in polygons[0])
    assert run(image, out, skip_existing=True)["segmentation"] == polygons
    assert set(run(image, out, skip_existing=True, mask_format="rle")["segmentation"]) == {"size", "counts"}
    assert files(out) == ["detections.json"]
