"""The files of the measured model are exports like those of export.py."""

from __future__ import annotations

import pytest
from helpers.exports import BOXES, IMAGES, save

from benchmarks.subject import prepare_subject
from detect.inference.load import load_model


@pytest.mark.slow
def test_exports_of_the_measured_model_describe_themselves(tmp_path):
    path, folder = save(BOXES, tmp_path / "boxes.safetensors"), tmp_path / "files"
    folder.mkdir()
    subject = prepare_subject(str(path), 96, folder, IMAGES, lambda: IMAGES[:2])
    for kind, facts in {
        "onnx": ("onnxruntime", "fp32"),
        "openvino": ("openvino", "fp32"),
        "openvino_int8": ("openvino", "int8"),
    }.items():
        model = load_model(subject.file(kind))
        assert (model.runtime.name, model.precision) == facts and model.imgsz == 96
        assert model.runtime.facts.runtime == model.runtime.name
        assert subject.file(kind) == subject.file(kind)  # written once
