"""The web pages of serve.py in a real browser show what the API returns."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers.api_server import serving, tiny_model
from helpers.browser import browsing, needs_chromium
from helpers.folders import ROOT
from helpers.tiny_models import CLASSES, make_image
from PIL import Image

from detect.inference.load import load_model
from detect.media.images import read_image, write_image
from detect.media.video_writer import VideoWriter
from detect.serving.model_registry import ServedModel
from detect.structures import masks

pytestmark = needs_chromium
IMAGE = ROOT / "input" / "balloons_1.jpg"


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return ServedModel("balloon", load_model("balloon", device="cpu", imgsz=256))


@pytest.fixture(scope="module")
def client(model):
    with serving(model) as client:
        yield client


@pytest.fixture
def page(client):
    with browsing(str(client.base_url)) as page:
        page.wait_for_selector("#model option", state="attached")
        yield page


def wait_for_detections(page) -> None:
    page.locator("#status", has_text=re.compile(r"^\d+ objects?, ")).wait_for()


def choose_file(page, path: Path = IMAGE) -> None:
    page.set_input_files("#file", path)
    wait_for_detections(page)


def api_detections(client, threshold: float) -> list[dict]:
    answer = client.post("/v1/detect", content=IMAGE.read_bytes(), params={"threshold": threshold})
    return answer.json()["images"][0]["detections"]


def canvas_pixels(page) -> np.ndarray:
    """Return the content of the canvas as RGB [H, W, 3]."""
    url = page.evaluate("document.getElementById('canvas').toDataURL('image/png')")
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def hide_detections(page) -> None:
    page.uncheck("#show-boxes")
    page.uncheck("#show-masks")


def set_threshold(page, threshold: float) -> None:
    page.evaluate(
        "value => { const slider = document.getElementById('threshold'); slider.value = value;"
        " slider.dispatchEvent(new Event('input')); }",
        str(threshold),
    )


def download(page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as event:
        page.click(button)
    return event.value.suggested_filename, Path(event.value.path()).read_bytes()


def test_the_table_follows_the_threshold_and_equals_the_api(page, client, model):
    assert not any(page.is_visible(one) for one in ("#key", "#classes", "#downloads", "#detections"))
    choose_file(page)
    counts = {}
    for threshold in (model.predictor.threshold, 0.05, 0.9):
        set_threshold(page, threshold)
        expected = api_detections(client, threshold)
        rows = page.locator("#detections tbody tr")
        assert rows.count() == len(expected)
        assert page.text_content("#status").startswith(f"{len(expected)} object")
        for i, one in enumerate(expected[:3]):
            cells = rows.nth(i).locator("td").all_text_contents()
            left, top, right, bottom = one["box_xyxy"]
            assert cells[0] == one["name"] and float(cells[1]) == pytest.approx(one["score"], abs=0.006)
            sides = [float(cell) for cell in cells[2:]]
            assert sides == pytest.approx([left, top, right - left, bottom - top], abs=0.6)
        counts[threshold] = len(expected)
    assert counts[0.05] > counts[model.predictor.threshold] >= counts[0.9]


def test_masks_are_painted_at_their_pixels(page, client, model):
    choose_file(page)
    page.uncheck("#show-boxes")
    with_masks = canvas_pixels(page)
    page.uncheck("#show-masks")
    without = canvas_pixels(page)
    image = read_image(IMAGE).astype(int)
    assert without.shape == image.shape and np.abs(without - image).mean() < 2  # the browser has another JPEG decoder
    covered = np.zeros(image.shape[:2], bool)
    (found,) = model.predictor.predict_batch([read_image(IMAGE)])
    for rle in found.masks:
        covered |= masks.to_bitmap(rle) > 0
    changed = (with_masks != without).any(axis=2)
    assert covered.any() and not changed[~covered].any() and changed[covered].mean() > 0.99


def test_image_masks_and_json_can_be_downloaded(page, client, model):
    choose_file(page)
    set_threshold(page, 0.3)
    expected = api_detections(client, 0.3)
    name, content = download(page, "#save-json")
    assert name == "balloons_1.json" and json.loads(content)["images"][0]["detections"] == expected
    name, content = download(page, "#save-masks")
    assert name == "balloons_1_masks.zip" and len(zipfile.ZipFile(BytesIO(content)).namelist()) == len(expected)
    name, content = download(page, "#save-image")
    assert name == "balloons_1_detections.png"
    assert np.asarray(Image.open(BytesIO(content)).convert("RGB")).shape == read_image(IMAGE).shape


def test_an_invalid_file_is_an_error_and_the_next_image_is_processed(page, tmp_path):
    text = tmp_path / "holiday.jpg"
    text.write_text("not an image")
    page.set_input_files("#file", text)
    page.wait_for_selector("#status.error")
    assert "holiday.jpg" in page.text_content("#status")
    choose_file(page)
    assert page.locator("#status.error").count() == 0


def test_an_image_can_be_dropped(page):
    content = base64.b64encode(IMAGE.read_bytes()).decode()
    page.evaluate(
        """content => {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "party.jpg", { type: "image/jpeg" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }""",
        content,
    )
    wait_for_detections(page)
    assert download(page, "#save-json")[0] == "party.json"


def test_an_image_that_the_browser_cannot_decode_is_decoded_by_the_server(page, tmp_path):
    tiff = tmp_path / "scan.tif"
    write_image(tiff, read_image(IMAGE))
    choose_file(page, tiff)
    hide_detections(page)
    np.testing.assert_array_equal(canvas_pixels(page), read_image(tiff))


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_exif_orientation_that_the_browser_ignores_is_applied(page, tmp_path, orientation):
    rotated, exif = tmp_path / "rotated.webp", Image.Exif()
    exif[0x0112] = orientation
    Image.open(IMAGE).save(rotated, exif=exif)
    choose_file(page, rotated)
    hide_detections(page)
    np.testing.assert_array_equal(canvas_pixels(page), read_image(rotated))


def test_classes_can_be_selected(tmp_path):
    small = tmp_path / "small.png"
    write_image(small, make_image((96, 128), 1))
    with serving(tiny_model()) as client, browsing(str(client.base_url)) as page:
        page.wait_for_selector("#model option", state="attached")
        choose_file(page, small)
        every, all_shown = page.locator("#detections tbody tr").count(), canvas_pixels(page)
        assert every == 100 and page.text_content("#status").endswith("; this is the maximum of the model")
        assert page.locator("#classes input").count() == len(CLASSES) == 3
        page.click("#select-none")
        assert page.locator("#detections tbody tr").count() == 0
        page.locator("#classes label", has_text="balloon").locator("input").check()
        names = [row.split()[0] for row in page.locator("#detections tbody tr").all_inner_texts()]
        assert 0 < len(names) < every and set(names) == {"balloon"}
        assert (canvas_pixels(page) != all_shown).any()
        (image,) = json.loads(download(page, "#save-json")[1])["images"]
        assert [one["name"] for one in image["detections"]] == names
        files = zipfile.ZipFile(BytesIO(download(page, "#save-masks")[1])).namelist()
        assert len(files) == len(names) and all("_balloon_" in name for name in files)
        page.click("#select-all")
        assert page.locator("#detections tbody tr").count() == every


def test_each_class_has_the_threshold_of_the_model_until_the_slider_is_moved(tmp_path):
    small = tmp_path / "small.png"
    write_image(small, make_image((96, 128), 1))
    thresholds = {"kite": 0.4123456, "balloon": 0.3, "bird": 0.5}
    served = tiny_model()
    served.predictor.class_thresholds = thresholds
    with serving(served) as client, browsing(str(client.base_url)) as page:

        def rows(**query: object) -> list[dict]:
            answer = client.post("/v1/detect", content=small.read_bytes(), params=query)
            return answer.json()["images"][0]["detections"]

        def shown() -> list[dict]:
            return json.loads(download(page, "#save-json")[1])["images"][0]["detections"]

        page.wait_for_selector("#model option", state="attached")
        assert page.text_content("#threshold-value") == "0.30 to 0.50"
        choose_file(page, small)
        assert shown() == rows() != rows(threshold=0.3) and page.is_checked("#own-thresholds")
        files = zipfile.ZipFile(BytesIO(download(page, "#save-masks")[1])).namelist()
        assert len(files) == len(rows())
        set_threshold(page, 0.4)
        assert shown() == rows(threshold=0.4) != rows() and not page.is_checked("#own-thresholds")
        assert page.text_content("#threshold-value") == "0.40"
        page.check("#own-thresholds")
        assert shown() == rows() and page.input_value("#threshold") == "0.3"


def test_the_page_asks_for_the_api_key_and_accepts_another_later(model):
    with serving(model, api_key="sesame") as client, browsing(str(client.base_url)) as page:
        page.wait_for_selector("#key")
        assert "API key" in page.text_content("#status")
        page.set_input_files("#file", IMAGE)
        assert "API key" in page.text_content("#status")
        page.fill("#key", "sesame")
        page.dispatch_event("#key", "change")
        page.wait_for_selector("#model option", state="attached")
        choose_file(page)
        with page.expect_response("**/v1/models"):
            page.dispatch_event("#key", "change")
        page.wait_for_timeout(500)
        set_threshold(page, 1.0)
        assert page.text_content("#status").startswith("0 objects")


def test_every_command_in_the_api_description_works(client, tmp_path):
    with browsing(f"{str(client.base_url).rstrip('/')}/docs") as page:
        page.wait_for_selector("section pre")
        titles = page.locator("section h2").all_text_contents()
        commands = [text for text in page.locator("section pre").all_text_contents() if text.startswith("curl")]
    routes = client.get("/openapi.json").json()["paths"]
    assert sorted(titles) == sorted(f"{method.upper()} {path}" for path, some in routes.items() for method in some)
    (tmp_path / "party.jpg").write_bytes(IMAGE.read_bytes())
    with VideoWriter(tmp_path / "party.mp4", 10, (64, 96)) as video:
        video.write(np.zeros((64, 96, 3), np.uint8))
    assert len(commands) == len(titles)
    for command in commands:
        words = [*shlex.split(command), "-s", "-o", "answer", "-w", "%{http_code}", "--noproxy", "*"]
        status = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        if "/jobs/ID" in command:
            assert status == "404", command
        else:
            assert status == ("202" if "video" in command else "200"), command
