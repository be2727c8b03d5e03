"""Steps on the web page of serve.py, in a browser."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.folders import ROOT

IMAGE = ROOT / "input" / "balloons_1.jpg"
RESULT = re.compile(r"^\d+ objects?, ")


def wait_for_models(page) -> None:
    page.wait_for_selector("#model option", state="attached")


def wait_for_detections(page) -> None:
    page.locator("#status", has_text=RESULT).wait_for()


def choose_files(page, *paths: Path) -> None:
    """Choose images, and wait until the first of them is processed."""
    page.set_input_files("#file", paths)
    wait_for_detections(page)


def wait_for_error(page) -> str:
    """Return the message of an error when it is shown."""
    page.wait_for_selector("#status.error")
    return page.text_content("#status")


def set_threshold(page, threshold: float) -> None:
    page.evaluate(
        "value => { const slider = document.getElementById('threshold'); slider.value = value;"
        " slider.dispatchEvent(new Event('input')); }",
        str(threshold),
    )


def hide_detections(page) -> None:
    for name in ("boxes", "masks", "labels"):
        page.uncheck(f"#show-{name}")


def pixels(page, canvas: str = "canvas") -> np.ndarray:
    """Return the content of a canvas as RGBA [H, W, 4]."""
    url = page.evaluate("id => document.getElementById(id).toDataURL('image/png')", canvas)
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")).astype(int)


def canvas_pixels(page) -> np.ndarray:
    """Return the image with its detections as RGB [H, W, 3]."""
    return pixels(page)[..., :3]


def download(page, button: str) -> tuple[str, bytes]:
    """Return the name and content of the file that a button saves."""
    with page.expect_download() as event:
        page.click(button)
    return event.value.suggested_filename, Path(event.value.path()).read_bytes()


def num_rows(page) -> int:
    """Return the number of rows of the table of detections."""
    return page.locator("#detections tbody tr").count()
