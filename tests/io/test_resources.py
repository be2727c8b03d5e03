"""Shipped files are found in a checkout; tests/test_installation.py checks an installed package."""

from __future__ import annotations

from helpers.folders import ROOT

from detect.io.resources import datasets_folder, resource


def test_shipped_files_of_a_checkout_are_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert resource("weights/balloon.safetensors") == ROOT / "weights" / "balloon.safetensors"
    assert resource("datasets/shapes.yaml").is_file() and resource("input/image_1.jpg").is_file()
    assert datasets_folder() == ROOT / "datasets"
