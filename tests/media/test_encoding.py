"""Images in memory are read like files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.hostile_images import odd_images
from helpers.tiny_models import make_image

from detect.errors import MediaError
from detect.media import formats, images
from detect.media.encoding import EncodedImage, encode
from detect.media.images import read_header, read_image

ODD = {odd.name: odd for odd in odd_images(make_image((24, 32), 3))}


@pytest.mark.parametrize("name", [name for name in ODD if Path(name).suffix not in formats.RAW_SUFFIXES])
def test_image_in_memory_is_read_or_refused_like_a_file(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(ODD[name].content)
    for read in (read_header, read_image):
        try:
            expected = read(path)
        except MediaError as error:
            with pytest.raises(MediaError) as refused:
                read(EncodedImage(path.read_bytes(), "the image"))
            assert str(refused.value) == str(error).replace(str(path), "the image")
        else:
            np.testing.assert_equal(read(EncodedImage(path.read_bytes())), expected)


def test_too_large_image_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 9)
    with pytest.raises(MediaError, match="the image has 10 bytes, more than the limit of 9"):
        read_image(EncodedImage(b"0123456789"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_encoded_with_an_orientation_is_read_as_it_was(kind, orientation):
    image = np.zeros((16, 24, 3), np.uint8)
    image[:8, :8] = 250
    image[8:, 16:] = 130
    read = read_image(EncodedImage(encode(image, kind, orientation)))
    assert read.shape == image.shape
    np.testing.assert_allclose(read.astype(int), image, atol=0 if kind == "PNG" else 3)
