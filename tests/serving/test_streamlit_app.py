"""The Streamlit page, through Streamlit's testing API and in a real browser."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from helpers.api_server import wait_until
from helpers.browser import TIMEOUT, launched, needs_chromium
from helpers.folders import ROOT
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model
from streamlit.testing.v1 import AppTest

import app
from detect.inference.load import load_model
from detect.media.encoding import encode
from detect.media.images import read_image
from detect.media.video_writer import VideoWriter
from detect.models import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of Streamlit itself
IMAGE = ROOT / "input" / "balloons_1.jpg"
SATURATION = """image => {  // mean difference between the largest and the smallest color channel of a pixel
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
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=600).run()


def upload(page: AppTest, name: str, content: bytes, media_type: str) -> AppTest:
    page.file_uploader[0].set_value((name, content, media_type))
    return page.run()


def test_the_page_first_states_what_to_do(page):
    assert not page.exception and "Upload an image" in page.info[0].value
    assert page.selectbox[0].options[0] == "balloon" and "v2" in page.selectbox[0].options
    assert page.slider[0].value == pytest.approx(load_model("balloon", device="cpu").threshold)


def test_an_image_is_shown_with_a_table_of_its_detections(page):
    upload(page, "party.jpg", IMAGE.read_bytes(), "image/jpeg")
    assert not page.exception and not page.error
    (expected,) = load_model("balloon", device="cpu").predict_batch([read_image(IMAGE)])
    table = page.dataframe[0].value
    assert len(table) == len(expected) > 3
    assert table["score"].tolist() == pytest.approx(expected.scores.tolist(), abs=0.0006)
    assert table["left"].tolist() == np.rint(expected.boxes[:, 0]).astype(int).tolist()
    page.slider[0].set_value(0.99).run()
    assert len(page.dataframe[0].value) == int((expected.scores >= 0.99).sum()) < len(expected)
    assert [one.label for one in page.download_button] == ["Image", "JSON", "Masks"]


def test_an_example_can_be_chosen(page):
    page.button_group[0].set_value("Example").run()
    assert not page.exception and len(page.dataframe[0].value) > 3


def test_an_unreadable_image_is_an_error_that_names_the_file(page):
    upload(page, "party.jpg", b"not an image", "image/jpeg")
    assert not page.exception and "party.jpg" in page.error[0].value


def test_a_video_is_annotated_on_request(page, tmp_path):
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
    assert not page.download_button, "the result of other settings is not shown"


def test_a_broken_video_is_an_error_that_names_the_file(page):
    upload(page, "clip.mp4", b"\0\0\0\x18ftypisom" + bytes(400), "video/mp4")
    page.button[0].click().run()
    assert not page.exception and "clip.mp4" in page.error[0].value and "/tmp" not in page.error[0].value


def test_a_trained_model_is_listed_and_loaded_again_when_its_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "ROOT", tmp_path)
    folder = tmp_path / "outputs" / "train" / "kites"
    folder.mkdir(parents=True)
    checkpoint.save(as_checkpoint(random_model()), folder / "best.safetensors")
    path = str(folder / "best.safetensors")
    assert app.trained_models() == {"train/kites/": path}
    first = app.predictor_of(path, 1.0)
    assert app.predictor_of(path, 1.0) is first and app.predictor_of(path, 2.0) is not first


def test_models_are_compared_with_their_measured_figures():
    page = AppTest.from_function(comparison, default_timeout=600).run()
    assert not page.exception
    models = page.dataframe[-1].value
    assert {"mobilenet_v2", "resnet50", "resnet101", "vovnet19_dw"} <= set(models["model"])
    assert models["ms per image"].min() > 0
    evaluations = page.dataframe[0].value.set_index("evaluation")
    record = json.loads((ROOT / "docs" / "results" / "balloon_default_0.json").read_text())
    shown = evaluations.loc["balloon_default_0, test"]
    assert shown["box AP"] == round(100 * record["metrics"]["test"]["bbox"]["AP"], 1)


def test_results_of_evaluate_py_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "ROOT", tmp_path)
    assert app.evaluated_rows() == []
    folder = tmp_path / "outputs" / "evaluate" / "kites"
    folder.mkdir(parents=True)
    metrics = {"bbox": {"AP": 0.5, "AP50": None}, "intervals": {"bbox": {"AP": [0.4, 0.6], "AP50": None}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (row,) = app.evaluated_rows()
    assert row == {"evaluation": "evaluate/kites", "box AP": 50.0, "box AP, 95 %": "40.0 to 60.0"}


@pytest.mark.parametrize("content", ['{"bbox": ', "[1]", '{"bbox": 3}', '{"bbox": {"AP": "x"}}'])
def test_damaged_result_is_skipped_with_a_warning(tmp_path, monkeypatch, content):
    monkeypatch.setattr(app, "ROOT", tmp_path)
    warnings: list[str] = []
    monkeypatch.setattr(app.st, "warning", warnings.append)
    folder = tmp_path / "outputs" / "evaluate" / "kites"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(content)
    assert app.evaluated_rows() == []
    (warning,) = warnings
    assert "outputs/evaluate/kites/metrics.json" in warning


def comparison() -> None:
    import app

    app.comparison_page()


def test_classes_can_be_selected(tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    checkpoint.save(as_checkpoint(random_model()), path)
    monkeypatch.setattr("detect.models.zoo.BUNDLED", {f"{path}": path})
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600).run()
    page.slider[0].set_value(0.05)
    upload(page, "noise.png", encode(make_image((96, 128), 1), "PNG"), "image/png")
    assert not page.exception and set(page.dataframe[0].value["class"]) == set(CLASSES.names)
    page.multiselect[0].set_value(["bird"]).run()
    assert set(page.dataframe[0].value["class"]) == {"bird"}


def test_each_class_has_the_threshold_of_the_model_until_the_slider_is_moved(tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    thresholds = {"kite": 0.35, "balloon": 0.3, "bird": 0.45}
    checkpoint.save(replace(as_checkpoint(random_model()), class_thresholds=thresholds), path)
    image = make_image((96, 128), 1)
    (every,) = load_model(path, device="cpu").predict_batch([image], threshold=0.0)
    own, low = (every.filter(one).scores.tolist() for one in (thresholds, 0.3))
    assert 0 < len(own) < len(low)
    monkeypatch.setattr("detect.models.zoo.BUNDLED", {f"{path}": path})
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600).run()
    assert page.checkbox[0].value and page.slider[0].value == 0.3
    assert page.checkbox[0].help == "kite 0.35, balloon 0.3, bird 0.45"
    upload(page, "noise.png", encode(image, "PNG"), "image/png")
    assert page.dataframe[0].value["score"].tolist() == pytest.approx(own, abs=1e-5)
    page.slider[0].set_value(0.31).run()
    assert not page.exception and not page.checkbox[0].value
    expected = every.filter(0.31).scores.tolist()
    assert page.dataframe[0].value["score"].tolist() == pytest.approx(expected, abs=1e-5)
    page.checkbox[0].check().run()
    assert not page.exception and page.slider[0].value == 0.3
    assert page.dataframe[0].value["score"].tolist() == pytest.approx(own, abs=1e-5)


def test_tiles_of_large_images_can_be_selected(tmp_path, monkeypatch):
    path, image = tmp_path / "mine.safetensors", make_image((160, 200), 1)
    checkpoint.save(as_checkpoint(random_model()), path)
    plain, tiled = (load_model(path, device="cpu", tile=tile)(image, threshold=0.05) for tile in (None, "auto"))
    assert 0 < len(plain) < len(tiled)
    monkeypatch.setattr("detect.models.zoo.BUNDLED", {f"{path}": path})
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600).run()
    page.slider[0].set_value(0.05)
    upload(page, "noise.png", encode(image, "PNG"), "image/png")
    assert len(page.dataframe[0].value) == len(plain)
    page.toggle[1].set_value(True).run()
    assert not page.exception and len(page.dataframe[0].value) == len(tiled)


@needs_chromium
def test_the_page_works_in_a_browser():
    from playwright.sync_api import expect

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = [sys.executable, "-m", "streamlit", "run", "cloud/streamlit_app.py", "--server.headless", "true"]
    words += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    url = f"http://127.0.0.1:{port}/"
    offline = os.environ | {"https_proxy": "http://127.0.0.1:9", "no_proxy": ""}  # nothing listens there
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, env=offline) as server, launched() as browser:
        try:
            wait_until(lambda: is_reachable(f"{url}_stcore/health"))
            page, requested = browser.new_page(viewport={"width": 1400, "height": 1000}), []
            page.set_default_timeout(TIMEOUT)
            page.on("request", lambda request: requested.append(request.url))
            page.goto(url)
            page.set_input_files("input[type=file]", IMAGE)
            expect(page.get_by_text(re.compile(r"^\d+ objects$"))).to_be_visible(timeout=TIMEOUT)
            drawn = page.get_by_alt_text("the image with detections")
            before, saturation = drawn.get_attribute("src"), page.evaluate(SATURATION, drawn.element_handle())
            page.get_by_text("Remove colors around the objects").click()
            expect(drawn).not_to_have_attribute("src", before, timeout=TIMEOUT)
            page.wait_for_function("image => image.complete", arg=drawn.element_handle())
            assert page.evaluate(SATURATION, drawn.element_handle()) < 0.8 * saturation
            with page.expect_download() as download:
                page.get_by_role("button", name="Masks").click()
            names = zipfile.ZipFile(download.value.path()).namelist()
            assert names[0].startswith("001_balloon")
            assert all(one.startswith((url, "ws://", "blob:", "data:")) for one in requested)
        finally:
            server.terminate()


def is_reachable(url: str) -> bool:
    try:
        urlopen(url, timeout=5).close()
        return True
    except (URLError, OSError):
        return False
