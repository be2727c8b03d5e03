"""The web page of serve.py is pleasant to use: several images, videos, camera, keyboard, small screens, errors."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from helpers.api_server import serving, tiny_model
from helpers.browser import launched, needs_chromium, opened
from helpers.detection_page import (
    canvas_pixels,
    choose_files,
    download,
    hide_detections,
    num_rows,
    pixels,
    wait_for_detections,
    wait_for_error,
    wait_for_models,
)
from helpers.folders import ROOT
from helpers.tiny_models import make_image, random_model
from helpers.video_uploads import video_of

from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.media import palette
from detect.media.images import read_image, write_image
from detect.serving.model_registry import ServedModel
from detect.structures.class_names import ClassNames

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def client():
    with serving(tiny_model()) as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    with launched("--use-fake-device-for-media-stream") as browser:
        yield browser


@pytest.fixture
def page(client, browser):
    with opened(browser, str(client.base_url)) as page:
        wait_for_models(page)
        yield page


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three PNG files of different sizes."""
    folder = tmp_path_factory.mktemp("images")
    for number, hw in enumerate([(96, 128), (128, 96), (96, 96)], 1):
        write_image(folder / f"{number}.png", make_image(hw, number))
    return sorted(folder.iterdir())


def states(page) -> list[str]:
    return page.locator("#strip button").evaluate_all("entries => entries.map((one) => one.dataset.state)")


def wait_for_all(page) -> None:
    page.locator('#strip [data-state="waiting"], #strip [data-state="working"]').first.wait_for(state="detached")


def boxes_of(page) -> list[list[float]]:
    """Return left, top, width and height of the detection in each row of the table."""
    rows = page.locator("#detections tbody tr").all_inner_texts()
    return [[float(cell) for cell in row.split("\t")[2:]] for row in rows]


def marked_row(page) -> int | None:
    rows = page.locator("#detections tbody tr").evaluate_all("rows => rows.map((one) => one.className)")
    return rows.index("marked") if "marked" in rows else None


def test_several_images_are_processed_and_one_that_is_damaged_fails_alone(page, images, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_text("not an image")
    choose_files(page, images[0], damaged, images[1])
    wait_for_all(page)
    assert states(page) == ["done", "failed", "done"] and not page.is_visible("#working")
    page.locator("#strip button").nth(1).click()
    assert "damaged.png" in wait_for_error(page)
    page.locator("#strip button").nth(2).click()
    wait_for_detections(page)
    hide_detections(page)
    np.testing.assert_array_equal(canvas_pixels(page), read_image(images[1]))
    name, content = download(page, "#save-json")
    document = json.loads(content)
    assert name == "detections.json" and [one["source"] for one in document["images"]] == ["1.png", "2.png"]
    page.click("#clear")
    assert states(page) == [] and not page.is_visible("#stage") and not page.is_visible("#several")


def test_examples_are_of_classes_that_the_model_knows(page):
    names = page.locator("#example-list img").evaluate_all("images => images.map((one) => one.alt)")
    assert names and all("balloon" in name for name in names)  # the model knows kite, balloon and bird
    page.locator("#example-list button").first.click()
    wait_for_detections(page)


def test_the_examples_are_small_files_of_the_package():
    files = list((ROOT / "detect" / "serving" / "page").glob("example_*"))
    assert files and sum(file.stat().st_size for file in files) <= 200_000


def test_a_row_and_its_box_stand_out_together(page, images):
    choose_files(page, images[0])
    boxes = boxes_of(page)
    largest = max(range(len(boxes)), key=lambda row: boxes[row][2] * boxes[row][3])
    left, top, width, height = boxes[largest]
    x, y = left + width / 2, top + height / 2
    page.locator("#detections tbody tr").nth(largest).hover()
    is_dark = pixels(page, "highlight")[..., 3] > 0
    inside = np.zeros_like(is_dark)
    inside[round(top) : round(top + height), round(left) : round(left + width)] = True
    assert marked_row(page) == largest and is_dark[~inside].all() and not is_dark[inside].all()
    image = page.locator("#canvas").bounding_box()
    page.mouse.move(image["x"] + x, image["y"] + y)
    left, top, width, height = boxes[marked_row(page)]
    assert abs(left + width / 2 - x) <= width / 2 + 1 and abs(top + height / 2 - y) <= height / 2 + 1
    page.mouse.move(2, 2)
    assert marked_row(page) is None and not pixels(page, "highlight")[..., 3].any()


def test_arrow_keys_move_through_the_rows(page, images):
    choose_files(page, images[0])
    page.locator("#detections tbody tr").first.focus()
    for key, expected in (
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("ArrowUp", 1),
        ("End", num_rows(page) - 1),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert marked_row(page) == expected
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('table')") is None and marked_row(page) is None


def test_classes_have_the_colors_of_drawn_images(page):
    colors = page.evaluate(
        "async () => { const { rgbOf } = await import('/page/palette.js'); return [...Array(200).keys()].map(rgbOf); }"
    )
    expected = np.array([palette.color(index) for index in range(len(colors))])
    assert np.abs(np.array(colors) - expected).max() <= 1  # JavaScript rounds halves up


def test_a_class_can_be_searched_for(browser, images):
    with serving(many_classes()) as client, opened(browser, str(client.base_url)) as page:
        wait_for_models(page)
        choose_files(page, images[0])
        counts = page.locator("#class-list .count").all_inner_texts()
        assert counts[0] and sum(int(count or 0) for count in counts) == num_rows(page)
        name = page.locator("#class-list input").first.input_value()  # a class of which there are objects
        page.fill("#find-class", name.upper())
        assert name in page.locator("#class-list label:visible").first.inner_text()
        found = page.locator("#class-list label:visible input").evaluate_all("all => all.map((one) => one.value)")
        before = class_names(page)
        page.click("#select-none")  # of those that were found
        assert class_names(page) == before - set(found) != before


def many_classes() -> ServedModel:
    classes = ClassNames(tuple(f"class{i}" for i in range(20)), tuple(range(20)))
    return ServedModel("many", Predictor(TorchRuntime(random_model(num_rows=21)), classes, threshold=0.0))


def class_names(page) -> set[str]:
    return set(page.locator("#detections tbody td:first-child").all_inner_texts())


def test_tiles_are_requested(page, images):
    choose_files(page, images[0])
    with page.expect_request(lambda request: "tile=1024" in request.url):
        page.select_option("#tile", "1024")
    wait_for_detections(page)


def test_a_photo_of_the_camera_is_processed(client, browser):
    with opened(browser, str(client.base_url), permissions=["camera"]) as page:
        wait_for_models(page)
        page.click("#open-camera")
        page.wait_for_selector("#camera[open]")
        page.locator("#camera-video").evaluate(
            "video => video.readyState > 1 || new Promise((r) => (video.onplaying = r))"
        )
        page.click("#take-photo")
        wait_for_detections(page)
        assert download(page, "#save-image")[1][:2] == b"\xff\xd8"
        assert not page.is_visible("#camera")
        assert page.locator("#camera-video").evaluate("video => video.srcObject") is None  # the camera is off


def test_a_camera_that_is_not_allowed_is_reported(client, browser, page):
    page.click("#open-camera")
    assert "does not allow" in wait_for_error(page)
    with browser.new_context() as context:
        context.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined });")
        insecure = context.new_page()
        insecure.goto(str(client.base_url))
        insecure.click("#open-camera")
        assert "https" in wait_for_error(insecure)


def test_a_video_is_uploaded_processed_and_deleted_on_the_server(page, client, tmp_path):
    video_of(tmp_path / "party.mp4", 5)
    with page.expect_response("**/v1/detect/video?*") as event:
        page.set_input_files("#file", tmp_path / "party.mp4")
    page.locator("#status", has_text=re.compile("^5 frames")).wait_for()
    name, content = download(page, "#save-video")
    assert name == "party_detections.mp4" and content[4:8] == b"ftyp"
    name, content = download(page, "#save-frames")
    assert name == "party.jsonl" and len([json.loads(line) for line in content.splitlines()]) >= 5
    assert page.is_visible("#video")
    job = f"/v1/jobs/{event.value.json()['id']}"
    for _ in range(100):
        if client.get(job).status_code == 404:
            return
        page.wait_for_timeout(50)
    pytest.fail("the server still has the video")


def test_a_video_can_be_cancelled_and_an_invalid_one_is_reported(page, tmp_path):
    video_of(tmp_path / "long.mp4", 300)
    page.set_input_files("#file", tmp_path / "long.mp4")
    page.click("#cancel")
    assert "cancelled" in wait_for_error(page)
    (tmp_path / "text.mp4").write_text("not a video")
    page.set_input_files("#file", tmp_path / "text.mp4")
    page.locator("#status.error", has_text="text.mp4").wait_for()


def test_a_missing_and_a_wrong_api_key_are_reported_and_the_image_waits_for_the_right_one(browser, images):
    with serving(tiny_model(), api_key="sesame") as client, opened(browser, str(client.base_url)) as page:
        page.wait_for_selector("#key:focus")
        assert not page.is_visible("#key-message")
        page.set_input_files("#file", images[0])
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-message:visible")
        assert "not accept" in page.text_content("#key-message") and page.text_content("#status") == ""
        page.fill("#key", "sesame")
        page.keyboard.press("Enter")
        wait_for_detections(page)
        assert not page.is_visible("#key-form") and page.evaluate("document.activeElement.id") == "file"


def test_the_late_answer_to_a_wrong_api_key_does_not_ask_again_after_the_right_one(browser, images):
    with serving(tiny_model(), api_key="sesame") as client, opened(browser, str(client.base_url)) as page:
        page.wait_for_selector("#key:focus")
        held = []

        def hold(route) -> None:
            if "wrong" in " ".join(route.request.headers.values()):
                held.append(route)
            else:
                route.continue_()

        page.route("**/v1/models", hold)
        for key in ("wrong", "sesame"):
            page.fill("#key", key)
            page.keyboard.press("Enter")
        page.wait_for_selector("#key-form", state="hidden")
        with page.expect_response("**/v1/models"):
            held[0].continue_()
        choose_files(page, images[0])
        assert not page.is_visible("#key-form")


def test_the_settings_are_below_the_image_on_a_phone_and_beside_it_on_a_desktop(page, images):
    choose_files(page, *images[:2])
    wait_for_all(page)
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        image, settings = (page.locator(one).bounding_box() for one in ("#stage", "#controls"))
        is_below = settings["y"] >= image["y"] + image["height"]
        is_beside = settings["x"] >= image["x"] + image["width"] and settings["y"] < image["y"] + image["height"]
        assert (is_below, is_beside) == (width < 700, width > 700)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_each_stop_of_the_tab_key_is_visible_and_they_are_in_the_order_of_the_page(page, images):
    choose_files(page, images[0])
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const one = document.activeElement;
                const shown = one.type === "file" ? one.closest("label") : one;
                const [box, style] = [shown.getBoundingClientRect(), getComputedStyle(shown)];
                const isVisible = box.width > 0 && box.right > 0 && style.outlineStyle !== "none";
                const position = [...document.querySelectorAll("*")].indexOf(one);
                return [one.tagName, one.id || one.className, isVisible, position];
            }"""
        )
        if stop[0] == "BODY":
            break
        stops.append(stop)
    assert stops[0][1] == "skip"
    assert all(is_visible for *_, is_visible, _ in stops), stops
    positions = [position for *_, position in stops]
    assert positions == sorted(positions)
    assert {"file", "open-camera", "save-image", "model", "threshold", "show-boxes", "tile"} <= {
        one[1] for one in stops
    }


def test_text_is_legible_in_light_and_dark_mode(page):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colors = page.evaluate(
            """() => ["body", "#controls", "header p", ".primary"].map((one) => {
                const styles = [];
                for (let e = document.querySelector(one); e; e = e.parentElement) styles.push(getComputedStyle(e));
                const backgrounds = styles.map((style) => style.backgroundColor);
                return [styles[0].color, backgrounds.find((color) => color !== "rgba(0, 0, 0, 0)")];
            })"""
        )
        for pair in colors:
            text, background = (luminance([int(value) for value in re.findall(r"\d+", color)[:3]]) for color in pair)
            bright, dark = max(text, background), min(text, background)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, pair  # as WCAG 2 demands
            assert (background < 0.2) == (scheme == "dark") or pair == colors[-1]


def luminance(rgb: list[int]) -> float:
    """Return the relative luminance of a color (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    red, green, blue = (c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
