"""The examples of JSON in the docs are what the programs write."""

from __future__ import annotations

import json
import re

import pytest
from helpers.folders import ROOT

from detect.inference.writers import JSON_FORMATS, Source
from detect.inference.writers.files import encode_files
from detect.serving import examples


def blocks(page: str) -> list[object]:
    """Return the blocks of JSON of a page, in their order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


@pytest.mark.parametrize("name", JSON_FORMATS.values())
def test_each_format_has_an_example(name):
    source = Source("party.jpg", None, annotated_file="party.jpg")
    (content,) = encode_files(name, examples.NAMES, [(source, examples.detections())]).values()
    assert json.loads(content) in blocks("inference.md")


def test_the_example_of_a_frame():
    assert examples.frame() | {"detections": []} in blocks("inference.md")


def test_the_response_with_a_damaged_image():
    assert blocks("serving.md") == [examples.responses()["json, with polygons and a damaged image"]["value"]]


def test_every_field_is_described():
    table = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    (image,) = examples.detections().to_json()["images"]
    fields = {"schema", "images", "error", "keypoints", "track_id", "annotated_file", *image, *image["detections"][0]}
    assert not [field for field in {*fields, *examples.frame()} if not re.search(rf"^\|[^|]*`{field}`", table, re.M)]
