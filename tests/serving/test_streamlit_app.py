"""The Streamlit page, by Streamlit's own testing API, and in a real browser."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import zipfile
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from helpers.browser import CHROMIUM, needs_chromium
from helpers.folders import ROOT
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model
from streamlit.testing.v1 import AppTest

import app
from detect.inference.load import load_model
from detect.media.encoding import encode
from detect.media.images import read_image
from detect.media.video_writer import VideoWriter
from detect.models import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # Streamlit's own
IMAGE = ROOT / "input" / "balloons_1.jpg"
COLORS = """image => {  // how far red, green and blue are apart, on the average
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 64, 64);
    const { data } = context.getImageData(0, 0, 64, 64);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) {
        const color = data.slice(i, i + 3);
        sum += Math.max(...color) - Math.min(...color);
    }
    return (4 * sum) / data.length;
}"""


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()


def upload(page: AppTest, name: str, content: bytes, kind: str) -> AppTest:
    page.file_uploader[0].set_value((name, content, kind))
    return page.run()


def test_it_begins_with_what_to_do(page):
    assert not page.exception and "Upload an image" in page.info[0].value
    assert page.selectbox[0].options[0] == "balloon" and "v2" in page.selectbox[0].options
    assert page.slider[0].value == pytest.approx(load_model("balloon", device="cpu").threshold)


def test_an_image_is_looked_at_before_and_after(page):
    upload(page, "party.jpg", IMAGE.read_bytes(), "image/jpeg")
    assert not page.exception and not page.error
    (expected,) = load_model("balloon", device="cpu")([read_image(IMAGE)])
    table = page.dataframe[0].value
    assert len(table) == len(expected) > 3
    assert table["score"].tolist() == pytest.approx(expected.scores.tolist(), abs=0.0006)
    assert table["left"].tolist() == np.rint(expected.boxes[:, 0]).astype(int).tolist()
    page.slider[0].set_value(0.99).run()
    assert len(page.dataframe[0].value) == int((expected.scores >= 0.99).sum()) < len(expected)
    assert [one.label for one in page.download_button] == ["Image", "JSON", "Masks"]


def test_an_example_is_one_click_away(page):
    page.button_group[0].set_value("Example").run()
    assert not page.exception and len(page.dataframe[0].value) > 3


def test_what_cannot_be_read_is_told(page):
    upload(page, "party.jpg", b"not an image", "image/jpeg")
    assert not page.exception and "it is text" in page.error[0].value and "party.jpg" in page.error[0].value


def test_a_video_is_annotated_when_asked(page, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 10, (64, 96)) as video:
        for number in range(6):
            video.write(make_image((64, 96), number))
    upload(page, "clip.mp4", (tmp_path / "clip.mp4").read_bytes(), "video/mp4")
    assert not page.exception and not page.download_button
    page.number_input[0].set_value(4)
    page.button[0].click().run()
    assert not page.exception and page.caption[-1].value.startswith("4 frames")
    _, video, lines, _ = page.session_state.video
    frames = [json.loads(line) for line in lines.splitlines()]
    assert [one["detected"] for one in frames] == [True, False, False, True] and video[4:8] == b"ftyp"
    page.toggle[0].set_value(True).run()
    assert not page.download_button, "it is not the one that is chosen now"


def test_a_broken_video_is_told_by_its_name(page):
    upload(page, "clip.mp4", b"\0\0\0\x18ftypisom" + bytes(400), "video/mp4")
    page.button[0].click().run()
    assert not page.exception and "clip.mp4" in page.error[0].value and "/tmp" not in page.error[0].value


def test_a_trained_model_is_offered_and_loaded_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "ROOT", tmp_path)
    folder = tmp_path / "outputs" / "train" / "kites"
    folder.mkdir(parents=True)
    checkpoint.save(as_checkpoint(random_model()), folder / "best.safetensors")
    path = str(folder / "best.safetensors")
    assert app.checkpoints() == {"train/kites/": path}
    first = app.predictor_of(path, 1.0)
    assert app.predictor_of(path, 1.0) is first and app.predictor_of(path, 2.0) is not first


def test_the_backbones_are_compared_with_the_figures_of_the_pages():
    page = AppTest.from_function(compare).run()
    assert not page.exception
    trained, sizes = (one.value for one in page.dataframe)
    text = (ROOT / "docs" / "results.md").read_text()
    figures, intervals = (trained[name].dropna().tolist() for name in ("bbox AP50", "bbox AP50, 95 %"))
    assert figures and len(figures) == len(intervals)
    for figure, interval in zip(figures, intervals, strict=True):
        assert f"{figure:.1f} [{interval.replace(' to ', ', ')}]" in text
    assert "mobilenet_v2" in sizes["model"].tolist() and sizes["ms"].dtype == float


def compare() -> None:
    import app

    app.compare_page()


def test_rows_are_whole_pixels_and_numbers_can_be_sorted():
    assert app.numbers([{"a": "1.5", "b": "–", "c": "`x`", "d": "not measured"}]) == [
        {"a": 1.5, "b": None, "c": "x", "d": None}
    ]
    assert app.numbers([{"AP": "65.7 [60.8, 73.5]"}]) == [{"AP": 65.7, "AP, 95 %": "60.8 to 73.5"}]
    assert [app.in_words(count) for count in range(3)] == ["no objects", "1 object", "2 objects"]


def test_classes_are_chosen(tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    checkpoint.save(as_checkpoint(random_model()), path)
    monkeypatch.setattr("detect.models.zoo.BUNDLED", {f"{path}": path})
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    page.slider[0].set_value(0.05)
    upload(page, "noise.png", encode(make_image((96, 128), 1), "PNG"), "image/png")
    assert not page.exception and set(page.dataframe[0].value["object"]) == set(CLASSES.names)
    page.multiselect[0].set_value(["bird"]).run()
    assert set(page.dataframe[0].value["object"]) == {"bird"}


@needs_chromium
def test_it_works_in_a_browser(tmp_path):
    from playwright.sync_api import expect, sync_playwright

    with socket.create_server(("127.0.0.1", 0)) as line:
        port = line.getsockname()[1]
    words = [sys.executable, "-m", "streamlit", "run", "cloud/streamlit_app.py", "--server.headless", "true"]
    words += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as server, sync_playwright() as playwright:
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for(f"{url}_stcore/health")
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page, asked = browser.new_page(viewport={"width": 1400, "height": 1000}), []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(url)
            page.set_input_files("input[type=file]", IMAGE, timeout=60_000)
            words = page.get_by_text(re.compile(r"^\d+ objects$"))
            expect(words).to_be_visible(timeout=60_000)
            drawn = page.get_by_alt_text("with what was found drawn on it")
            before, color = drawn.get_attribute("src"), page.evaluate(COLORS, drawn.element_handle())
            page.get_by_text("Remove colors around the objects").click()
            expect(drawn).not_to_have_attribute("src", before, timeout=60_000)
            page.wait_for_function("image => image.complete", arg=drawn.element_handle())
            assert page.evaluate(COLORS, drawn.element_handle()) < 0.8 * color
            with page.expect_download(timeout=60_000) as download:
                page.get_by_role("button", name="Masks").click()
            names = zipfile.ZipFile(download.value.path()).namelist()
            assert names[0].startswith("001_balloon")
            assert all(one.startswith((url, "ws://", "blob:", "data:")) for one in asked)
            browser.close()
        finally:
            server.terminate()


def wait_for(url: str) -> None:
    for _ in range(240):
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}")
