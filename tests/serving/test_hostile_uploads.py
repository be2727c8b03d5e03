"""Whatever is sent as an image is answered with what is in it, or with the right 4xx, and leaves no memory behind."""

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
from helpers.api_server import serving, tiny_model
from helpers.hostile_images import TOO_LARGE, odd_images
from helpers.image_bytes import png, png_chunk
from helpers.unusual_images import scene
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from detect.media.encoding import encode
from detect.serving.limits import Limits
from detect.serving.quota import FullError, Room, TooMuchError

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")  # as detect.media.images itself does, outside of pytest
SCENE = scene()
ODD = [one for one in odd_images(SCENE) if one.name != "camera.nef"]  # which its name alone gives away
PNG = encode(SCENE, "PNG")
SIDE = 50_000


@pytest.fixture(scope="module")
def client():
    with serving(tiny_model(threshold=0.9), limits=Limits(bytes_=8 * 2**20)) as client:
        yield client


def refused(answer) -> str:
    """Why, once it is seen to be a problem document that gives nothing of the server away."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code and "Traceback" not in problem["detail"]
    assert str(Path.home()) not in problem["detail"] and "site-packages" not in problem["detail"]
    return problem["detail"]


@pytest.mark.parametrize("odd", ODD, ids=[one.name.encode("unicode_escape").decode() for one in ODD])
def test_every_odd_image_is_answered_or_refused(client, odd):
    answer = client.post("/v1/detect", content=odd.content)
    if odd.image is not None:
        if odd.name.endswith(".ico"):  # which cannot be opened without being unpacked
            assert answer.status_code == 415
            return
        (image,) = answer.json()["images"]
        assert (image["height"], image["width"]) == odd.image.shape[:2]
        return
    words = refused(answer)
    if not odd.content:
        assert answer.status_code == 422 and "no image" in words
    elif odd.words == TOO_LARGE:
        assert answer.status_code in (413, 415) and "pixels" in words
    else:
        assert answer.status_code in (413, 415, 422)
        assert odd.in_header <= (answer.status_code in (413, 415)), words


def test_a_bomb_is_not_unpacked_to_know_how_it_is_turned():
    """A PNG may hold its orientation behind its pixels, and an icon an image of another size than it says."""
    zeros = np.zeros((3000, 3000), np.uint8)
    inner = png(zeros, color=0, after=png_chunk(b"tEXt", b"a\0b"))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    with serving(tiny_model(threshold=0.9), limits=Limits(pixels=1_000_000)) as client:
        for content in (inner, b"\0\0\1\0\1\0" + entry + inner):
            with forbidden_to_unpack():
                answer = client.post("/v1/detect", content=content)
            if content is inner:
                assert answer.status_code == 413 and "3000x3000 pixels" in refused(answer)
            else:
                assert answer.status_code == 415


@contextmanager
def forbidden_to_unpack():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PngImageFile, "load", lambda _: pytest.fail("it was unpacked"))
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
def test_what_is_two_things_at_once_is_the_image(client, content):
    answer = client.post("/v1/detect", content=content)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    drawn = client.post("/v1/detect?format=image", content=content)
    assert drawn.headers["content-type"] == "image/png" and b"<script>" not in drawn.content
    assert Image.open(io.BytesIO(drawn.content)).size == SCENE.shape[1::-1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_as_wide_as_a_street_is_told_so(client, kind):
    wide = encode(np.zeros((1000, SIDE, 3), np.uint8), kind)
    answer = client.post("/v1/detect", content=wide)
    assert answer.status_code == 413 and f"{SIDE}x1000 pixels, more than the 40,000,000" in refused(answer)


def test_a_body_without_end_is_ended(client):
    url = urlsplit(str(client.base_url))
    with socket.create_connection((url.hostname, url.port), timeout=30) as line:
        line.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        began, chunk = time.monotonic(), b"10000\r\n" + bytes(65536) + b"\r\n"
        with pytest.raises(OSError):  # it is hung up
            while time.monotonic() - began < 30:
                line.sendall(chunk)
    assert client.post("/v1/detect", content=PNG).status_code == 200


def test_broken_http_is_no_trouble(client):
    url = urlsplit(str(client.base_url))
    for head in (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", b"GET /" + b"a" * 100_000, b"POST /v1/detect HTTP/1.1\r\nHo"):
        with socket.create_connection((url.hostname, url.port), timeout=30) as line:
            line.sendall(head)
    sent = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=30) as line:
        line.sendall(sent)
        assert line.recv(100).startswith(b"HTTP/1.1 400")
    assert client.get("/healthz").status_code == 200


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell of memory")
def test_they_leave_no_memory_behind(client):
    def send_all() -> None:
        for odd in (one for one in ODD if one.image is None):
            client.post("/v1/detect", content=odd.content)

    send_all()
    before = resident()
    send_all()
    assert resident() - before < 32 * 2**20


def test_of_what_there_is_for_all_each_gets_its_share_and_gives_it_back():
    room = Room(10)
    with room.shared() as mine, room.shared() as yours:
        mine(6)
        with pytest.raises(FullError):
            yours(5)
        with pytest.raises(TooMuchError):
            mine(5)
        yours(4)
        assert room.taken == 10
    assert room.taken == 0
    with pytest.raises(KeyError), room.shared() as mine:
        mine(3)
        raise KeyError
    assert room.taken == 0


def test_images_that_are_too_much_together_are_told_so():
    image = encode(np.zeros((100, 100, 3), np.uint8), "PNG")
    with serving(tiny_model(threshold=0.9), limits=Limits(pixels=10_000, at_once=2)) as client:
        two, three = ([("image", ("a.png", image))] * number for number in (2, 3))
        assert client.post("/v1/detect", files=two).status_code == 200
        answer = client.post("/v1/detect", files=three)
        assert answer.status_code == 413 and "20,000 pixels in all of its images" in refused(answer)
        assert client.post("/v1/detect", files=two).status_code == 200
