"""The examples of docs/serving.md work as printed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers.api_server import serving as api
from helpers.api_server import wait_until
from helpers.browser import TIMEOUT, launched, needs_chromium
from helpers.folders import ROOT
from helpers.website import serving as website

from detect.inference.load import load_model
from detect.media.images import read_header
from detect.media.video_reader import VideoReader
from detect.serving.model_registry import ServedModel

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
HOST = "http://127.0.0.1:8000"


def example(language: str) -> str:
    """Return the only code block in a language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return code


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return ServedModel("balloon", load_model("balloon", device="cpu", imgsz=256))


def test_every_metric_is_listed(model):
    with api(model) as client:
        names = set(re.findall(r"^# TYPE (detect_\w+) ", client.get("/metrics").text, re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    assert len(names) >= 7
    assert not [name for name in names if f"`{name}`" not in PAGE]


@pytest.mark.slow
def test_the_python_example(model, tmp_path):
    (tmp_path / "input").symlink_to(ROOT / "input")
    with api(model) as client:
        code = example("python").replace(HOST, str(client.base_url))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "balloons_1.jpg balloon 0.9" in done.stdout and "balloons_2.jpg balloon" in done.stdout
    assert read_header(tmp_path / "masks.png").image_hw == read_header(ROOT / "input" / "balloons_1.jpg").image_hw
    with VideoReader(tmp_path / "annotated.mp4") as annotated, VideoReader(ROOT / "input" / "balloons.mp4") as video:
        assert sum(1 for _ in annotated) == sum(1 for _ in video)


@needs_chromium
@pytest.mark.parametrize(("is_allowed", "expected"), [(True, "balloon"), (False, "Failed to fetch")])
def test_the_browser_example_works_from_an_allowed_site_only(model, tmp_path, is_allowed, expected):
    output = []
    with website(tmp_path) as site, api(model, origins=[site] if is_allowed else []) as client, launched() as browser:
        code = example("html").replace(HOST, str(client.base_url).rstrip("/"))
        (tmp_path / "page.html").write_text(f"<!doctype html>{code}")
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT)
        page.on("console", lambda message: output.append(str(message.args[0].json_value()) if message.args else ""))
        page.on("pageerror", lambda error: output.append(str(error)))
        page.goto(f"{site}/page.html")
        page.set_input_files("#image", ROOT / "input" / "balloons_1.jpg")
        wait_until(lambda: page.wait_for_timeout(50) or any(expected in line for line in output))
