"""The web page of serve.py in a real browser shows what the API returns."""

from __future__ import annotations

import base64
import json
import zipfile
from io import BytesIO

import numpy as np
import pytest
from helpers.api_server import serving, tiny_model
from helpers.browser import launched, needs_chromium, opened
from helpers.detection_page import (
    IMAGE,
    canvas_pixels,
    choose_files,
    download,
    hide_detections,
    num_rows,
    set_threshold,
    wait_for_detections,
    wait_for_error,
    wait_for_models,
)
from helpers.folders import ROOT
from helpers.tiny_models import CLASSES, make_image
from PIL import Image

from detect.inference.load import load_model
from detect.media.images import read_image, write_image
from detect.serving.model_registry import ServedModel
from detect.structures import masks

pytestmark = needs_chromium
EXAMPLES = ROOT / "detect" / "serving" / "page"


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return ServedModel("balloon", load_model("balloon", device="cpu", imgsz=256))


@pytest.fixture(scope="module")
def client(model):
    with serving(model) as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def page(client, browser):
    with opened(browser, str(client.base_url)) as page:
        wait_for_models(page)
        yield page


def api_detections(client, threshold: float) -> list[dict]:
    answer = client.post("/v1/detect", content=IMAGE.read_bytes(), params={"threshold": threshold})
    return answer.json()["images"][0]["detections"]


def test_the_table_follows_the_threshold_and_equals_the_api(page, client, model):
    assert not any(page.is_visible(one) for one in ("#key", "#classes", "#downloads", "#detections"))
    choose_files(page, IMAGE)
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


def test_a_model_that_knows_nothing_in_the_image_says_what_it_finds(page):
    choose_files(page, EXAMPLES / "example_cat.jpg")
    status = page.text_content("#status")
    assert status.startswith("0 objects") and "this model finds: balloon" in status
    assert page.text_content("#finds") == "this model finds: balloon"


def test_a_small_image_fills_its_place_and_keeps_its_size_in_the_download(page):
    choose_files(page, EXAMPLES / "example_cat.jpg")
    shown, place = (page.locator(one).bounding_box()["width"] for one in ("#canvas", "#view"))
    assert shown > 0.8 * place
    assert Image.open(BytesIO(download(page, "#save-image")[1])).size == (451, 300)


def test_masks_are_painted_at_their_pixels(page, client, model):
    choose_files(page, IMAGE)
    page.uncheck("#show-boxes")
    page.uncheck("#show-labels")
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


def test_masks_and_json_can_be_downloaded(page, client, model):
    choose_files(page, IMAGE)
    set_threshold(page, 0.3)
    expected = api_detections(client, 0.3)
    name, content = download(page, "#save-json")
    assert name == "balloons_1.json" and json.loads(content)["images"][0]["detections"] == expected
    name, content = download(page, "#save-masks")
    assert name == "balloons_1_masks.zip" and len(zipfile.ZipFile(BytesIO(content)).namelist()) == len(expected)


@pytest.mark.parametrize(
    ("suffix", "kind", "expected_suffix"), [("jpg", "JPEG", "jpg"), ("webp", "WEBP", "webp"), ("bmp", "PNG", "png")]
)
def test_the_image_is_downloaded_in_its_format_or_as_png(page, tmp_path, suffix, kind, expected_suffix):
    path = tmp_path / f"party.{suffix}"
    Image.open(IMAGE).save(path)
    choose_files(page, path)
    name, content = download(page, "#save-image")
    image = Image.open(BytesIO(content))
    assert name == f"party_detections.{expected_suffix}" and image.format == kind
    difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - canvas_pixels(page))
    assert difference.mean() < 3  # lossy formats


def test_a_large_image_is_reduced_on_the_page_but_not_in_the_download(page, tmp_path):
    path = tmp_path / "large.png"
    Image.open(IMAGE).resize((3000, 2000)).save(path)
    choose_files(page, path)
    height, width, _ = canvas_pixels(page).shape
    assert height * width <= 4_000_000 and width / height == pytest.approx(1.5, rel=1e-3)
    name, content = download(page, "#save-image")
    image = Image.open(BytesIO(content))
    assert name == "large_detections.png" and image.format == "PNG" and image.size == (3000, 2000)


def test_an_invalid_file_is_an_error_and_the_next_image_is_processed(page, tmp_path):
    text = tmp_path / "holiday.jpg"
    text.write_text("not an image")
    page.set_input_files("#file", text)
    assert "holiday.jpg" in wait_for_error(page)
    choose_files(page, IMAGE)
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
    choose_files(page, tiff)
    hide_detections(page)
    np.testing.assert_array_equal(canvas_pixels(page), read_image(tiff))


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_exif_orientation_that_the_browser_ignores_is_applied(page, tmp_path, orientation):
    rotated, exif = tmp_path / "rotated.webp", Image.Exif()
    exif[0x0112] = orientation
    Image.open(IMAGE).save(rotated, exif=exif)
    choose_files(page, rotated)
    hide_detections(page)
    np.testing.assert_array_equal(canvas_pixels(page), read_image(rotated))


def test_classes_can_be_selected(browser, tmp_path):
    small = tmp_path / "small.png"
    write_image(small, make_image((96, 128), 1))
    with serving(tiny_model()) as client, opened(browser, str(client.base_url)) as page:
        wait_for_models(page)
        choose_files(page, small)
        every, all_shown = num_rows(page), canvas_pixels(page)
        assert every == 100 and page.text_content("#status").endswith("; this is the maximum of the model")
        assert page.locator("#class-list input").count() == len(CLASSES) == 3
        page.click("#select-none")
        assert num_rows(page) == 0
        page.locator("#classes label", has_text="balloon").locator("input").check()
        names = [row.split()[0] for row in page.locator("#detections tbody tr").all_inner_texts()]
        assert 0 < len(names) < every and set(names) == {"balloon"}
        assert (canvas_pixels(page) != all_shown).any()
        (image,) = json.loads(download(page, "#save-json")[1])["images"]
        assert [one["name"] for one in image["detections"]] == names
        files = zipfile.ZipFile(BytesIO(download(page, "#save-masks")[1])).namelist()
        assert len(files) == len(names) and all("_balloon_" in name for name in files)
        page.click("#select-all")
        assert num_rows(page) == every


def test_each_class_has_the_threshold_of_the_model_until_the_slider_is_moved(browser, tmp_path):
    small = tmp_path / "small.png"
    write_image(small, make_image((96, 128), 1))
    thresholds = {"kite": 0.4123456, "balloon": 0.3, "bird": 0.5}
    served = tiny_model()
    served.predictor.class_thresholds = thresholds
    with serving(served) as client, opened(browser, str(client.base_url)) as page:

        def rows(**query: object) -> list[dict]:
            answer = client.post("/v1/detect", content=small.read_bytes(), params=query)
            return answer.json()["images"][0]["detections"]

        def shown() -> list[dict]:
            return json.loads(download(page, "#save-json")[1])["images"][0]["detections"]

        wait_for_models(page)
        assert page.text_content("#threshold-value") == "0.30 to 0.50"
        choose_files(page, small)
        assert shown() == rows() != rows(threshold=0.3) and page.is_checked("#own-thresholds")
        files = zipfile.ZipFile(BytesIO(download(page, "#save-masks")[1])).namelist()
        assert len(files) == len(rows())
        set_threshold(page, 0.4)
        assert shown() == rows(threshold=0.4) != rows() and not page.is_checked("#own-thresholds")
        assert page.text_content("#threshold-value") == "0.40"
        page.check("#own-thresholds")
        assert shown() == rows() and page.input_value("#threshold") == "0.3"


def test_the_image_is_shown_while_the_server_processes_it(page):
    page.route("**/v1/detect?*", lambda route: None)  # never answered
    page.set_input_files("#file", IMAGE)
    page.wait_for_selector("#stage")
    assert np.abs(canvas_pixels(page) - read_image(IMAGE)).mean() < 2
    assert page.is_visible("#progress") and IMAGE.name in page.text_content("#status")


def test_a_busy_server_is_asked_again(page):
    answers = iter([503])

    def handle(route):
        if next(answers, None):
            route.fulfill(status=503, headers={"Retry-After": "0.1"}, json={"detail": "busy"})
        else:
            route.continue_()

    page.route("**/v1/detect?*", handle)
    choose_files(page, IMAGE)


def test_a_stopped_server_is_reported(page):
    page.route("**/v1/detect?*", lambda route: route.abort())
    page.set_input_files("#file", IMAGE)
    message = wait_for_error(page)
    assert IMAGE.name in message and "no answer" in message
    page.unroute("**/v1/detect?*")
    page.click("#again")
    wait_for_detections(page)


def test_an_image_of_200_megapixels_has_one_clear_message(page, tmp_path):
    huge = tmp_path / "huge.png"
    Image.new("1", (20_000, 10_000)).save(huge)
    page.set_input_files("#file", [huge])
    message = wait_for_error(page)
    assert "huge.png" in message and "pixels" in message
    assert not page.is_visible("#stage") and not page.is_visible("#results")
    choose_files(page, IMAGE)


def test_boxes_masks_labels_and_scores_can_be_hidden(page):
    choose_files(page, IMAGE)
    seen = [canvas_pixels(page)]
    for name in ("scores", "labels", "masks", "boxes"):
        page.uncheck(f"#show-{name}")
        seen.append(canvas_pixels(page))
        assert (seen[-1] != seen[-2]).any()
    assert np.abs(seen[-1] - read_image(IMAGE)).mean() < 2
