"""The pages of serve.py in a real browser: what they show is what the API answers."""

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

from detect.inference.predictor import load_predictor
from detect.media.images import read_image, write_image
from detect.media.video_writer import VideoWriter
from detect.serving.model_registry import Served
from detect.structures import masks

pytestmark = needs_chromium
IMAGE = ROOT / "input" / "balloons_1.jpg"


@pytest.fixture(scope="module")
def model() -> Served:
    return Served("balloon", load_predictor("balloon", device="cpu", imgsz=256))


@pytest.fixture(scope="module")
def client(model):
    with serving(model) as client:
        yield client


@pytest.fixture
def page(client):
    with browsing(str(client.base_url)) as page:
        page.wait_for_selector("#model option", state="attached")
        yield page


def expect_objects(page) -> None:
    page.locator("#status", has_text=re.compile(r"^\d+ objects?, ")).wait_for()


def look(page) -> None:
    page.set_input_files("#file", IMAGE)
    expect_objects(page)


def answered(client, least: float) -> list[dict]:
    answer = client.post("/v1/detect", content=IMAGE.read_bytes(), params={"threshold": least})
    return answer.json()["images"][0]["detections"]


def pixels(page) -> np.ndarray:
    """What the canvas shows, RGB [H, W, 3]."""
    url = page.evaluate("document.getElementById('canvas').toDataURL('image/png')")
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def move(page, threshold: float) -> None:
    page.evaluate(
        "value => { const at = document.getElementById('threshold'); at.value = value;"
        " at.dispatchEvent(new Event('input')); }",
        str(threshold),
    )


def saved(page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_an_image_is_looked_at_and_the_threshold_moves_what_is_shown(page, client, model):
    assert not any(page.is_visible(one) for one in ("#key", "#classes", "#downloads", "#found"))
    look(page)
    counts = {}
    for least in (model.predictor.threshold, 0.05, 0.9):
        move(page, least)
        expected = answered(client, least)
        rows = page.locator("#found tbody tr")
        assert rows.count() == len(expected)
        assert page.text_content("#status").startswith(f"{len(expected)} object")
        for i, one in enumerate(expected[:3]):
            cells = rows.nth(i).locator("td").all_text_contents()
            left, top, right, bottom = one["box_xyxy"]
            assert cells[0] == one["name"] and float(cells[1]) == pytest.approx(one["score"], abs=0.006)
            sides = [float(cell) for cell in cells[2:]]
            assert sides == pytest.approx([left, top, right - left, bottom - top], abs=0.6)
        counts[least] = len(expected)
    assert counts[0.05] > counts[model.predictor.threshold] >= counts[0.9]


def test_masks_are_painted_where_they_are(page, client, model):
    look(page)
    page.uncheck("#show-boxes")
    with_masks = pixels(page)
    page.uncheck("#show-masks")
    without = pixels(page)
    image = read_image(IMAGE).astype(int)
    assert without.shape == image.shape and np.abs(without - image).mean() < 2  # another JPEG decoder
    covered = np.zeros(image.shape[:2], bool)
    (found,) = model.predictor([read_image(IMAGE)])
    for rle in found.masks:
        covered |= masks.to_bitmap(rle) > 0
    changed = (with_masks != without).any(axis=2)
    assert covered.any() and not changed[~covered].any() and changed[covered].mean() > 0.99


def test_image_masks_and_json_are_taken_away(page, client, model):
    look(page)
    move(page, 0.3)
    expected = answered(client, 0.3)
    name, content = saved(page, "#save-json")
    assert name == "balloons_1.json" and json.loads(content)["images"][0]["detections"] == expected
    name, content = saved(page, "#save-masks")
    assert name == "balloons_1_masks.zip" and len(zipfile.ZipFile(BytesIO(content)).namelist()) == len(expected)
    name, content = saved(page, "#save-image")
    assert name == "balloons_1_found.png"
    assert np.asarray(Image.open(BytesIO(content)).convert("RGB")).shape == read_image(IMAGE).shape


def test_what_is_no_image_is_told_and_the_next_one_is_looked_at(page, tmp_path):
    text = tmp_path / "holiday.jpg"
    text.write_text("not an image")
    page.set_input_files("#file", text)
    page.wait_for_selector("#status.wrong")
    assert "holiday.jpg" in page.text_content("#status") and "it is text" in page.text_content("#status")
    look(page)
    assert page.locator("#status.wrong").count() == 0


def test_an_image_is_dropped(page):
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
    expect_objects(page)
    assert saved(page, "#save-json")[0] == "party.json"


def test_an_image_that_the_browser_does_not_know_is_shown_by_the_server(page, tmp_path):
    tiff = tmp_path / "scan.tif"
    write_image(tiff, read_image(IMAGE))
    page.set_input_files("#file", tiff)
    expect_objects(page)
    page.uncheck("#show-boxes")
    page.uncheck("#show-masks")
    np.testing.assert_array_equal(pixels(page), read_image(tiff))


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_that_the_browser_does_not_turn_lies_as_the_server_sees_it(page, tmp_path, orientation):
    turned, exif = tmp_path / "turned.webp", Image.Exif()
    exif[0x0112] = orientation
    Image.open(IMAGE).save(turned, exif=exif)
    page.set_input_files("#file", turned)
    expect_objects(page)
    page.uncheck("#show-boxes")
    page.uncheck("#show-masks")
    np.testing.assert_array_equal(pixels(page), read_image(turned))


def test_classes_are_chosen(tmp_path):
    small = tmp_path / "small.png"
    write_image(small, make_image((96, 128), 1))
    with serving(tiny_model()) as client, browsing(str(client.base_url)) as page:
        page.wait_for_selector("#model option", state="attached")
        page.set_input_files("#file", small)
        expect_objects(page)
        every, all_shown = page.locator("#found tbody tr").count(), pixels(page)
        assert page.locator("#classes input").count() == len(CLASSES) == 3
        page.click("#none")
        assert page.locator("#found tbody tr").count() == 0
        page.locator("#classes label", has_text="balloon").locator("input").check()
        names = [row.split()[0] for row in page.locator("#found tbody tr").all_inner_texts()]
        assert 0 < len(names) < every and set(names) == {"balloon"}
        assert (pixels(page) != all_shown).any()
        (image,) = json.loads(saved(page, "#save-json")[1])["images"]
        assert [one["name"] for one in image["detections"]] == names
        files = zipfile.ZipFile(BytesIO(saved(page, "#save-masks")[1])).namelist()
        assert len(files) == len(names) and all("_balloon_" in name for name in files)


def test_a_key_is_asked_for_and_another_may_follow(model):
    with serving(model, api_key="sesame") as client, browsing(str(client.base_url)) as page:
        page.wait_for_selector("#key")
        assert "type the key" in page.text_content("#status")
        page.set_input_files("#file", IMAGE)
        assert "type the key" in page.text_content("#status")
        page.fill("#key", "sesame")
        page.dispatch_event("#key", "change")
        page.wait_for_selector("#model option", state="attached")
        look(page)
        with page.expect_response("**/v1/models"):
            page.dispatch_event("#key", "change")
        page.wait_for_timeout(500)
        move(page, 1.0)
        assert page.text_content("#status").startswith("0 objects")


def test_every_line_of_the_description_works_as_it_stands(client, tmp_path):
    with browsing(f"{str(client.base_url).rstrip('/')}/docs") as page:
        page.wait_for_selector("section pre")
        titles = page.locator("section h2").all_text_contents()
        lines = [text for text in page.locator("section pre").all_text_contents() if text.startswith("curl")]
    routes = client.get("/openapi.json").json()["paths"]
    assert sorted(titles) == sorted(f"{method.upper()} {path}" for path, some in routes.items() for method in some)
    (tmp_path / "party.jpg").write_bytes(IMAGE.read_bytes())
    with VideoWriter(tmp_path / "party.mp4", 10, (64, 96)) as video:
        video.write(np.zeros((64, 96, 3), np.uint8))
    assert len(lines) == len(titles)
    for line in lines:
        words = [*shlex.split(line), "-s", "-o", "answer", "-w", "%{http_code}", "--noproxy", "*"]
        status = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        if "/jobs/ID" in line:
            assert status == "404", line
        else:
            assert status == ("202" if "video" in line else "200"), line
