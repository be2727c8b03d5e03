"""File formats: which files are images, by suffix and by content, and the content of other files in words."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from detect.media.encoding import EncodedImage

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff",
    ".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".ico",
)  # fmt: skip
RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw", ".raw")
# Images of formats that cannot be read. A folder lists them too, so that the user gets an error and not silence.
OTHER_SUFFIXES = (*RAW_SUFFIXES, ".heic", ".heif", ".jxl", ".svg", ".psd", ".eps", ".exr", ".hdr", ".tga", ".xcf")

# Pillow's name -> message for a file that begins so and cannot be opened. Pillow supports more formats, but some are
# stubs and others run a PostScript interpreter.
_FORMATS = {
    "JPEG": "a JPEG, but damaged or of a rare kind such as 12 bits a color",
    "MPO": "",  # several JPEGs in one file
    "PNG": "a PNG, but damaged",
    "WEBP": "a WebP, but damaged",
    "AVIF": "an AVIF, but damaged",
    "TIFF": "a TIFF, but damaged or of a rare kind such as 64-bit or multi-band pixels",
    "BMP": "a BMP, but damaged or of a rare kind",
    "DIB": "",
    "GIF": "a GIF, but damaged",
    "PPM": "a PPM or PGM, but damaged",
    "JPEG2000": "a JPEG 2000, but damaged",
    "ICO": "an icon, but damaged",
}
_SAME_SUFFIX = ({"JPEG", "MPO"}, {"BMP", "DIB"})
_SAVE = "; save it as JPEG or PNG"
_HEIC = f"HEIC, a format of phones{_SAVE}"
_RAW = f"camera raw{_SAVE}"
_VIDEO = "a video; use detect_video.py"
_FTYP = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIC),
    b"crx ": _RAW,
    **dict.fromkeys((b"M4A ", b"M4B "), "sound"),
}
# (first bytes, format): a key of _FORMATS, or words for the user.
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0\x10\0\0\0CR", _RAW),
    *((start, "TIFF") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    *((b"P%d" % n + space, "PPM") for n in range(1, 7) for space in (b"\n", b"\r", b" ", b"\t")),
    *((start, "PPM") for start in (b"Pf\n", b"PF\n")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\1\0", "ICO"),
    *((start, _RAW) for start in (b"IIRO", b"IIRS", b"IIU\0", b"FUJIFILMCCD-RAW")),
    (b"\xff\x0a", f"JPEG XL{_SAVE}"),
    (b"\0\0\0\x0cJXL ", f"JPEG XL{_SAVE}"),
    (b"8BPS", f"a Photoshop document{_SAVE}"),
    (b"%!PS", f"PostScript{_SAVE}"),
    (b"\xc5\xd0\xd3\xc6", f"PostScript{_SAVE}"),
    (b"%PDF-", f"a PDF document{_SAVE}"),
    (b"v/1\x01", f"OpenEXR{_SAVE}"),
    (b"#?RADIANCE", f"Radiance HDR{_SAVE}"),
    (b"\x1a\x45\xdf\xa3", _VIDEO),  # Matroska and WebM
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the image itself with 'git lfs pull'"),
)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # sizes in bytes of the second header
# The same for text, in lower case and without leading space.
_TEXT_SIGNATURES = (
    (b"<!doctype html", "a web page, perhaps from a failed download"),
    (b"<html", "a web page, perhaps from a failed download"),
    (b"<svg", f"SVG, a drawing{_SAVE}"),
    (b"<?xml", "XML or SVG"),
)


def readable_formats() -> list[str]:
    """Return Pillow's names of the supported formats that this build of Pillow can read."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def begins_as_image(path: Path | EncodedImage) -> bool:
    """Return whether a file begins like a supported image format, whatever its name."""
    return _what_begins(_head(path)) in ("AVIF", "WEBP", *_FORMATS)


def begins_as_video(path: Path | EncodedImage) -> bool:
    """Return whether a file begins like a video container that holds its frames (and not a playlist)."""
    with path.open("rb") as file:
        head = file.read(400)
    if head[4:8] == b"ftyp":  # images of phones begin so too
        return _what_begins(head) == _VIDEO
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):  # MP4 and QuickTime
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    starts = (b"\x1a\x45\xdf\xa3", b"OggS", b"FLV\x01", b"\0\0\1\xba", b"\0\0\1\xb3")
    is_mpeg_stream = head[:1] == head[188:189] == head[376:377] == b"G" and not head.startswith(b"GIF8")
    return head.startswith(starts) or is_mpeg_stream


def content_in_words(path: Path | EncodedImage) -> str:
    """Return what a file holds that Pillow cannot open, for a message: ``a PDF document``; '' when unknown."""
    head = _head(path)
    found = _what_begins(head)
    if found in _FORMATS:
        is_readable = found in readable_formats()
        return _FORMATS[found] if is_readable else f"{found}, which this build of Pillow does not support"
    if not found and head and all(byte in b"\t\n\r\f" or byte >= 32 for byte in head) and b"\x7f" not in head:
        return "text"
    return found


def _head(path: Path | EncodedImage) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _what_begins(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return _FTYP.get(head[8:12], _VIDEO)
    if head[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": _VIDEO, b"WAVE": "sound"}.get(head[8:12], "")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") not in _BMP_HEADERS:  # rather a text
        return ""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    known = [words for start, words in _SIGNATURES if head.startswith(start)]
    known += [words for start, words in _TEXT_SIGNATURES if text.startswith(start)]
    return known[0] if known else ""


def suits(suffix: str, form: str) -> bool:
    """Return whether ``suffix`` fits a file of Pillow's format ``form``; no suffix fits every format."""
    expected = Image.registered_extensions().get(suffix.lower())
    return not suffix or expected == form or {expected, form} in _SAME_SUFFIX


def usual_suffix(form: str) -> str:
    """Return the usual suffix of Pillow's format ``form``, or "" for an unknown one."""
    usual = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}
    return usual.get(form, f".{form.lower()}" if form in _FORMATS else "")
