"""POST /v1/detect returns what the predictor detects, in every format, and refuses invalid requests."""

from __future__ import annotations

import copy
import io
import zipfile

import numpy as np
import pytest
from helpers.api_server import problem_of, serving, tiny_model
from helpers.slow_predictor import SlowPredictor
from helpers.tiny_models import CLASSES, make_image
from PIL import Image

from detect.media.encoding import EncodedImage, encode
from detect.media.images import read_image
from detect.serving.model_registry import ServedModel
from detect.serving.responses import FILE_FORMATS
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections_json import detection_rows

SETTINGS = {"max_request_bytes": 300_000, "max_pixels": 20_000, "max_images": 3, "max_tiles": 4}
IMAGE = make_image((64, 96), 1)
PNG = encode(IMAGE, "PNG")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def client(model):
    boxes_only = ServedModel("boxes", SlowPredictor())
    with serving(model, tiny_model("strict", threshold=1.0), boxes_only, **SETTINGS) as client:
        yield client


def form(*contents: bytes, field: str = "image"):
    return [(field, (f"{n}.png", content)) for n, content in enumerate(contents)]


def expected(model, image: np.ndarray, **filters):
    (found,) = model.predictor.predict_batch([image])
    return detection_rows(found.filter(**filters), CLASSES)


@pytest.mark.parametrize("way", ["form", "body"])
def test_json_has_the_rows_of_the_scripts(client, model, way):
    request = {"files": form(PNG)} if way == "form" else {"content": PNG}
    answer = client.post("/v1/detect", **request)
    assert answer.status_code == 200
    document = answer.json()
    assert document["model"] == "tiny" and document["seconds"] > 0
    (image,) = document["images"]
    assert (image["height"], image["width"]) == (64, 96)
    assert image["source"] == ("0.png" if way == "form" else "the image")
    assert image["detections"] == expected(model, IMAGE) and len(image["detections"]) > 20


def test_a_request_chooses_threshold_classes_and_model(client, model):
    query = {"threshold": 0.36, "classes": ["kite", "3"]}
    rows = client.post("/v1/detect", params=query, content=PNG).json()["images"][0]["detections"]
    assert rows == expected(model, IMAGE, threshold=0.36, labels=[1, 3])
    strict = client.post("/v1/detect", params={"model": "strict"}, content=PNG).json()
    assert strict["model"] == "strict" and strict["images"][0]["detections"] == []


def test_a_request_chooses_tiles_and_the_iou_of_nms(client, model):
    params = {"tile": 64, "nms": 0.2}
    rows = client.post("/v1/detect", params=params, content=PNG).json()["images"][0]["detections"]
    changed = model.predictor.with_settings(**params)
    assert rows == expected(ServedModel("changed", changed), IMAGE) != expected(model, IMAGE)
    assert model.predictor.tile is None and model.predictor.nms != 0.2  # other requests are as before
    automatic = client.post("/v1/detect", params={"tile": "auto"}, content=PNG).json()
    assert automatic["images"][0]["detections"] == expected(model, IMAGE)  # no larger than the model's images


def test_a_model_that_cannot_change_its_nms_is_an_error(model):
    class FixedNms:
        applied_limits = frozenset()

        def __getattr__(self, name):
            return getattr(model.predictor.runtime, name)

    fixed = copy.copy(model.predictor)
    fixed.runtime = FixedNms()
    with serving(ServedModel("fixed", fixed)) as client:
        assert "`nms=0.3`" in problem_of(client.post("/v1/detect", params={"nms": 0.3}, content=PNG), 422)
        assert client.post("/v1/detect", params={"nms": fixed.nms, "tile": 64}, content=PNG).status_code == 200


def test_several_images_are_returned_in_their_order(client, model):
    others = [make_image((64, 96), 2), make_image((80, 60), 3)]
    files = form(PNG, *(encode(one, "PNG") for one in others))
    images = client.post("/v1/detect", files=files).json()["images"]
    assert [one["source"] for one in images] == ["0.png", "1.png", "2.png"]
    for image, pixels in zip(images, (IMAGE, *others), strict=True):
        assert len(image["detections"]) == len(expected(model, pixels))
        assert (image["height"], image["width"]) == pixels.shape[:2]


def test_the_exif_orientation_is_applied(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(IMAGE).save(content, "JPEG", exif=exif)
    (image,) = client.post("/v1/detect", content=content.getvalue()).json()["images"]
    assert (image["height"], image["width"]) == (96, 64)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_annotated_images_have_the_requested_type(client, kind):
    query = {"format": "image", "image_type": kind}
    answer = client.post("/v1/detect", params=query, content=PNG)
    assert answer.headers["content-type"] == f"image/{kind}"
    drawn = read_image(EncodedImage(answer.content))
    assert drawn.shape == IMAGE.shape and (np.abs(drawn.astype(int) - IMAGE) > 40).mean() > 0.1
    several = client.post("/v1/detect", params=query, files=form(PNG, PNG))
    assert several.headers["content-type"] == "application/zip"
    names = zipfile.ZipFile(io.BytesIO(several.content)).namelist()
    assert names == [f"00{n}.{'png' if kind == 'png' else 'jpg'}" for n in (1, 2)]


def num_processed(client) -> str:
    return next(line for line in client.get("/metrics").text.splitlines() if line.startswith("detect_images_total"))


def test_an_image_without_drawn_detections_does_not_need_the_model(client):
    before = num_processed(client)
    answer = client.post("/v1/detect", params={"format": "image", "draw": "false"}, content=PNG)
    assert answer.headers["content-type"] == "image/png" and num_processed(client) == before
    np.testing.assert_array_equal(read_image(EncodedImage(answer.content)), IMAGE)
    assert client.post("/v1/detect", params={"draw": "false"}, content=PNG).json()["images"][0]["detections"]
    assert num_processed(client) != before


def test_mask_files_and_the_instance_map_equal_the_masks_of_the_predictor(client, model):
    query = {"format": "masks", "threshold": 0.3}
    answer = client.post("/v1/detect", params=query, content=PNG)
    (found,) = model.predictor.predict_batch([IMAGE])
    found = found.filter(0.3)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert len(archive.namelist()) == len(found) > 5
    for name, rle, label, score in zip(archive.namelist(), found.masks, found.labels, found.scores, strict=True):
        assert name.endswith(f"_{CLASSES.name(label)}_{score:.2f}.png")
        np.testing.assert_array_equal(np.asarray(Image.open(archive.open(name))), masks.to_bitmap(rle) * 255)
    answer = client.post("/v1/detect", params=query | {"masks": "map"}, content=PNG)
    assert answer.headers["content-type"] == "image/png"
    instances = np.zeros(IMAGE.shape[:2], int)
    for number in range(len(found), 0, -1):
        instances[masks.to_bitmap(found.masks[number - 1]) > 0] = number
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), instances)


def test_masks_of_a_model_without_masks_are_an_error(client):
    answer = client.post("/v1/detect", params={"format": "masks", "model": "boxes"}, content=PNG)
    assert "boxes does not predict masks" in problem_of(answer, 422)


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_every_output_format_of_the_scripts_is_available(client, name):
    answer = client.post("/v1/detect", params={"format": name}, files=form(PNG, PNG))
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() and all(archive.read(one) for one in archive.namelist())


def test_models_are_listed(client):
    models = client.get("/v1/models").json()["models"]
    assert [one["name"] for one in models] == ["tiny", "strict", "boxes"]
    assert models[0]["classes"][0] == {"name": "kite", "category_id": 90, "threshold": 0.0}
    assert [one["masks"] for one in models] == [True, True, False]
    assert models[1]["threshold"] == 1.0 and models[0]["imgsz"] == 64


LARGE = encode(np.zeros((200, 200, 3), np.uint8), "PNG")
MULTIPART = "multipart/form-data"


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"content": b""}, 422, "no image: send its bytes as the body, or as the field 'image'"),
        ({"content": b"<svg xmlns='http:'/>"}, 415, "the image"),
        ({"content": PNG[:300]}, 422, "truncated"),
        ({"content": LARGE}, 413, "has 200x200 pixels; an image may have at most 20,000"),
        ({"content": bytes(300_001)}, 413, "at most 300,000 bytes"),
        ({"content": (bytes(1000) for _ in range(1000))}, 413, "at most 300,000 bytes"),
        ({"files": form(PNG, PNG, PNG, PNG)}, 413, "Too many files"),
        ({"files": form(PNG, field="photo")}, 422, "no field 'image'; its fields are: 'photo'"),
        ({"data": {"image": "a.png"}, "files": form(PNG, field="x")}, 422, "the form field 'image' is text"),
        ({"content": b"x", "headers": {"content-type": MULTIPART}}, 400, "malformed form"),
        (
            {"content": b"--x\r\n\r\n", "headers": {"content-type": f"{MULTIPART}; boundary=x; charset=undefined"}},
            400,
            "malformed form",
        ),
        ({"content": PNG, "params": {"model": "tinny"}}, 404, "unknown model 'tinny': did you mean tiny"),
        ({"content": PNG, "params": {"classes": "kyte"}}, 422, "unknown class 'kyte': did you mean kite"),
        ({"content": PNG, "params": {"threshold": "2"}}, 422, "threshold must be a number from 0 to 1, not '2'"),
        ({"content": PNG, "params": {"threshold": "abc"}}, 422, "threshold must be a number from 0 to 1, not 'abc'"),
        ({"content": PNG, "params": {"nms": "1.5"}}, 422, "nms must be a number from 0 to 1, not '1.5'"),
        (
            {"content": PNG, "params": {"tile": "63"}},
            422,
            "tile must be auto or a whole number of at least 64, not '63'",
        ),
        (
            {"content": PNG, "params": {"tile": "big", "draw": "2"}},
            422,
            "not 'big'; draw must be true or false, not '2'",
        ),
        (
            {"files": form(*3 * [PNG]), "params": {"tile": "64"}},
            413,
            "tile=64 gives 6 tiles; a request may have at most 4",
        ),
        ({"content": PNG, "params": {"format": "jason"}}, 422, "unknown format 'jason': did you mean json"),
        ({"content": PNG, "params": {"format": "yolo"}}, 422, "unknown format 'yolo': did you mean labels_yolo?"),
        ({"content": PNG, "params": {"image_type": "tiff"}}, 422, "image_type must be png or jpeg, not 'tiff'"),
    ],
)
def test_an_invalid_request_is_refused_with_the_reason(client, request_, status, words):
    detail = problem_of(client.post("/v1/detect", **request_), status)
    assert words in detail and "/" not in detail


def test_an_unknown_class_names_a_served_model_that_knows_it(model):
    coco = ServedModel("coco", SlowPredictor())
    coco.predictor.class_names = ClassNames(("person", "Kite"))
    with serving(model, coco) as client:
        for path in ("/v1/detect", "/v1/detect/video"):
            detail = problem_of(client.post(path, params={"classes": "Person"}, content=PNG), 422)
            assert detail.endswith("; model=coco knows 'person'")
            for name in ("KITE", "dog"):  # a class of the model itself; one that only models know that are not served
                assert "model" not in problem_of(client.post(path, params={"classes": name}, content=PNG), 422)


def test_parameters_in_the_form_are_an_error(client):
    answer = client.post("/v1/detect", files=form(PNG), data={"threshold": "0.9"})
    detail = problem_of(answer, 422)
    assert "'threshold'" in detail and "?threshold=0.7" in detail


def test_a_video_is_refused_with_the_route_for_videos(client):
    answer = client.post("/v1/detect", content=b"\0\0\0\x18ftypisom" + bytes(400))
    assert "/v1/detect/video" in problem_of(answer, 415)


def test_a_gif_that_resembles_a_transport_stream_is_an_image(client):
    """The packets of an MPEG transport stream begin with a G, 188 bytes apart; a GIF begins with a G too."""
    content = bytearray(encode(make_image((64, 96), 1), "GIF"))
    content[188] = content[376] = ord("G")
    answer = client.post("/v1/detect", content=bytes(content))
    assert answer.status_code != 415 or "video" not in answer.text
