"""Reading and writing pictures: the only place that knows EXIF, colour modes and file formats.

Everywhere else a picture is uint8 RGB [H, W, 3], upright.
"""

from __future__ import annotations

import glob
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from detect.errors import MediaError
from detect.files import replacing

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
    ".jfif",
    ".avif",
)
JPEG_QUALITY = 92
MAX_PIXELS = 178_956_970  # Pillow's own guard: half a GiB as RGB

_ORIENTATION_TAG = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width

ImageFile.LOAD_TRUNCATED_IMAGES = False  # a half picture must be an error, not a grey half
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns there and refuses twice as much
# Odd metadata is not the user's to mend. Once and for all, since catch_warnings is not safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path) -> np.ndarray:
    """The picture at ``path``, uint8 RGB [H, W, 3], turned as its EXIF orientation says.

    Transparent pixels are laid on white; 16-bit grey is scaled to 8; an animation gives its first frame.
    Raises MediaError for a file that is missing, no picture, truncated or absurdly large.
    """
    with _opened(path) as image:
        turned = ImageOps.exif_transpose(image)
        return np.array(_to_rgb(turned), dtype=np.uint8)  # a copy: contiguous and writable


def image_hw(path: Path) -> tuple[int, int]:
    """(height, width) as ``read_image`` would give it, without decoding a pixel. Raises MediaError."""
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION_TAG) in _TURNED
        return (width, height) if turned else (height, width)


def find_images(source: str) -> list[Path]:
    """The pictures that ``source`` means, sorted by path, each once.

    A file is taken whatever its suffix. A folder gives the pictures directly in it. Else ``source`` is a
    pattern, ``input/*.jpg`` or, for sub-folders too, ``input/**/*.jpg``, and gives the pictures it matches.
    Hidden files are passed over. Raises MediaError where nothing is found.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = _pictures(path.iterdir())
        if not found:
            raise MediaError(f"no picture in the folder {source} (looked for {', '.join(SUFFIXES)})")
        return found
    if not glob.has_magic(source):
        raise MediaError(f"no such file or folder: {source}")
    found = _pictures(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise MediaError(f"no picture matches {source} (looked for {', '.join(SUFFIXES)})")
    return found


def write_image(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 RGB [H, W, 3] in the format of ``path``'s suffix; a reader never sees half a file.

    Raises MediaError for an unknown suffix and for a folder that cannot be written.
    """
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise MediaError(f"cannot write {path}: no picture format has the suffix '{path.suffix}'")
    try:
        with replacing(path) as temporary:
            Image.fromarray(rgb).save(temporary, quality=JPEG_QUALITY)
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The opened picture; whatever Pillow makes of a bad file becomes one MediaError."""
    try:
        with Image.open(path) as image:
            yield image
    except Image.DecompressionBombError:
        raise MediaError(f"{path} claims more than {MAX_PIXELS:,} pixels; make it smaller first") from None
    except UnidentifiedImageError:
        raise MediaError(f"{path} is not a picture that can be read") from None
    except FileNotFoundError:
        raise MediaError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise MediaError(f"{path} is a folder, not a picture") from None
    # Pillow's decoders raise all of these on damaged files.
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        TypeError,
        RuntimeError,
        struct.error,
    ) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"cannot read {path}: damaged or truncated picture ({reason})") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling
        grey = np.asarray(image, dtype=np.float64)
        return Image.fromarray((grey / 257).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("32-bit floating-point pixels have no known range")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _pictures(paths: Iterator[Path]) -> list[Path]:
    return sorted({p for p in paths if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file()})
