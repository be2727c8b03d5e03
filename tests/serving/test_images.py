"""Images over HTTP: found is what the predictor finds, in every format; what cannot be is a problem document."""

from __future__ import annotations

import io
import re
import zipfile

import numpy as np
import pytest
from helpers.api_server import serving, tiny_model
from helpers.tiny_models import CLASSES, make_image
from PIL import Image

from detect.inference.writers.json import detection_rows
from detect.media.encoding import Encoded, encode
from detect.media.images import read_image
from detect.serving.limits import Limits
from detect.structures import masks

LIMITS = Limits(bytes_=300_000, pixels=20_000, images=3)
IMAGE = make_image((64, 96), 1)
PNG = encode(IMAGE, "PNG")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def client(model):
    with serving(model, tiny_model("strict", threshold=1.0), limits=LIMITS) as client:
        yield client


def form(*contents: bytes, field: str = "image"):
    return [(field, (f"{n}.png", content)) for n, content in enumerate(contents)]


def problem(response, status: int) -> str:
    """Its detail, once it is seen to be a problem document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == status and said["title"] and said["type"] == "about:blank"
    assert "Traceback" not in said["detail"] and "/" not in re.sub("/v1(/detect/video)?", "", said["detail"])
    return said["detail"]


def expected(model, image: np.ndarray, **filters):
    (found,) = model.predictor([image])
    return detection_rows(found.filter(**filters), CLASSES)


@pytest.mark.parametrize("way", ["form", "body"])
def test_json_is_what_the_scripts_write(client, model, way):
    sent = {"files": form(PNG)} if way == "form" else {"content": PNG}
    answer = client.post("/v1/detect", **sent)
    assert answer.status_code == 200
    found = answer.json()
    assert found["model"] == "tiny" and found["seconds"] > 0
    (image,) = found["images"]
    assert (image["height"], image["width"]) == (64, 96)
    assert image["source"] == ("0.png" if way == "form" else "the image")
    assert image["detections"] == expected(model, IMAGE) and len(image["detections"]) > 20


def test_threshold_classes_and_model_are_the_callers(client, model):
    query = {"threshold": 0.36, "classes": ["kite", "3"]}
    rows = client.post("/v1/detect", params=query, content=PNG).json()["images"][0]["detections"]
    assert rows == expected(model, IMAGE, threshold=0.36, labels=[1, 3])
    strict = client.post("/v1/detect", params={"model": "strict"}, content=PNG).json()
    assert strict["model"] == "strict" and strict["images"][0]["detections"] == []


def test_several_images_are_answered_in_their_order(client, model):
    others = [make_image((64, 96), 2), make_image((80, 60), 3)]
    files = form(PNG, *(encode(one, "PNG") for one in others))
    images = client.post("/v1/detect", files=files).json()["images"]
    assert [one["source"] for one in images] == ["0.png", "1.png", "2.png"]
    for image, pixels in zip(images, (IMAGE, *others), strict=True):
        assert len(image["detections"]) == len(expected(model, pixels))
        assert (image["height"], image["width"]) == pixels.shape[:2]


def test_an_image_that_lies_on_its_side_is_turned_first(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(IMAGE).save(content, "JPEG", exif=exif)
    (image,) = client.post("/v1/detect", content=content.getvalue()).json()["images"]
    assert (image["height"], image["width"]) == (96, 64)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_the_annotated_image_is_an_image(client, kind):
    answer = client.post("/v1/detect", params={"format": "image", "image_type": kind}, content=PNG)
    assert answer.headers["content-type"] == f"image/{kind}"
    drawn = read_image(Encoded(answer.content))
    assert drawn.shape == IMAGE.shape and (np.abs(drawn.astype(int) - IMAGE) > 40).mean() > 0.1
    several = client.post("/v1/detect", params={"format": "image", "image_type": kind}, files=form(PNG, PNG))
    assert several.headers["content-type"] == "application/zip"
    names = zipfile.ZipFile(io.BytesIO(several.content)).namelist()
    assert names == [f"00{n}.{'png' if kind == 'png' else 'jpg'}" for n in (1, 2)]


def test_masks_are_those_of_the_json(client, model):
    query = {"format": "masks", "threshold": 0.3}
    answer = client.post("/v1/detect", params=query, content=PNG)
    (found,) = model.predictor([IMAGE])
    found = found.filter(0.3)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert len(archive.namelist()) == len(found) > 5
    for name, rle, label, score in zip(archive.namelist(), found.masks, found.labels, found.scores, strict=True):
        assert name.endswith(f"_{CLASSES.name(label)}_{score:.2f}.png")
        np.testing.assert_array_equal(np.asarray(Image.open(archive.open(name))), masks.to_bitmap(rle) * 255)
    numbered = client.post("/v1/detect", params=query | {"masks": "map"}, content=PNG)
    assert numbered.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(numbered.content)))
    best = np.zeros(IMAGE.shape[:2], int)
    for number in range(len(found), 0, -1):
        best[masks.to_bitmap(found.masks[number - 1]) > 0] = number
    np.testing.assert_array_equal(pixels, best)


def test_models_are_listed(client):
    models = client.get("/v1/models").json()["models"]
    assert [one["name"] for one in models] == ["tiny", "strict"]
    assert models[0]["classes"][0] == {"name": "kite", "category_id": 90}
    assert models[0]["masks"] is True and models[1]["threshold"] == 1.0 and models[0]["imgsz"] == 64


FORM = "multipart/form-data; boundary=x"
FIELD_X = b'--x\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--x--\r\n'
LARGE = encode(np.zeros((200, 200, 3), np.uint8), "PNG")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"content": b""}, 422, "no image: send its bytes as the body, or as the field 'image'"),
        ({"content": b"<svg xmlns='http:'/>"}, 415, "the image is not an image that can be read"),
        ({"content": PNG[:300]}, 422, "damaged or truncated"),
        ({"content": LARGE}, 413, "has 200x200 pixels, more than the 20,000 that are taken"),
        ({"content": bytes(300_001)}, 413, "a request may have at most 300,000 bytes"),
        ({"content": (bytes(1000) for _ in range(1000))}, 413, "a request may have at most 300,000 bytes"),
        ({"files": form(PNG, PNG, PNG, PNG)}, 413, "Too many files"),
        ({"files": form(PNG, field="image")}, 422, "has no field 'image'; its fields are 'image'"),
        ({"data": {"image": "a.png"}, "files": form(PNG, field="x")}, 422, "the field 'image' is text"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "the form cannot be taken"),
        (
            {
                "content": b"--x\r\n\r\n",
                "headers": {"content-type": "multipart/form-data; boundary=x; charset=undefined"},
            },
            400,
            "the form cannot be taken",
        ),
        ({"content": PNG, "params": {"model": "tinny"}}, 404, "unknown model 'tinny': did you mean tiny"),
        ({"content": PNG, "params": {"classes": "kyte"}}, 422, "unknown class 'kyte': did you mean kite"),
        ({"content": PNG, "params": {"threshold": "2"}}, 422, "threshold: "),
        ({"content": PNG, "params": {"format": "tiff"}}, 422, "format: "),
    ],
)
def test_what_cannot_be_is_a_problem_document(client, sent, status, words):
    assert words in problem(client.post("/v1/detect", **sent), status)


@pytest.mark.parametrize(("path", "status"), [("/v1/nothing", 404), ("/v1/detect", 405), ("/../../etc/passwd", 404)])
def test_what_is_not_there_is_one_too(client, path, status):
    problem(client.get(path), status)


def test_a_key_is_asked_for_where_there_is_one(model):
    with serving(model, limits=LIMITS, api_key="sesame") as client:
        assert "a key is needed" in problem(client.get("/v1/models"), 401)
        for headers in ({"Authorization": "Bearer open"}, {"X-API-Key": "é".encode()}, {"Authorization": "sesame"}):
            problem(client.post("/v1/detect", content=PNG, headers=headers), 401)
        for headers in ({"Authorization": "Bearer sesame"}, {"X-API-Key": "sesame"}):
            assert client.post("/v1/detect", content=PNG, headers=headers).status_code == 200
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_other_pages_may_call_where_they_are_named(model):
    asked = {"Origin": "https://example.org"}
    with serving(model) as client:
        assert "access-control-allow-origin" not in client.get("/v1/models", headers=asked).headers
    with serving(model, origins=["https://example.org"]) as client:
        assert client.get("/v1/models", headers=asked).headers["access-control-allow-origin"] == asked["Origin"]
        assert "access-control-allow-origin" not in client.get("/v1/models", headers={"Origin": "https://x.y"}).headers


def test_a_foreign_page_may_not_call_behind_the_back_of_whoever_looks_at_it(model):
    foreign = {"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"}
    with serving(model) as client:
        for sent in (foreign, foreign | {"Sec-Fetch-Site": "same-site"}):
            assert "--origins" in problem(client.post("/v1/detect", content=PNG, headers=sent), 403)
            problem(client.post("/v1/detect/video", content=PNG, headers=sent), 403)
        for own in ("same-origin", "none"):
            sent = foreign | {"Sec-Fetch-Site": own}
            assert client.post("/v1/detect", content=PNG, headers=sent).status_code == 200
    for origin in ("https://example.org", "*"):
        with serving(model, origins=[origin]) as client:
            assert client.post("/v1/detect", content=PNG, headers=foreign).status_code == 200


def test_a_page_without_tls_may_not_call_either(model):
    with serving(model) as client:
        own = str(client.base_url).rstrip("/")
        assert client.post("/v1/detect", content=PNG, headers={"Origin": own}).status_code == 200
        problem(client.post("/v1/detect", content=PNG, headers={"Origin": "http://example.org"}), 403)


STRANGE = ("example.org", "Example.ORG:8000", "127.0.0.1.example.org", "localhost.", "[::1")


def status_by_name(client, host: str) -> int:
    return client.get("/v1/models", headers={"Host": host}).status_code


def test_a_stranger_whose_name_leads_here_may_not_call(model):
    with serving(model) as client:
        for host in STRANGE:
            assert "--hosts" in problem(client.get("/v1/models", headers={"Host": host}), 403)
            problem(client.post("/v1/detect/video", content=PNG, headers={"Host": host}), 403)
        for host in ("localhost:8000", "LOCALHOST", "192.168.0.7", "[::1]:8000", "app.localhost", "detect:8000"):
            assert status_by_name(client, host) == 200
        assert client.get("/healthz", headers={"Host": "example.org"}).status_code == 200


def test_names_may_be_allowed_and_a_key_needs_none(model):
    with serving(model, hosts=["detect.Example.org", "*.example.net"]) as client:
        hosts = ("detect.example.org:8000", "a.example.net", "example.net", "a.example.org")
        assert [status_by_name(client, host) for host in hosts] == [200, 200, 403, 403]
    with serving(model, hosts=["*"]) as client:
        assert status_by_name(client, "example.org") == 200
    with serving(model, api_key="sesame") as client:
        client.headers["Authorization"] = "Bearer sesame"
        assert status_by_name(client, "example.org") == 200


def test_a_page_that_is_named_may_ask_first_and_reads_when_to_come_again(model):
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    with serving(model, origins=["https://example.org"], api_key="sesame") as client:
        more = {"Access-Control-Request-Headers": "authorization"}
        told = client.options("/v1/detect", headers=asked | more).headers
        assert told["access-control-allow-origin"] == "https://example.org"
        assert "POST" in told["access-control-allow-methods"]
        assert told["access-control-allow-headers"].lower() == "authorization"
        answer = client.get("/v1/models", headers={"Origin": "https://example.org"})
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


def test_a_key_may_have_any_letters(model):
    with serving(model, api_key="schlüssel") as client:
        sent = {"Authorization": "Bearer schlüssel".encode()}
        assert client.get("/v1/models", headers=sent).status_code == 200
        assert client.get("/v1/models", headers={"X-API-Key": "schlussel"}).status_code == 401


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("/v1/detect?thresh=0.5", "unknown parameter 'thresh': did you mean threshold?"),
        ("/v1/detect/video?strides=2", "did you mean stride?"),
        ("/v1/detect?threshold=0.5&a=1&model=tiny", "unknown parameter 'a': known are"),
    ],
)
def test_a_parameter_that_nobody_asks_for_is_told(client, query, words):
    assert words in problem(client.post(query, content=PNG), 422)


def test_what_is_wanted_does_not_stand_in_the_form(client):
    answer = client.post("/v1/detect", files=form(PNG), data={"threshold": "0.9"})
    assert "a field 'threshold' too" in problem(answer, 422) and "?threshold=0.7" in answer.text


def test_a_video_is_no_image(client):
    answer = client.post("/v1/detect", content=b"\0\0\0\x18ftypisom" + bytes(400))
    assert "those go to /v1/detect/video" in problem(answer, 415)


def test_an_image_is_no_video_by_chance(client):
    """MPEG's packets begin with a G, 188 bytes apart; a GIF has one at its beginning too."""
    content = bytearray(encode(make_image((64, 96), 1), "GIF"))
    content[188] = content[376] = ord("G")
    answer = client.post("/v1/detect", content=bytes(content))
    assert answer.status_code != 415 or "video" not in answer.text


def test_whoever_looks_after_it_may_ask_for_heads_alone(client):
    for path in ("/", "/docs", "/healthz", "/readyz"):
        answer = client.head(path)
        assert answer.status_code == 200 and not answer.content


def test_what_it_does_is_counted(client):
    client.post("/v1/detect", content=PNG)
    client.get("/v1/whatever")
    client.request("BREW", "/v1/whatever")
    text = client.get("/metrics").text
    assert 'detect_requests_total{method="POST",route="/v1/detect",status="200"}' in text
    assert "whatever" not in text and "BREW" not in text and 'method="other"' in text
    assert "detect_images_total" in text and "detect_waiting_images 0.0" in text


def test_answers_do_not_let_browsers_guess(client):
    for path in ("/", "/v1/models", "/nothing"):
        headers = client.get(path).headers
        assert (
            headers["x-content-type-options"] == "nosniff"
            and "default-src 'self'" in headers["content-security-policy"]
        )
        assert "server" not in headers


def test_the_page_has_all_it_needs_on_this_server(client):
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.status_code == 200 and not re.search(r'(src|href)="(https?:)?//(?!www\.rfc-editor)', page.text)
    for name in ("page.css", "page.js", "paint.js", "docs.js", "icon.svg"):
        assert client.get(f"/page/{name}").status_code == 200
