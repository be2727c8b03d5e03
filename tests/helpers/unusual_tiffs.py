"""TIFFs of every supported kind with their expected pixels, and TIFFs without a defined white."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from helpers.image_bytes import encoded, tiff
from helpers.unusual_images import LOSSY, Odd, alpha, cmyk, gray_of, half_white


def gray_tiffs(rgb: np.ndarray) -> Iterator[Odd]:
    gray = gray_of(rgb)[..., None]
    deep, shown = gray.astype(np.uint16) * 257, np.repeat(gray, 3, axis=2)
    for name, order in {"little": "<", "big": ">"}.items():
        yield Odd(f"gray16_{name}.tif", tiff(deep, bits=16, photometric=1, order=order), shown)
        yield Odd(f"float_{name}.tif", tiff((gray / 255).astype(np.float32), photometric=1, order=order), shown)
    yield Odd("white_is_zero.tif", tiff(255 - gray, photometric=0), shown)
    yield Odd("white_is_zero16.tif", tiff(65535 - deep, bits=16, photometric=0), shown)
    yield Odd("white_is_zero_float.tif", tiff(1 - (gray / 255).astype(np.float32), photometric=0), shown)
    bits = (gray > 127).astype(np.uint8)
    yield Odd("bits.tif", tiff(bits, bits=1, photometric=1), np.repeat(bits * 255, 3, axis=2))
    yield Odd("fax.tif", encoded(Image.fromarray(bits[..., 0] * 255).convert("1"), "TIFF", compression="group4"),
              np.repeat(bits * 255, 3, axis=2))  # fmt: skip
    twelve = (gray * (4095 / 255)).round().astype(np.uint16)
    yield Odd("gray12.tif", tiff(twelve, bits=12, photometric=1), shown)
    yield Odd("gray12_in_16.tif", tiff(twelve, bits=16, photometric=1), np.repeat(twelve // 257, 3, axis=2), 1)
    yield Odd("gray_alpha.tif", tiff(np.dstack([gray, alpha(rgb)]), photometric=1, tags={338: [2]}),
              half_white(shown))  # fmt: skip


def color_tiffs(rgb: np.ndarray) -> Iterator[Odd]:
    image, deep = Image.fromarray(rgb), rgb.astype(np.uint16) * 257
    for name, order in {"little": "<", "big": ">"}.items():
        yield Odd(f"rgb_{name}.tif", tiff(rgb, photometric=2, order=order), rgb)
        yield Odd(f"rgb16_{name}.tiff", tiff(deep, bits=16, photometric=2, order=order), rgb)
    yield Odd("planar.tif", tiff(rgb, photometric=2, planar=True), rgb)
    yield Odd("tiled.tif", tiff(rgb, photometric=2, tile=16), rgb)
    yield Odd("rgba.tif", tiff(np.dstack([rgb, alpha(rgb)]), photometric=2, tags={338: [2]}), half_white(rgb))
    spare = np.dstack([rgb, alpha(rgb)])
    yield Odd("spare_channel.tif", tiff(spare, photometric=2, tags={338: [0]}), rgb)
    yield Odd("cmyk.tif", tiff(cmyk(rgb), photometric=5), rgb, 2)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    coded = np.asarray(ImageCms.applyTransform(image, ImageCms.buildTransform(srgb, lab, "RGB", "LAB")))
    yield Odd("lab.tif", tiff(coded, photometric=8), rgb, 20)  # of 8 bits, so coarse where it is dark
    # Red, green and blue of sRGB in CIE L*a*b* under D50, as the standard's tables have them.
    known = np.array([[[54.29, 80.81, 69.89], [87.82, -79.27, 80.99], [29.57, 68.30, -112.03]]])
    signed = (known * (2.55, 1, 1)).round().astype(np.int16).astype(np.uint8)
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    signed, pure = (np.kron(patch, np.ones((16, 16, 1), np.uint8)) for patch in (signed, pure))
    yield Odd("lab_primaries.tif", tiff(signed, photometric=8), pure, 24)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"):
        yield Odd(f"{compression}.tif", encoded(image, "TIFF", compression=compression), rgb)
    yield Odd("jpeg_inside.tif", encoded(image, "TIFF", compression="jpeg", quality=95), rgb, LOSSY)
    pages = [image, Image.fromarray(255 - rgb), Image.new("L", (3, 3))]
    yield Odd("pages.tif", encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), rgb)
    yield Odd("big.tif", encoded(image, "TIFF", big_tiff=True), rgb)


def tiffs_without_white(rgb: np.ndarray) -> Iterator[Odd]:
    """TIFFs whose pixels have no defined black and white."""
    gray = gray_of(rgb)[..., None]
    deep = gray.astype(np.uint16) * 257

    def refused(name: str, content: bytes, words: str, in_header: bool = True) -> Odd:
        return Odd(name, content, words=words, in_header=in_header)

    values = (gray / 255).astype(np.float32)
    spoiled = values.copy()
    spoiled[3, 4] = np.nan
    yield refused("nan.tif", tiff(spoiled, photometric=1), "infinite or not a number", False)
    spoiled[3, 4] = np.inf
    yield refused("infinite.tif", tiff(spoiled, photometric=1), "infinite or not a number", False)
    yield refused("degrees.tif", tiff(values * 300 - 20, photometric=1), "must lie in 0..1", False)
    yield refused("signed8.tif", tiff(gray, photometric=1, tags={339: [2]}), "no defined black and white")
    yield refused("signed16.tif", tiff(deep, bits=16, photometric=1, tags={339: [2]}), "no defined black and white")
    heights = Image.fromarray(gray[..., 0].astype(np.int32) * 1000)
    yield refused("heights.tif", encoded(heights, "TIFF"), "no defined black and white")
    yield refused("preview.tif", tiff(gray, photometric=1, tags={254: [1]}), "preview")
    yield refused("half_float.tif", tiff(deep, bits=16, photometric=1, tags={339: [3]}), "a TIFF, but")
