"""The examples of docs/serving.md work as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers.api_server import serving as api
from helpers.api_server import until
from helpers.browser import CHROMIUM, needs_chromium
from helpers.folders import ROOT
from helpers.website import serving as website

from detect.inference.predictor import load_predictor
from detect.media.images import read_header
from detect.media.video_reader import VideoReader
from detect.serving.model_registry import Served

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
HOST = "http://127.0.0.1:8000"


def example(language: str) -> str:
    """The only block of code in a language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return code


@pytest.fixture(scope="module")
def model() -> Served:
    return Served("balloon", load_predictor("balloon", device="cpu", imgsz=256))


@pytest.mark.slow
def test_the_example_in_python(model, tmp_path):
    (tmp_path / "input").symlink_to(ROOT / "input")
    with api(model) as client:
        code = example("python").replace(HOST, str(client.base_url))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "balloons_1.jpg balloon 0.9" in done.stdout and "balloons_2.jpg balloon" in done.stdout
    assert read_header(tmp_path / "masks.png").image_hw == read_header(ROOT / "input" / "balloons_1.jpg").image_hw
    with VideoReader(tmp_path / "found.mp4") as found, VideoReader(ROOT / "input" / "video_1.mp4") as video:
        assert sum(1 for _ in found) == sum(1 for _ in video)


@needs_chromium
@pytest.mark.parametrize(("is_named", "expected"), [(True, "balloon"), (False, "Failed to fetch")])
def test_the_example_for_a_browser_where_its_page_is_named(model, tmp_path, is_named, expected):
    from playwright.sync_api import sync_playwright

    said = []
    with (
        website(tmp_path) as site,
        api(model, origins=[site] if is_named else []) as client,
        sync_playwright() as playwright,
    ):
        code = example("html").replace(HOST, str(client.base_url).rstrip("/"))
        (tmp_path / "page.html").write_text(f"<!doctype html>{code}")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("console", lambda message: said.append(str(message.args[0].json_value()) if message.args else ""))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{site}/page.html")
        page.set_input_files("#image", ROOT / "input" / "balloons_1.jpg")
        until(lambda: page.wait_for_timeout(50) or any(expected in words for words in said))
        browser.close()
