"""Images of a request in every format of JSON, as files, as base64 and with a damaged one among them."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest
from helpers.api_server import problem_of, serving, tiny_model
from helpers.tiny_models import make_image

from detect.media.encoding import encode
from detect.serving.responses import ERRORS, FILE_FORMATS
from detect.structures.detections_json import SCHEMA

PIXELS = [make_image((64, 96), number) for number in (1, 2)]
PNG, OTHER = (encode(pixels, "PNG") for pixels in PIXELS)
DAMAGED = PNG[:300]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def model():
    return tiny_model(threshold=0.35)


@pytest.fixture(scope="module")
def client(model):
    with serving(model, max_request_bytes=300_000, max_pixels=20_000, max_images=3) as client:
        yield client


@pytest.fixture(scope="module")
def found(model):
    return model.predictor.predict_batch(PIXELS)


def form(*contents: bytes):
    return [("image", (f"{n}.png", content)) for n, content in enumerate(contents)]


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def as_json(value) -> object:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("mask_format", [None, "rle", "polygons"])
@pytest.mark.parametrize("convention", ["huggingface", "roboflow"])
def test_one_image_is_what_python_returns_and_several_are_a_list(client, found, convention, mask_format):
    params = {"format": convention} | ({"mask_format": mask_format} if mask_format else {})
    expected = [as_json(one.to_json(convention, mask_format=mask_format)) for one in found]
    assert client.post("/v1/detect", params=params, content=PNG).json() == expected[0]
    assert client.post("/v1/detect", params=params, files=form(PNG, OTHER)).json() == expected


def test_coco_results_number_the_images_of_the_request(client, found):
    answer = client.post("/v1/detect", params={"format": "coco"}, files=form(PNG, DAMAGED, OTHER))
    rows = answer.json()
    assert [row["image_id"] for row in rows] == [0] * len(found[0]) + [2] * len(found[1])  # by their file names
    assert {row["file_name"] for row in rows} == {"0.png", "2.png"}
    expected = as_json(found[0].to_coco(0))
    assert [{key: row[key] for key in expected[0]} for row in rows[: len(expected)]] == expected
    assert answer.headers["failed-images"] == "2"


def test_json_has_the_schema_and_masks_in_the_format_asked_for(client, found):
    document = client.post("/v1/detect", params={"mask_format": "polygons"}, content=PNG).json()
    (image,) = as_json(found[0].to_json(source="the image", mask_format="polygons"))["images"]
    assert document["schema"] == SCHEMA and document["images"] == [image]


def test_a_damaged_image_fails_alone(client, found):
    answer = client.post("/v1/detect", files=form(PNG, DAMAGED, OTHER))
    first, failed, last = answer.json()["images"]
    assert answer.status_code == 200 and answer.headers["failed-images"] == "2"
    assert [len(first["detections"]), len(last["detections"])] == list(map(len, found))
    assert set(failed) == {"source", "error"} and failed["source"] == "1.png"
    assert failed["error"]["status"] == 422 and "1.png" in failed["error"]["detail"]
    answer = client.post("/v1/detect", files=form(PNG))
    assert "failed-images" not in answer.headers


@pytest.mark.parametrize("convention", ["huggingface", "roboflow"])
def test_a_damaged_image_is_an_error_at_its_position(client, found, convention):
    answer = client.post("/v1/detect", params={"format": convention}, files=form(DAMAGED, PNG))
    failed, last = answer.json()
    assert "0.png" in failed["error"] and last == as_json(found[0].to_json(convention))


@pytest.mark.parametrize("name", ["image", "masks", *FILE_FORMATS])
def test_an_archive_names_the_images_that_failed(client, name):
    answer = client.post("/v1/detect", params={"format": name}, files=form(b"no image", PNG))
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    (failed,) = json.loads(archive.read(ERRORS))
    assert failed["source"] == "0.png" and failed["error"]["status"] == 415
    assert len(archive.namelist()) > 1 and not [one for one in archive.namelist() if one.startswith(("0.", "001"))]


def test_a_request_whose_only_image_is_damaged_is_refused(client):
    for request in ({"files": form(DAMAGED)}, {"content": DAMAGED}, {"json": {"images": [{"base64": text(DAMAGED)}]}}):
        problem_of(client.post("/v1/detect", **request), 422)


def test_a_request_whose_images_are_all_damaged_lists_their_errors(client):
    answer = client.post("/v1/detect", files=form(DAMAGED, b"x"))
    assert [image["error"]["status"] for image in answer.json()["images"]] == [422, 415]
    assert client.post("/v1/detect", params={"format": "coco"}, files=form(DAMAGED, b"x")).json() == []
    for params in ({"format": "image"}, {"format": "masks", "masks": "map"}):
        answer = client.post("/v1/detect", params=params, files=form(DAMAGED, b"x"))
        assert answer.headers["content-type"] == "application/zip"
        assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == ["errors.json"]


def test_images_are_taken_as_base64(client):
    images = [{"base64": text(PNG), "name": "a.png"}, {"base64": f"data:image/png;base64,{text(OTHER)}", "name": None}]
    answer = client.post("/v1/detect", json={"images": images})
    expected = client.post("/v1/detect", files=form(PNG, OTHER)).json()["images"]
    assert [image.pop("source") for image in expected] == ["0.png", "1.png"]
    found = answer.json()["images"]
    assert [image.pop("source") for image in found] == ["a.png", "the image"] and found == expected


def test_invalid_base64_fails_alone(client):
    images = [{"base64": "?", "name": "a.png"}, {"base64": text(PNG)}, {"base64": ""}]
    first, second, third = client.post("/v1/detect", json={"images": images}).json()["images"]
    assert "a.png is not valid base64" in first["error"]["detail"] and second["detections"] and third["error"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"[" * 10_000, 400, "the body is not JSON"),
        (b"{}", 422, "'images'"),
        (b'{"images": []}', 422, "'images'"),
        (b'{"images": [{"base64": "a"}], "threshold": 0.5}', 422, "'threshold'"),
        (b'{"images": [{"base64": "a"}, {"base64": "a", "url": "http://a.b/"}]}', 422, "'images 1'"),
        (b'{"images": [{}]}', 422, "'images 0'"),
        (b'{"images": [{"url": 5}]}', 422, "'images 0'"),
        (b'{"images": [{"url": "file:///etc/passwd"}]}', 403, "setting `image_urls` allows"),
        (b'{"images": ["a"]}', 422, '{"base64": TEXT, "name": TEXT}'),
        (b'{"images": [{"base64": "a"}, {"base64": "a"}, {"base64": "a"}, {"base64": "a"}]}', 413, "at most 3 images"),
        (b'{"images": [{"url": "http://example.org/a.png"}]}', 403, "setting `image_urls` allows"),
        (b'{"images": [{"base64": "%s"}]}' % (b"a" * 300_000), 413, "at most 300,000 bytes"),
    ],
)
def test_an_invalid_body_is_refused_with_the_reason(client, body, status, words):
    assert words in problem_of(client.post("/v1/detect", content=body, headers=JSON), status)
