"""Reading an uploaded image, and showing it with its detections."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app_pages.downloads import Download, download_buttons, in_markdown
from app_pages.models import predict, predictor_of
from app_pages.settings import MIN_SCORE, DetectionSettings, Drawing
from detect.errors import MediaError
from detect.media import formats
from detect.media.drawing import draw, gray_around
from detect.media.encoding import EncodedImage, encode
from detect.media.images import decode, read_header
from detect.serving.responses import ImageResult, mask_files, to_json, zip_archive
from detect.structures.detections import Detections
from detect.text import counted

MAX_PIXELS = 50_000_000  # of an uploaded image, as the cameras of phones have; more would take too much memory
MAX_USED_PIXELS = 16_000_000  # larger images are resized before anything else


def is_image(name: str, content: bytes) -> bool:
    """Return whether ``content`` is an image, False for a video.

    Raises MediaError for any other content and for an image with too many pixels.
    """
    file = EncodedImage(content, name)
    if formats.begins_as_video(file):
        return False
    height, width = read_header(file, MAX_PIXELS).image_hw
    if height * width > MAX_PIXELS:
        raise MediaError(
            f"{name} has {width}x{height} pixels, more than the {MAX_PIXELS // 1_000_000} megapixels that this page"
            " takes; make it smaller, or use detect_image.py"
        )
    return True


def show_image(name: str, content: bytes, settings: DetectionSettings, drawing: Drawing, wide: bool) -> None:
    """Show the image without and with detections, a table of the detections, and download buttons.

    wide: whether both are as wide as the page, one below the other.
    """
    predictor, class_names = settings.predictor, settings.predictor.class_names
    file = EncodedImage(content, name)
    image, full_hw = read_limited(file)
    if image.shape[:2] != full_hw:
        st.info(resized_in_words(name, full_hw, image.shape[:2]))
    detections = detections_of(settings.model, settings.modified, settings.tiles, content)
    threshold = predictor.class_thresholds if settings.threshold is None else settings.threshold
    detections = detections.filter(threshold, settings.labels)
    background = gray_around(image, detections) if drawing.gray else image
    drawn = draw(background, detections, class_names, drawing.style, tint=not drawing.gray)
    after, before = (st.container(), st.container()) if wide else st.columns(2)
    caption = counted(len(detections), "object") + " (the maximum of the model)" * detections.limit_reached
    after.image(drawn, caption=caption, width="stretch", alt="the image with detections")
    before.image(image, caption=in_markdown(name), width="stretch", alt="the original image")
    if len(detections):
        columns = {"score": st.column_config.NumberColumn(format="%.3f")}
        st.dataframe(table_columns(detections), hide_index=True, column_config=columns)
    document = to_json([ImageResult(name, image, detections)], class_names, settings.model, None)
    is_jpeg = read_header(file).form in ("JPEG", "MPO")
    kind, ending = ("JPEG", ".jpg") if is_jpeg else ("PNG", ".png")
    files = [
        Download("Image", f"_detections{ending}", f"image/{kind.lower()}", lambda: encode(drawn, kind)),
        Download("JSON", "_detections.json", "application/json", json.dumps(document, indent=1)),
    ]
    if detections.masks:
        archive = lambda: zip_archive(mask_files(detections, class_names))  # noqa: E731
        files.append(Download("Masks", "_masks.zip", "application/zip", archive))
    download_buttons(name, files)


def read_limited(file: EncodedImage) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image, uint8 RGB [h, w, 3], and its original (height, width).

    An image of more than MAX_USED_PIXELS pixels is resized to 1/2 (1/4, ...) of its sides; a JPEG is decoded at that
    size, which takes a fraction of the memory.
    """
    height, width = full_hw = read_header(file).image_hw
    divisor = 1
    while height * width > MAX_USED_PIXELS * divisor**2:
        divisor *= 2
    decoded = decode(file, (math.ceil(height / divisor), math.ceil(width / divisor)))
    image = decoded.upright(decoded.rgb)
    if divisor > decoded.divisor:
        image = np.asarray(Image.fromarray(image).reduce(divisor // decoded.divisor))
    return image, full_hw


def resized_in_words(name: str, full_hw: tuple[int, int], hw: tuple[int, int]) -> str:
    """Return the message that an image was resized."""
    (full_height, full_width), (height, width) = full_hw, hw
    return (
        f"{in_markdown(name)} has {full_width}x{full_height} pixels and was resized to {width}x{height}; positions and"
        " downloads are those of the resized image."
    )


@st.cache_data(max_entries=32, show_spinner="processing the image")
def detections_of(model: str, modified: float, tiles: bool, content: bytes) -> Detections:
    """Return all detections of an image that the page can show, so that moving the threshold runs no model."""
    predictor = predictor_of(model, modified, tiles)
    image, _ = read_limited(EncodedImage(content))
    return predict(predictor, image, min(MIN_SCORE, predictor.threshold))


def table_columns(detections: Detections) -> dict[str, Any]:
    """Return the columns of a table of detections; positions and sizes are whole pixels."""
    left, top, right, bottom = detections.boxes.round().astype(int).T
    position = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"class": detections.names, "score": detections.scores, **position}
