"""Images of every kind that is read, each with what it must read as."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from helpers.image_bytes import bmp_565, bmp_rle8, encoded, exif, jpeg_with, png, png_chunk

LOSSY = 14  # of 255, the most that a pixel of the smooth scene moves
# 32x16, red and blue, lower left green; by cjpeg -arithmetic.
ARITHMETIC_JPEG = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00;&K2L=TQ2L}fU2?z=d6b%du3k(?&6Au&}8Xq1V8XO!TBrYc)A}k{u94I#_EHE)NG&CP4IXyTsJT5ad"
    "GXL8ELjeg12@DGi7!3^=G9erxGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBW?k01*fP5C9+p0TBQK5di}c"
    "0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zf#0Cx}Hk5&2k#W(Q(0L$vVMwTgi2>;m"
)


@dataclass(frozen=True)
class Odd:
    """One file.

    image: uint8 RGB [H, W, 3] that it must read as, each value at most ``within`` away; None where it must be
        refused with ``words`` in the reason.  in_header: whether reading the size alone refuses it as well.
    """

    name: str
    content: bytes
    image: np.ndarray | None = None
    within: int = 0
    words: str = ""
    in_header: bool = True


def scene(hw: tuple[int, int] = (47, 70)) -> np.ndarray:
    """Smooth, so that lossy formats keep it, and without any symmetry of its sides or its colors."""
    y, x = np.meshgrid(np.linspace(0, 1, hw[0]), np.linspace(0, 1, hw[1]), indexing="ij")
    return np.stack([30 + 200 * x, 40 + 150 * y, 210 - 160 * x * y], axis=2).round().astype(np.uint8)


def readable_images(rgb: np.ndarray) -> Iterator[Odd]:
    """Every one shows ``rgb``, uint8 [H, W, 3], or what its kind can keep of it."""
    for group in (_jpegs, _turned, _pngs, _bit_pngs, _old_formats, _modern_formats):
        yield from group(rgb)


def gray_of(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W]."""
    return np.asarray(Image.fromarray(rgb).convert("L"))


def three(gray: np.ndarray) -> np.ndarray:
    """Gray [H, W] as RGB [H, W, 3]."""
    return np.repeat(gray[..., None], 3, axis=2)


def half_white(rgb: np.ndarray) -> np.ndarray:
    """``rgb`` with its left third white, where the ones with transparency are clear."""
    image = rgb.copy()
    image[:, : rgb.shape[1] // 3] = 255
    return image


def alpha(rgb: np.ndarray) -> np.ndarray:
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:, : rgb.shape[1] // 3] = 0
    return alpha


def _jpeg(rgb: np.ndarray, **options) -> bytes:
    return encoded(Image.fromarray(rgb), "JPEG", **{"quality": 95, "subsampling": 0} | options)


def cmyk(rgb: np.ndarray) -> np.ndarray:
    """With as much black as there can be, so that a mistake in it shows; uint8 [H, W, 4]."""
    brightest = rgb.max(axis=2, keepdims=True).astype(float)
    inks = (brightest - rgb) / np.maximum(brightest, 1) * 255
    return np.concatenate([inks, 255 - brightest], axis=2).round().astype(np.uint8)


def _jpegs(rgb: np.ndarray) -> Iterator[Odd]:
    plain, other = _jpeg(rgb), Image.fromarray(255 - rgb)
    yield Odd("plain.jpg", plain, rgb, LOSSY)
    yield Odd("UPPER.JPG", plain, rgb, LOSSY)
    yield Odd("a_jpeg.png", plain, rgb, LOSSY)
    yield Odd("a_jpeg.gif", plain, rgb, LOSSY)
    yield Odd("without_suffix", plain, rgb, LOSSY)
    yield Odd("grüße 気球 🎈.jpg", plain, rgb, LOSSY)
    yield Odd("two\nlines.jpg", plain, rgb, LOSSY)
    yield Odd("%s {0} 'quote\".jpg", plain, rgb, LOSSY)
    yield Odd("junk_behind.jpg", plain + b"\xff\xd9junk" * 999, rgb, LOSSY)
    yield Odd("progressive.jpg", _jpeg(rgb, progressive=True), rgb, LOSSY)
    yield Odd("subsampled.jpg", _jpeg(rgb, subsampling=2), rgb, LOSSY)
    yield Odd("gray.jpg", encoded(Image.fromarray(gray_of(rgb)), "JPEG", quality=95), three(gray_of(rgb)), LOSSY)
    yield Odd("huge_profile.jpg", _jpeg(rgb, icc_profile=b"p" * 3_000_000), rgb, LOSSY)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    yield Odd("odd_profile.jpg", _jpeg(rgb, icc_profile=profile), rgb, LOSSY)
    yield Odd("two_in_one.jpg", encoded(Image.fromarray(rgb), "MPO", save_all=True, append_images=[other]), rgb, 40)
    red_and_blue = np.full((16, 32, 3), (230, 20, 40), np.uint8)
    red_and_blue[:, 16:] = (20, 40, 220)
    red_and_blue[8:, :16] = (30, 200, 60)
    yield Odd("arithmetic.jpg", ARITHMETIC_JPEG, red_and_blue, LOSSY)

    inks = Image.fromarray(cmyk(rgb), "CMYK")
    adobe = encoded(inks, "JPEG", quality=98, subsampling=0)  # stored inverted, and marked as Adobe's
    at = adobe.index(b"\xff\xee")
    yield Odd("cmyk.jpg", adobe, rgb, LOSSY)
    yield Odd("cmyk_unmarked.jpg", adobe[:at] + adobe[at + 16 :], rgb, LOSSY)
    ycc = np.asarray(Image.fromarray(cmyk(rgb)[..., :3]).convert("YCbCr"))
    stored = np.concatenate([ycc, 255 - cmyk(rgb)[..., 3:]], axis=2)
    ycck = encoded(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=98, subsampling=0)
    at = ycck.index(b"Adobe") + 11
    yield Odd("ycck.jpg", ycck[:at] + b"\2" + ycck[at + 1 :], rgb, LOSSY)


def _turned(rgb: np.ndarray) -> Iterator[Odd]:
    undo = {
        1: rgb,
        2: np.fliplr(rgb),
        3: np.rot90(rgb, 2),
        4: np.flipud(rgb),
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, 1),
        7: np.rot90(rgb.transpose(1, 0, 2), 2),
        8: np.rot90(rgb, -1),
    }
    undo = {number: np.ascontiguousarray(lying) for number, lying in undo.items()}
    for number, lying in undo.items():
        yield Odd(f"turned_{number}.jpg", _jpeg(lying, exif=exif(number)), rgb, LOSSY)
    for number in (6, 7):
        lying = Image.fromarray(undo[number])
        for kind, within in (("PNG", 0), ("WEBP", 0), ("TIFF", 0), ("AVIF", LOSSY)):
            if kind in Image.SAVE:
                options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "AVIF" else {}
                content = encoded(lying, kind, exif=exif(number), **options)
                yield Odd(f"turned_{number}.{kind.lower()}", content, rgb, within)
        squeezed = encoded(lying, "TIFF", compression="tiff_lzw", tiffinfo={274: number})
        yield Odd(f"turned_{number}_lzw.tif", squeezed, rgb)
    block = png_chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
    yield Odd("turned_behind_pixels.png", png(undo[6], color=2, after=block), rgb)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    yield Odd("turned_by_xmp.png", png(undo[8], color=2, before=text), rgb)
    yield Odd("turned_by_xmp_behind.png", png(undo[8], color=2, after=text), rgb)

    plain = _jpeg(rgb)
    for number in (0, 9, 65535):
        yield Odd(f"orientation_{number}.jpg", jpeg_with(plain, 0xE1, exif(number)), rgb, LOSSY)
    whole = exif(6)
    for name, block in {
        "junk": b"Exif\0\0" + b"junk" * 99,
        "cut": whole[:-9],
        "astray": whole[:10] + b"\xff\xff\xff\x7f" + whole[14:],
        "empty": b"Exif\0\0",
    }.items():
        yield Odd(f"exif_{name}.jpg", jpeg_with(plain, 0xE1, block), rgb, LOSSY)
    yield Odd("exif_junk.png", png(rgb, color=2, before=png_chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")), rgb)
    hex_text = png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzzzz\n")
    yield Odd("exif_no_hex.png", png(rgb, color=2, before=hex_text), rgb)


def _pngs(rgb: np.ndarray) -> Iterator[Odd]:
    gray, cover, white = gray_of(rgb), alpha(rgb), half_white(rgb)
    deep, deep_gray = rgb.astype(np.uint16) * 257, gray.astype(np.uint16) * 257
    yield Odd("rgb16.png", png(deep, bits=16, color=2), rgb)
    yield Odd("gray16.png", png(deep_gray, bits=16, color=0), three(gray))
    yield Odd("rgba.png", png(np.dstack([rgb, cover]), color=6), white)
    yield Odd("rgba16.png", png(np.dstack([deep, cover * np.uint16(257)]), bits=16, color=6), white)
    yield Odd("gray_alpha.png", png(np.dstack([gray, cover]), color=4), half_white(three(gray)))
    yield Odd(
        "gray_alpha16.png",
        png(np.dstack([deep_gray, cover * np.uint16(257)]), bits=16, color=4),
        half_white(three(gray)),
    )
    half = np.full_like(cover, 128)
    laid = (rgb * (128 / 255) + 255 * (127 / 255)).round().astype(np.uint8)
    yield Odd("half_clear.png", png(np.dstack([rgb, half]), color=6), laid, 2)
    for bits in (8, 16):
        scale = 257 if bits == 16 else 1
        key = (rgb[0, 0].astype(np.uint16) * scale).astype(">u2").tobytes()
        keyed = np.where((rgb == rgb[0, 0]).all(axis=2, keepdims=True), 255, rgb).astype(np.uint8)
        samples = rgb.astype(np.uint16) * scale
        yield Odd(f"keyed_rgb{bits}.png", png(samples, bits=bits, color=2, before=png_chunk(b"tRNS", key)), keyed)
        if bits == 16:  # all but black, and not the color of 8 bits with these numbers
            key = rgb[0, 0].astype(">u2").tobytes()
            yield Odd("keyed_dark.png", png(samples, bits=bits, color=2, before=png_chunk(b"tRNS", key)), rgb)
        key = struct.pack(">H", int(gray[0, 0]) * scale)
        keyed = three(np.where(gray == gray[0, 0], 255, gray).astype(np.uint8))
        samples = gray.astype(np.uint16) * scale
        yield Odd(f"keyed_gray{bits}.png", png(samples, bits=bits, color=0, before=png_chunk(b"tRNS", key)), keyed)
    yield Odd("interlaced.png", png(rgb, color=2, interlaced=True), rgb)
    yield Odd("gamma.png", png(rgb, color=2, before=png_chunk(b"gAMA", struct.pack(">I", 100_000))), rgb)
    srgb = zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    yield Odd("profile.png", png(rgb, color=2, before=png_chunk(b"iCCP", b"sRGB\0\0" + srgb)), rgb)
    large = zlib.compress(bytes(3_000_000))
    yield Odd("huge_profile.png", png(rgb, color=2, before=png_chunk(b"iCCP", b"x\0\0" + large)), rgb)
    films = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    yield Odd("animated.png", encoded(films[0], "PNG", save_all=True, append_images=films[1:]), rgb)
    one = rgb[:1, :1]
    yield Odd("one_pixel.png", png(one, color=2), one)
    for name, hw in {"wide": (1, 5000), "tall": (5000, 1)}.items():
        yield Odd(f"{name}.png", png(scene(hw), color=2), scene(hw))


def _bit_pngs(rgb: np.ndarray) -> Iterator[Odd]:
    """One to eight bits of gray or of a palette."""
    indexed = Image.fromarray(rgb).quantize(200)
    indices, table = np.asarray(indexed), np.array(indexed.getpalette(), np.uint8).reshape(-1, 3)
    palette = png_chunk(b"PLTE", table.tobytes())
    shown = table[indices]
    yield Odd("palette.png", png(indices, color=3, before=palette), shown)
    clear = png_chunk(b"tRNS", bytes([255] * indices[0, 0] + [0]))
    keyed = np.where((indices == indices[0, 0])[..., None], 255, shown).astype(np.uint8)
    yield Odd("palette_keyed.png", png(indices, color=3, before=palette + clear), keyed)
    veiled = png_chunk(b"tRNS", bytes([128] * len(table)))
    laid = (shown * (128 / 255) + 255 * (127 / 255)).round().astype(np.uint8)
    yield Odd("palette_veiled.png", png(indices, color=3, before=palette + veiled), laid, 2)
    few = indices % 4
    yield Odd("palette2.png", png(few, bits=2, color=3, before=png_chunk(b"PLTE", table[:4].tobytes())), table[few])
    for bits in (1, 2, 4):
        levels = gray_of(rgb) >> (8 - bits)
        gray = (levels.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
        yield Odd(f"gray{bits}.png", png(levels, bits=bits, color=0), three(gray))
        key = png_chunk(b"tRNS", struct.pack(">H", int(levels[0, 0])))
        keyed = np.where(levels == levels[0, 0], 255, gray).astype(np.uint8)
        yield Odd(f"keyed_gray{bits}.png", png(levels, bits=bits, color=0, before=key), three(keyed))


def _old_formats(rgb: np.ndarray) -> Iterator[Odd]:
    image, gray = Image.fromarray(rgb), gray_of(rgb)
    indexed = image.quantize(256)
    indices, table = np.asarray(indexed), np.zeros((256, 3), np.uint8)
    own = np.array(indexed.getpalette(), np.uint8).reshape(-1, 3)
    table[: len(own)] = own
    yield Odd("24_bits.bmp", encoded(image, "BMP"), rgb)
    yield Odd("32_bits.bmp", encoded(image.convert("RGBA"), "BMP"), rgb)
    yield Odd("16_bits.bmp", bmp_565(rgb), rgb, 8)
    yield Odd("run_lengths.bmp", bmp_rle8(indices, table), table[indices])
    yield Odd("palette.bmp", encoded(indexed, "BMP"), table[indices])
    films = [indexed, Image.fromarray(255 - rgb).quantize(16)]
    yield Odd("animated.gif", encoded(films[0], "GIF", save_all=True, append_images=films[1:]), table[indices])
    keyed = np.where((indices == indices[0, 0])[..., None], 255, table[indices]).astype(np.uint8)
    yield Odd("keyed.gif", encoded(indexed, "GIF", transparency=int(indices[0, 0])), keyed)
    height, width = rgb.shape[:2]
    for white in (255, 1023, 65535):
        samples = (rgb * (white / 255)).round().astype(">u2" if white > 255 else np.uint8)
        yield Odd(f"to_{white}.ppm", b"P6 %d %d %d\n" % (width, height, white) + samples.tobytes(), rgb, 1)
        samples = (gray * (white / 255)).round().astype(">u2" if white > 255 else np.uint8)
        yield Odd(f"to_{white}.pgm", b"P5 %d %d %d\n" % (width, height, white) + samples.tobytes(), three(gray), 1)
    text = " ".join(map(str, rgb.ravel().tolist())).encode()
    yield Odd("in_text.ppm", b"P3 # a remark\n%d %d 255\n" % (width, height) + text, rgb)
    bits = " ".join(map(str, (gray < 128).astype(int).ravel().tolist())).encode()
    yield Odd("in_text.pbm", b"P1\n%d %d\n" % (width, height) + bits, three(((gray >= 128) * 255).astype(np.uint8)))
    floats = np.flipud(gray / 255).astype("<f4").tobytes()
    yield Odd("floats.pnm", b"Pf\n%d %d\n-1.0\n" % (width, height) + floats, three(gray))
    icon = Image.fromarray(np.dstack([rgb, alpha(rgb)])).resize((48, 32))
    on_white = Image.alpha_composite(Image.new("RGBA", icon.size, "white"), icon).convert("RGB")
    yield Odd("icon.ico", encoded(icon, "ICO", sizes=[(16, 16), (48, 32)]), np.asarray(on_white), 1)


def _modern_formats(rgb: np.ndarray) -> Iterator[Odd]:
    films = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    clear = Image.fromarray(np.dstack([rgb, alpha(rgb)]))
    yield Odd("lossless.webp", encoded(films[0], "WEBP", lossless=True), rgb)
    yield Odd("lossy.webp", encoded(films[0], "WEBP", quality=95), rgb, LOSSY)
    yield Odd("alpha.webp", encoded(clear, "WEBP", lossless=True), half_white(rgb))
    animated = encoded(films[0], "WEBP", lossless=True, save_all=True, append_images=films[1:])
    yield Odd("animated.webp", animated, rgb)
    if "AVIF" in Image.SAVE:
        yield Odd("good.avif", encoded(films[0], "AVIF", quality=95), rgb, LOSSY)
        yield Odd("alpha.avif", encoded(clear, "AVIF", quality=100), half_white(rgb), 40)
        animated = encoded(films[0], "AVIF", quality=95, save_all=True, append_images=films[1:])
        yield Odd("animated.avif", animated, rgb, LOSSY)
    if "JPEG2000" in Image.SAVE:
        yield Odd("good.jp2", encoded(films[0], "JPEG2000"), rgb)
        deep = Image.fromarray(gray_of(rgb).astype(np.uint16) * 257)
        yield Odd("gray16.jp2", encoded(deep, "JPEG2000"), three(gray_of(rgb)))
