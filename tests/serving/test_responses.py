"""Detections are encoded as the files of the output formats of the scripts."""

from __future__ import annotations

import json

import numpy as np
from helpers.tiny_models import CLASSES

from detect.serving.responses import ImageResult, format_files, instance_map
from detect.structures.detections import Detections

IMAGE = np.zeros((4, 6, 3), np.uint8)


def result(name: str) -> ImageResult:
    return ImageResult(name, IMAGE, Detections((4, 6)))


def test_an_output_format_gets_the_file_names_of_the_caller_without_folders():
    results = [result(name) for name in ("a.png", "../../b.png", r"C:\c.png", "")]
    ((name, content),) = format_files("json", results, CLASSES)
    assert name == "detections.json"
    assert [one["source"] for one in json.loads(content)["images"]] == ["a.png", "b.png", "c.png", "image"]


def test_equal_file_names_are_numbered():
    ((_, content),) = format_files("json", [result("a.png"), result("b.png"), result("a.png")], CLASSES)
    assert [one["source"] for one in json.loads(content)["images"]] == ["1_a.png", "b.png", "3_a.png"]


def test_the_instance_map_of_an_image_without_detections_is_background():
    detections = Detections((4, 6), masks=[])
    assert instance_map(detections).startswith(b"\x89PNG")
