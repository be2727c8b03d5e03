"""The web page of serve.py goes on after failures of the server and the connection, and reports what does not work."""

from __future__ import annotations

import json
import time

import pytest
from helpers.api_server import serving, tiny_model
from helpers.browser import launched, needs_chromium, opened
from helpers.detection_page import (
    choose_files,
    download,
    set_threshold,
    wait_for_detections,
    wait_for_error,
    wait_for_models,
)
from helpers.tiny_models import make_image
from helpers.video_uploads import video_of

from detect.media.images import write_image

pytestmark = needs_chromium
HTML = {"body": "<html>Log in</html>", "content_type": "text/html"}


@pytest.fixture(scope="module")
def client():
    with serving(tiny_model(), max_jobs=1) as client:
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


@pytest.fixture
def hasty_page(page):
    """The page, for which waiting takes a fiftieth of the time."""
    page.evaluate("() => { const wait = setTimeout; window.setTimeout = (call, ms) => wait(call, ms / 50); }")
    return page


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "small.png"
    write_image(path, make_image((96, 128), 1))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two short videos."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(2):
        video_of(folder / f"{number}.mp4", 3)
    return sorted(folder.iterdir())


def wait_for_video(page) -> None:
    page.locator("#status", has_text="frames processed").wait_for()


def requests_of(page, text: str) -> list[str]:
    """Return a list to which the page's requests with ``text`` in their method and URL are appended."""
    seen: list[str] = []
    page.on("request", lambda one: seen.append(one.url) if text in f"{one.method} {one.url}" else None)
    return seen


def failing(page, url: str, *answers: dict | None) -> None:
    """Answer the first requests of scripts to ``url`` with ``answers``, None to abort them, and let others pass."""
    remaining = iter(answers)

    def handle(route):
        is_counted = route.request.resource_type in ("fetch", "xhr") and route.request.method != "DELETE"
        answer = next(remaining, "pass") if is_counted else "pass"
        if answer is None:
            route.abort()
        elif answer == "pass":
            route.continue_()
        else:
            route.fulfill(**answer)

    page.route(url, handle)


def test_an_image_without_shown_detections_says_why(page, image):
    choose_files(page, image)
    low, unselected = "uncertain detections below the minimum score", "detections of classes that are not selected"
    page.click("#select-none")
    status = page.text_content("#status")
    assert status.startswith("0 objects") and f"100 {unselected}" in status and low not in status
    page.click("#select-all")
    scores = [one["score"] for one in json.loads(download(page, "#save-json")[1])["images"][0]["detections"]]
    set_threshold(page, sorted(scores)[50])
    above = page.locator("#detections tbody tr").count()
    assert 0 < above < 100 and low not in page.text_content("#status")
    page.click("#select-none")
    assert f"; {100 - above} {low}; {above} {unselected}" in page.text_content("#status")
    page.click("#select-all")
    set_threshold(page, 1)
    status = page.text_content("#status")
    assert status.endswith(f"; 100 {low}") and unselected not in status


def test_a_video_needs_a_class(page, videos):
    uploads = requests_of(page, "/v1/detect/video")
    page.click("#select-none")
    page.set_input_files("#file", videos[0])
    assert "0.mp4: select a class" in wait_for_error(page) and not uploads
    page.click("#select-all")
    page.click("#again")
    wait_for_video(page)


@pytest.mark.slow
def test_several_videos_are_sent_one_after_the_other(hasty_page, videos):
    failing(hasty_page, "**/v1/detect/video?*", {"status": 503, "headers": {"Retry-After": "1"}, "body": ""})
    hasty_page.set_input_files("#file", videos)  # the server takes one at a time
    done = hasty_page.locator('#strip [data-state="done"]')
    done.nth(1).wait_for()
    assert done.count() == 2


def test_failed_requests_for_a_job_are_sent_again(hasty_page, videos):
    failing(hasty_page, "**/v1/jobs/*", None, {"status": 502, **HTML}, {"status": 200, **HTML})
    failing(hasty_page, "**/v1/jobs/*/result", None, {"status": 502, **HTML})
    failing(hasty_page, "**/v1/jobs/*/detections", {"status": 503, "headers": {"Retry-After": "9"}, "body": ""})
    hasty_page.set_input_files("#file", videos[0])
    wait_for_video(hasty_page)
    assert len(download(hasty_page, "#save-frames")[1].splitlines()) >= 3


@pytest.mark.parametrize(("answer", "num_requests"), [(None, 10), ({"status": 404, "json": {"detail": "gone"}}, 1)])
def test_a_job_is_given_up_after_ten_failures_or_when_the_server_has_lost_it(hasty_page, videos, answer, num_requests):
    requests = requests_of(hasty_page, "GET http")
    failing(hasty_page, "**/v1/jobs/*", *[answer] * 20)
    hasty_page.set_input_files("#file", videos[0])
    assert ("gone" if answer else "no answer") in wait_for_error(hasty_page)
    assert len([one for one in requests if "/v1/jobs/" in one]) == num_requests


def test_an_upload_that_another_page_answers_is_an_error(page, videos):
    failing(page, "**/v1/detect/video?*", {"status": 200, **HTML})
    page.set_input_files("#file", videos[0])
    assert "not from this server" in wait_for_error(page)


def test_the_wait_for_a_busy_server_ends_when_all_images_are_removed(page, image):
    failing(page, "**/v1/detect?*", {"status": 503, "headers": {"Retry-After": "20"}, "body": ""})
    with page.expect_response("**/v1/detect?*"):
        page.set_input_files("#file", [image, image])
    start = time.monotonic()
    page.click("#clear")
    choose_files(page, image)
    assert time.monotonic() - start < 15


def test_the_saved_json_equals_the_api_at_the_minimum_score_that_is_shown(page, client, image):
    choose_files(page, image)
    limited = []
    for threshold in (0.05, 0.4, 0.95):
        set_threshold(page, threshold)
        answer = client.post("/v1/detect", content=image.read_bytes(), params={"threshold": threshold})
        (expected,), (saved,) = (
            json.loads(text)["images"] for text in (answer.content, download(page, "#save-json")[1])
        )
        assert saved == expected | {"source": image.name}
        limited.append(saved["limit_reached"])
    assert limited[0] and not limited[-1]


def test_a_key_may_have_any_letters(browser, image):
    with serving(tiny_model(), api_key="schlüssel ключ") as client, opened(browser, str(client.base_url)) as page:
        page.set_input_files("#file", image)
        page.fill("#key", "schlüssel 🔑")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-message:visible")
        assert "not accept" in page.text_content("#key-message") and page.text_content("#status") == ""
        page.fill("#key", "schlüssel ключ")
        page.keyboard.press("Enter")
        wait_for_detections(page)


@pytest.mark.parametrize("suffix", ["tif", "webp"])
def test_an_image_that_the_server_decodes_is_requested_once(page, image, tmp_path, suffix):
    requests = requests_of(page, "format=image")
    write_image(tmp_path / f"scan.{suffix}", make_image((96, 128), 1))
    choose_files(page, tmp_path / f"scan.{suffix}")
    assert len(requests) == 1 and "draw=false" in requests[0]


def test_an_example_that_cannot_be_loaded_is_reported(page):
    failing(page, "**/page/example_*", None, {"status": 404, **HTML})
    for message in ("no answer", "Not Found"):
        page.locator("#example-list button").first.click()
        page.locator("#status.error", has_text=message).wait_for()


def test_no_photo_is_taken_before_the_camera_has_an_image(page):
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = async () => new MediaStream(); }")
    page.click("#open-camera")
    page.wait_for_selector("#camera[open]")
    assert page.is_disabled("#take-photo")
    page.click("#close-camera")


PAINT = """async boxes => {
    const { paint } = await import("/page/paint.js");
    const create = () => Object.assign(document.createElement("canvas"), { width: 200, height: 200 });
    const [image, canvas] = [create(), create()];
    const names = ["a long name", "another name"];
    const detections = boxes.map((box, i) => ({ name: names[i % 2], score: 0.9 - i / 100, box_xyxy: box }));
    const shown = { masks: true, boxes: true, labels: LABELS, scores: true };
    paint(canvas, { canvas: image, scale: 1 }, 1, detections, shown, names.map((name) => ({ name })));
    const context = canvas.getContext("2d");
    const { rgbOf } = await import("/page/palette.js");
    return boxes.map(([x, y], i) => [[...context.getImageData(x + DX, y + DY, 1, 1).data.slice(0, 3)], rgbOf(i % 2)]);
}"""


def painted(page, boxes: list[list[int]], labels: bool, offset: tuple[int, int]) -> list[list[list[int]]]:
    """Return for each of ``boxes`` the color at an offset from its corner, and the color of its class."""
    script = PAINT.replace("LABELS", str(labels).lower())
    return page.evaluate(script.replace("DX", str(offset[0])).replace("DY", str(offset[1])), boxes)


def test_small_objects_are_painted_on_large_ones(page):
    boxes = [[50, 20, 180, 180], [50, 80, 90, 120]]  # the large one has the higher score, and both the same left side
    _, (seen, color) = painted(page, boxes, labels=False, offset=(0, 10))
    assert seen == color


def test_objects_without_a_position_for_a_label_have_a_chip_of_their_color(page):
    boxes = [[x, y, x + 16, y + 16] for y in range(0, 200, 20) for x in range(0, 200, 20)]
    crowd = painted(page, boxes, labels=True, offset=(3, 3))
    assert sum(seen == color for seen, color in crowd) > 50
    assert not any(seen == color for seen, color in painted(page, boxes, labels=False, offset=(3, 3)))
