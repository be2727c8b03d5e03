"""Whatever is uploaded is answered with its detections or with the right 4xx status, and does not leak memory."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers.api_server import problem_of, serving, tiny_model
from helpers.hostile_images import TOO_LARGE, odd_images
from helpers.image_bytes import png, png_chunk
from helpers.unusual_images import scene
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from detect.media.encoding import encode

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")
SCENE = scene()
ODD = [one for one in odd_images(SCENE) if one.name != "camera.nef"]  # recognized by its name only
PNG = encode(SCENE, "PNG")
SIDE = 50_000


@pytest.fixture(scope="module")
def client():
    with serving(tiny_model(threshold=0.9), max_request_bytes=8 * 2**20) as client:
        yield client


def refusal(answer) -> str:
    """Return the detail of a problem document, which must not show paths of the server."""
    detail = problem_of(answer, answer.status_code)
    assert str(Path.home()) not in detail and "site-packages" not in detail
    return detail


@pytest.mark.parametrize("odd", ODD, ids=[one.name.encode("unicode_escape").decode() for one in ODD])
def test_an_unusual_image_is_answered_or_refused(client, odd):
    answer = client.post("/v1/detect", content=odd.content)
    if odd.image is not None:
        if odd.name.endswith(".ico"):  # an icon cannot be opened without decoding it
            assert answer.status_code == 415
            return
        (image,) = answer.json()["images"]
        assert (image["height"], image["width"]) == odd.image.shape[:2]
        return
    detail = refusal(answer)
    if not odd.content:
        assert answer.status_code == 422 and "no image" in detail
    elif odd.words == TOO_LARGE:
        assert answer.status_code in (413, 415) and "pixels" in detail
    else:
        assert answer.status_code in (413, 415, 422)
        assert odd.in_header <= (answer.status_code in (413, 415)), detail


def test_a_decompression_bomb_is_not_decoded_to_read_its_orientation():
    """A PNG can store its orientation after its pixels, and an icon can hold an image of another size than stated."""
    zeros = np.zeros((3000, 3000), np.uint8)
    inner = png(zeros, color=0, after=png_chunk(b"tEXt", b"a\0b"))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    with serving(tiny_model(threshold=0.9), max_pixels=1_000_000) as client:
        for content in (inner, b"\0\0\1\0\1\0" + entry + inner):
            with decoding_forbidden():
                answer = client.post("/v1/detect", content=content)
            if content is inner:
                assert answer.status_code == 413 and "3000x3000 pixels" in refusal(answer)
            else:
                assert answer.status_code == 415


@contextmanager
def decoding_forbidden():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PngImageFile, "load", lambda _: pytest.fail("the image was decoded"))
        yield


def gif_of(frames: int) -> bytes:
    content = io.BytesIO()
    stills = [Image.fromarray(np.roll(SCENE, 9 * i, axis=1)) for i in range(frames)]
    stills[0].save(content, "GIF", save_all=True, append_images=stills[1:])
    return content.getvalue()


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("run.sh", "rm -rf /")
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [PNG + archive(), PNG + b"<script>alert(1)</script>", gif_of(40), encode(SCENE, "JPEG") + b"%PDF-1.7"],
    ids=["PNG and zip", "PNG and HTML", "animation", "JPEG and PDF"],
)
def test_a_file_of_two_formats_is_treated_as_the_image(client, content):
    answer = client.post("/v1/detect", content=content)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    drawn = client.post("/v1/detect?format=image", content=content)
    assert drawn.headers["content-type"] == "image/png" and b"<script>" not in drawn.content
    assert Image.open(io.BytesIO(drawn.content)).size == SCENE.shape[1::-1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_with_too_many_pixels_is_refused(client, kind):
    wide = encode(np.zeros((1000, SIDE, 3), np.uint8), kind)
    answer = client.post("/v1/detect", content=wide)
    assert answer.status_code == 413
    detail = refusal(answer)
    assert f"{SIDE}x1000 pixels" in detail and "40,000,000" in detail


def test_an_endless_body_is_cut_off(client):
    url = urlsplit(str(client.base_url))
    with socket.create_connection((url.hostname, url.port), timeout=300) as connection:
        connection.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        start, chunk = time.monotonic(), b"10000\r\n" + bytes(65536) + b"\r\n"
        with pytest.raises(OSError):  # the server closes the connection
            while time.monotonic() - start < 300:
                connection.sendall(chunk)
    assert client.post("/v1/detect", content=PNG).status_code == 200


def test_malformed_http_does_not_disturb_the_server(client):
    url = urlsplit(str(client.base_url))
    for head in (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", b"GET /" + b"a" * 100_000, b"POST /v1/detect HTTP/1.1\r\nHo"):
        with socket.create_connection((url.hostname, url.port), timeout=300) as connection:
            connection.sendall(head)
    head = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=300) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert client.get("/healthz").status_code == 200


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_refused_uploads_leak_no_memory(client):
    def send_all() -> None:
        for odd in (one for one in ODD if one.image is None):
            client.post("/v1/detect", content=odd.content)

    send_all()
    before = resident_bytes()
    send_all()
    assert resident_bytes() - before < 32 * 2**20


def test_images_with_too_many_pixels_together_are_refused():
    image = encode(np.zeros((100, 100, 3), np.uint8), "PNG")
    with serving(tiny_model(threshold=0.9), max_pixels=10_000, memory_requests=2) as client:
        two, three = ([("image", ("a.png", image))] * number for number in (2, 3))
        assert client.post("/v1/detect", files=two).status_code == 200
        answer = client.post("/v1/detect", files=three)
        assert answer.status_code == 413 and "20,000 pixels" in refusal(answer)
        assert client.post("/v1/detect", files=two).status_code == 200
