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
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from helpers.api_server import wait_until
from helpers.browser import TIMEOUT, launched, needs_chromium
from helpers.folders import ROOT
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, make_image, random_model
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Toggle

from app_pages import comparison, images, models
from detect.inference.load import load_model
from detect.media.encoding import EncodedImage, encode
from detect.media.images import read_image
from detect.media.video_writer import VideoWriter
from detect.models import checkpoint, default_model, zoo

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


def opened(model: str | Path = "balloon") -> AppTest:
    """Return the page after a model was chosen."""
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    page.session_state.model = str(model)
    return page.run()


@pytest.fixture
def page() -> AppTest:
    return opened()


def test_without_a_network_the_bundled_model_is_used_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(default_model, "FAILURES", ["no network"])
    models.loaded_model.clear()
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600).run()
    models.loaded_model.clear()
    assert not page.exception and page.radio[0].value == "auto"
    warning = page.warning[0].value
    assert "no network" in warning and "balloon" in warning and "tab Example" in warning and "input/" not in warning
    (selector,) = page.get("popover")
    assert selector.proto.popover.label.replace("\\", "") == "Model: auto (balloon)"  # without Markdown's backslashes


def upload(page: AppTest, name: str, content: bytes, media_type: str) -> AppTest:
    page.file_uploader[0].set_value((name, content, media_type))
    return page.run()


def toggle(page: AppTest, label: str) -> Toggle:
    (found,) = (one for one in page.toggle if one.label == label)
    return found


def test_the_page_first_states_what_to_do(page):
    assert not page.exception and "Upload an image" in page.info[0].value
    assert {"auto", "balloon", "v2", "URL ..."} <= set(page.radio[0].options)
    assert page.slider[0].value == pytest.approx(load_model("balloon", device="cpu").threshold)


def test_an_image_is_shown_with_a_table_of_its_detections(page):
    upload(page, "party.jpg", IMAGE.read_bytes(), "image/jpeg")
    assert not page.exception and not page.error
    (expected,) = load_model("balloon", device="cpu").predict_batch([read_image(IMAGE)])
    table = page.dataframe[0].value
    assert len(table) == len(expected) > 3
    assert table["score"].tolist() == pytest.approx(expected.scores.tolist(), abs=0.0006)
    assert table["left"].tolist() == np.rint(expected.boxes[:, 0]).astype(int).tolist()
    page.slider[0].set_value(0.9).run()
    assert len(page.dataframe[0].value) == int((expected.scores >= 0.9).sum()) < len(expected)
    assert downloads(page) == [
        "Image: party_detections.jpg",
        "JSON: party_detections.json",
        "Masks: party_masks.zip",
    ]


def downloads(page: AppTest) -> list[str]:
    """Return the labels of the download buttons, without the backslashes of Markdown."""
    return [one.label.replace("\\", "") for one in page.download_button]


def test_an_example_can_be_chosen(page):
    page.button_group[0].set_value("Example").run()
    assert not page.exception and len(page.dataframe[0].value) > 3


def test_an_unreadable_image_is_an_error_that_names_the_file(page):
    upload(page, "party.jpg", b"not an image", "image/jpeg")
    assert not page.exception and "party.jpg" in page.error[0].value
    assert "Boxes" not in [one.label for one in page.toggle]


def shown(page: AppTest) -> tuple[str, str]:
    """Return the addresses of the image with detections and of the original, which depend on the pixels only."""
    drawn, original = (one.proto.imgs[0].url for one in page.get("image"))
    return drawn, original


def test_boxes_masks_and_labels_can_be_hidden(page):
    upload(page, "party.jpg", IMAGE.read_bytes(), "image/jpeg")
    seen = [shown(page)[0]]
    for label in ("Labels", "Boxes", "Masks"):
        toggle(page, label).set_value(False).run()
        seen.append(shown(page)[0])
    assert not page.exception and len(set(seen)) == 4
    drawn, original = shown(page)
    assert drawn == original, "with everything hidden the image is unchanged"


def test_a_large_image_is_resized_and_a_larger_one_is_an_error(page, monkeypatch):
    monkeypatch.setattr(images, "MAX_USED_PIXELS", 200_000)
    upload(page, "party.jpg", IMAGE.read_bytes() + bytes(1), "image/jpeg")  # so that no other result is cached for it
    assert not page.exception and "resized to 450x300" in page.info[0].value
    table = page.dataframe[0].value
    assert len(table) > 3 and (table["left"] + table["width"]).max() <= 450
    monkeypatch.setattr(images, "MAX_PIXELS", 500_000)
    page.run()
    assert not page.exception and not page.dataframe and "party.jpg has 900x600 pixels" in page.error[0].value


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_resized_image_shows_the_same(kind, monkeypatch):
    monkeypatch.setattr(images, "MAX_USED_PIXELS", 330)
    pixels = np.full((61, 79, 3), 200, np.uint8)
    pixels[:, 40:] = 0
    image, full_hw = images.read_limited(EncodedImage(encode(pixels, kind)))
    assert full_hw == (61, 79) and image.shape == (16, 20, 3)
    assert image[:, :9].min() >= 195 and image[:, 11:].max() <= 5


def test_a_video_is_annotated_on_request(page, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 10, (64, 96)) as video:
        for number in range(6):
            video.write(make_image((64, 96), number))
    upload(page, "clip.mp4", (tmp_path / "clip.mp4").read_bytes(), "video/mp4")
    assert not page.exception and not page.download_button
    page.number_input[0].set_value(4)
    page.button[0].click().run()
    assert not page.exception and "4 frames" in [one.value for one in page.caption]
    assert downloads(page) == ["Video: clip_detections.mp4", "JSON of each frame: clip_detections.jsonl"]
    _, result = page.session_state.video
    frames = [json.loads(line) for line in result.lines.splitlines()]
    assert [one["detected"] for one in frames] == [True, False, False, True] and result.video[4:8] == b"ftyp"
    toggle(page, "Gray background").set_value(True).run()
    assert not page.download_button and "settings have changed" in page.info[0].value
    toggle(page, "Gray background").set_value(False).run()
    assert page.download_button, "the result of these settings is shown again"


def test_a_broken_video_is_an_error_that_names_the_file(page):
    upload(page, "clip.mp4", b"\0\0\0\x18ftypisom" + bytes(400), "video/mp4")
    page.button[0].click().run()
    assert not page.exception and "clip.mp4" in page.error[0].value and "/tmp" not in page.error[0].value


def test_a_trained_model_is_listed_and_loaded_again_when_its_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "ROOT", tmp_path)
    folder = tmp_path / "outputs" / "train" / "kites"
    folder.mkdir(parents=True)
    checkpoint.save(as_checkpoint(random_model()), folder / "best.safetensors")
    path = str(folder / "best.safetensors")
    assert models.trained_models() == {"train/kites/": path}
    first = models.predictor_of(path, 1.0)
    assert models.predictor_of(path, 1.0) is first and models.predictor_of(path, 2.0) is not first


def test_models_are_compared_with_their_measured_figures():
    page = AppTest.from_function(compare, default_timeout=600).run()
    assert not page.exception
    evaluations, detectors, backbones = (one.value for one in page.dataframe)
    assert set(detectors["model"]) == set(zoo.DETECTORS) and set(backbones["model"]) == set(zoo.BACKBONES)
    for table in (detectors, backbones):
        assert table["ms per image"].min() > 0
        assert table.drop(columns="ImageNet top-1 (%)", errors="ignore").notna().all(axis=None)
    shown = evaluations.set_index(["evaluation", "of"])
    record = json.loads((ROOT / "docs" / "results" / "balloon_default_0.json").read_text())
    for kind, words in (("bbox", "boxes"), ("segm", "masks")):
        expected = round(record["metrics"]["test"][kind]["AP"], 3)
        assert shown.loc[("balloon_default_0, test", words), "AP"] == expected
    assert ("bccd_default_0, test", "masks") not in shown.index, "a model without masks has no row for them"


def compare() -> None:
    from app_pages.comparison import comparison_page

    comparison_page()


def test_each_detector_has_a_description_of_its_own():
    described = {name: models.description(name) for name in zoo.DETECTORS}
    assert len(set(described.values())) == len(described) and all(described.values())
    assert "masks" in described["maskrcnn"] and "masks" not in described["v1"] and "AP 0.467" in described["v2"]


@pytest.mark.parametrize("content", ['{"models": []}', None])
def test_detector_that_was_not_measured_has_a_description_without_figures(tmp_path, monkeypatch, content):
    path = tmp_path / "models.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(models, "MODELS_FILE", path)
    monkeypatch.setattr(models, "benchmark", models.benchmark.__wrapped__)
    assert models.description("v2") == "Finds everyday objects (80 classes of COCO)."


def use_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``folder`` stand for the project, so that the page finds its outputs/ and docs/."""
    for module in (models, comparison):
        monkeypatch.setattr(module, "ROOT", folder)


def test_results_of_evaluate_py_are_listed(tmp_path, monkeypatch):
    use_root(tmp_path, monkeypatch)
    assert comparison.evaluated_rows() == []
    folder = tmp_path / "outputs" / "evaluate" / "kites"
    folder.mkdir(parents=True)
    metrics = {"bbox": {"AP": 0.5, "AP50": None}, "intervals": {"bbox": {"AP": [0.4, 0.6], "AP50": None}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (row,) = comparison.evaluated_rows()
    assert row == {"evaluation": "evaluate/kites", "of": "boxes", "AP": 0.5, "AP, 95 %": "0.400 to 0.600"}


@pytest.mark.parametrize("content", ['{"bbox": ', "[1]", '{"bbox": 3}', '{"bbox": {"AP": "x"}}'])
def test_damaged_result_is_skipped_with_a_warning(tmp_path, monkeypatch, content):
    use_root(tmp_path, monkeypatch)
    warnings: list[str] = []
    monkeypatch.setattr(comparison.st, "warning", warnings.append)
    folder = tmp_path / "outputs" / "evaluate" / "kites"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(content)
    assert comparison.evaluated_rows() == []
    (warning,) = warnings
    assert "outputs/evaluate/kites/metrics.json" in warning


def test_classes_can_be_selected(tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    checkpoint.save(as_checkpoint(random_model()), path)
    monkeypatch.setattr("detect.models.zoo.BUNDLED", {f"{path}": path})
    page = opened(path)
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
    page = opened(path)
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
    boxes_only = replace(TINY_ARCHITECTURE, head="fasterrcnn")  # masks of so many detections take long
    checkpoint.save(as_checkpoint(random_model(boxes_only), boxes_only), path)
    plain, tiled = (load_model(path, device="cpu", tile=tile)(image, threshold=0.05) for tile in (None, "auto"))
    assert 0 < len(plain) < len(tiled)
    monkeypatch.setattr("detect.models.zoo.BUNDLED", {f"{path}": path})
    page = opened(path)
    page.slider[0].set_value(0.05)
    upload(page, "noise.png", encode(image, "PNG"), "image/png")
    assert len(page.dataframe[0].value) == len(plain)
    toggle(page, "Tiles").set_value(True).run()
    assert not page.exception and len(page.dataframe[0].value) == len(tiled)


@pytest.mark.slow
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
            page.get_by_role("button", name="Model: auto").click()
            page.get_by_role("radio", name="balloon").check(force=True)
            expect(page.get_by_role("button", name="Model: balloon")).to_be_visible(timeout=TIMEOUT)
            page.keyboard.press("Escape")
            page.set_input_files("input[type=file]", IMAGE)
            expect(page.get_by_text(re.compile(r"^\d+ objects$"))).to_be_visible(timeout=TIMEOUT)
            drawn = page.get_by_alt_text("the image with detections")
            before, saturation = drawn.get_attribute("src"), page.evaluate(SATURATION, drawn.element_handle())
            page.get_by_text("Gray background").click()
            expect(drawn).not_to_have_attribute("src", before, timeout=TIMEOUT)
            page.wait_for_function("image => image.complete", arg=drawn.element_handle())
            assert page.evaluate(SATURATION, drawn.element_handle()) < 0.8 * saturation
            with page.expect_download() as download:
                page.get_by_role("button", name="Masks: balloons_1_masks.zip").click()
            assert download.value.suggested_filename == "balloons_1_masks.zip"
            names = zipfile.ZipFile(download.value.path()).namelist()
            assert names[0].startswith("001_balloon")
            page.get_by_role("link", name="Compare models").click()
            chart = page.get_by_test_id("stVegaLiteChart").first
            chart.locator("canvas, svg").first.hover()
            before = chart.bounding_box()["y"]
            page.mouse.wheel(0, 100)
            page.wait_for_function(
                "([chart, y]) => chart.getBoundingClientRect().y < y", arg=[chart.element_handle(), before]
            )
            assert all(one.startswith((url, "ws://", "blob:", "data:")) for one in requested)
        finally:
            server.terminate()


def is_reachable(url: str) -> bool:
    try:
        urlopen(url, timeout=5).close()
        return True
    except (URLError, OSError):
        return False
