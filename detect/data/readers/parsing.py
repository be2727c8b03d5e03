"""Functions that several readers share: files, checked dictionary access, names of images."""

from __future__ import annotations

import codecs
import csv
import json
import math
import mmap
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TextIO, TypeVar
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse as parse_xml

from detect.data.file_listing import images_below, is_file, without_suffix
from detect.data.image_names import folders_differ, folders_that_matter
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError, MediaError
from detect.media.images import image_hw

SAMPLED = 200  # lines, entries or file names of one annotation file that ``Reader.sample_image_names`` examines
MAX_CELL_CHARACTERS = 1 << 24  # a polygon of a million points; the default limit of csv, 1 << 17, is about 10,000
COORDINATES = ("xmin", "ymin", "xmax", "ymax")

_TYPE_WORDS = {int: "a whole number", str: "text", list: "a list", dict: "a dict"}
WEB_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[^\\/:.][^\\/:]*(/[^\\/:.][^\\/:]*)*")
_FILE_NAME_IN_JSON = re.compile(rb'"file_?name"\s*:\s*("(?:[^"\\]|\\.)*")')
_NO_OBJECT_NAMES = frozenset(
    ("", "background", "bg", "none", "null", "nan", "na", "noobject", "noobjects", "nofinding", "negative", "empty")
)
_T = TypeVar("_T")


@contextmanager
def _errors_naming(path: Path, form: str, *invalid: type[Exception]) -> Iterator[None]:
    """Turn OSError and the exceptions ``invalid`` into a DataError that names the annotation file.

    form: the expected format, for messages.
    invalid: types of exceptions that mean that the file has another format.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"no such annotation file: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except invalid as error:
        raise DataError(f"{path} is not {form}: {error}") from None


def load_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises DataError, with the position of a syntax error."""
    with _errors_naming(path, "JSON", ValueError, RecursionError):  # numbers of thousands of digits, deep nesting
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # some Windows programs write a byte order mark
    return content


def load_xml(path: Path) -> Element:
    """Return the root of an XML file. Raises DataError; a file that defines entities is refused."""
    try:
        root: Element = parse_xml(path).getroot()
    except (ParseError, DefusedXmlException, OSError, ValueError, LookupError) as error:  # Lookup: unknown encoding
        raise DataError(str(error)) from None
    return root


def first_list_item(path: Path) -> Any:
    """Return the first item of a JSON file that holds a list, None for an empty list and other content.

    The other items are located, not decoded. Raises ValueError when the file is not JSON.
    """
    content: Any
    try:
        content = msgspec.json.decode(path.read_bytes(), type=list[msgspec.Raw])
        return msgspec.json.decode(content[0]) if content else None
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:  # NaN or a byte order mark, which Python's parser accepts
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return content[0] if content and isinstance(content, list) else None


@contextmanager
def open_csv(path: Path) -> Iterator[TextIO]:
    """Open a CSV file for reading. Raises DataError when it cannot be read, also for csv errors in the block.

    The encoding is UTF-8, or UTF-16 with a byte order mark, as Excel writes it.
    """
    # The limit is a setting of the process: raise it, never lower it.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARACTERS))
    with (
        _errors_naming(path, "CSV in UTF-8 (in Excel, save it as 'CSV UTF-8')", UnicodeError),
        _errors_naming(path, "CSV", csv.Error),
        path.open(encoding=_encoding_of(path), newline="") as file,
    ):
        yield file


def _encoding_of(path: Path) -> str:
    with path.open("rb") as file:
        return text_encoding(file.read(2))


def text_encoding(head: bytes) -> str:
    """Return the encoding of a text file by its first bytes: UTF-16 with a byte order mark, else UTF-8."""
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def first_csv_line(lines: Iterable[str]) -> tuple[str, int]:
    """Return the first line of a CSV file that is not empty, and its number; ("", 0) without one.

    The line ``sep=;``, which tells Excel the delimiter, is skipped.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lower().startswith("sep="):
            return line, number
    return "", 0


def read_annotation_files(
    builder: UnvalidatedSplitBuilder,
    files: Sequence[str],
    load: Callable[[Path], _T | None],
    none_found: str,
    images_of: Callable[[str], Iterable[str]] = lambda file: (without_suffix(file),),
) -> Iterator[tuple[str, _T, str]]:
    """Yield each file of a format with one annotation file per image, its content, and the image of the same name.

    The name of the image is "" if there is none. An image in another subfolder counts if no other has its name. Files
    for which ``load`` raises DataError are recorded as unreadable.
    After the last file, images that were not added to ``builder`` are recorded as unannotated.

    files: paths relative to the folder of the annotations.
    load: function that returns the content, or None for a file of another kind.
    none_found: message of the DataError that is raised when no file adds an image.
    images_of: function that returns the names that the image of a file may have, with or without suffix.
    """
    image_names = images_below(builder.images)
    image_of = {key: name for name in reversed(image_names) for key in (without_suffix(name), name)}
    unreadable = set()
    elsewhere = match_stems(files, image_names)
    for file in files:
        same_name = next((image_of[name] for name in images_of(file) if name in image_of), elsewhere.get(file, ""))
        try:
            content = load(builder.annotations / file)
        except DataError as error:
            problem = str(error).removeprefix(f"{builder.annotations / file} ")
            builder.skip_file("unreadable_annotations", file, problem)
            unreadable.add(same_name)  # so that only one problem is reported
            continue
        if content is not None:
            yield file, content, same_name
    if not builder.names and not unreadable:
        raise DataError(none_found)
    annotated = unreadable.union(builder.names)
    for name in image_names:
        if name not in annotated:
            builder.skip("unannotated_image", Location(name, "", ""))


def match_stems(files: Iterable[str], image_names: Iterable[str]) -> dict[str, str]:
    """Return {annotation file: image} for images in another subfolder than their file.

    Where several folders have images of one name, a file in one of these folders does not belong to another one.

    Both are relative paths. A name without suffix must be unique among the images, and among the files; the file may
    also have the name of the image with its suffix, such as a.jpg.json.
    """
    files_of: dict[str, list[str]] = defaultdict(list)
    images_of: dict[str, list[str]] = defaultdict(list)
    for file in files:
        files_of[PurePosixPath(without_suffix(file)).name].append(file)
    images = list(image_names)
    for image in images:
        for name in (PurePosixPath(without_suffix(image)).name, PurePosixPath(image).name):
            images_of[name].append(image)
    folders = folders_that_matter(images)
    return {
        same[0]: images_of[stem][0]
        for stem, same in files_of.items()
        if len(same) == 1 == len(images_of.get(stem, ())) and not folders_differ(same[0], images_of[stem][0], folders)
    }


def is_number(text: str) -> bool:
    """Return whether ``text`` is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def json_number(value: Any) -> float | None:
    """Return a number of a JSON file as a float, infinity for an integer too large for one; None for other types."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON allows integers of any length
        return math.inf


def parse_number(key: str, text: str) -> float:
    """Return ``text``, the value of ``key``, as a number. Raises InvalidEntryError."""
    try:
        return float(text)
    except ValueError:
        raise InvalidEntryError("malformed_object", f"{key} is {text[:60]!r}; expected a number") from None


def whole_size(height: str, width: str) -> tuple[int, int]:
    """Return (height, width) in pixels from two texts, (0, 0) unless both are positive whole numbers."""
    valid = height.isdecimal() and width.isdecimal() and max(len(height), len(width)) < 9
    return (int(height), int(width)) if valid and int(height) and int(width) else (0, 0)


def size_on_disk(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image file, EXIF orientation applied; (0, 0) if it cannot be read."""
    try:
        return image_hw(path)
    except MediaError:  # reported when the images are checked
        return 0, 0


def is_no_object(class_name: str, box: Sequence[float] | None) -> bool:
    """Return whether an object only says that its image has no objects, as some programs and people write it.

    class_name: as written, "" if there is none.
    box: four numbers as written, in any format; None if there are none.

    Four times -1 says so with any class. All zeros, all NaN, and no box say so with a class such as "background" or
    "none".
    """
    if box is not None and all(number == -1 for number in box):
        return True
    if box is not None and any(number != 0 and not math.isnan(number) for number in box):
        return False
    return re.sub(r"[\W_]+", "", class_name.casefold()) in _NO_OBJECT_NAMES


def require(entry: Any, key: str, where: str, kind: type | None = None) -> Any:
    """Return ``entry[key]``. Raises DataError that names the location and the key when it is missing or mistyped.

    where: location of the entry, the beginning of the message.
    kind: int, str, list or dict, the required type. The float 3.0 is accepted as the int 3; True is not an int.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where} is a {type(entry).__name__}; expected a dict with the key '{key}'")
    if key not in entry:
        raise DataError(f"{where} lacks the key '{key}'")
    value = entry[key]
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is int and isinstance(value, int) and abs(value) >= 2**63:
        raise DataError(f"{where}: '{key}' is {value}, it should fit into 64 bits")
    if kind and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise DataError(f"{where}: '{key}' is {str(value)[:60]!r}; expected {_TYPE_WORDS[kind]}")
    return value


def image_name(images: Path, written: str) -> str:
    """Return the file name, relative to the folder ``images``, of an image that an annotation file names.

    The annotations may come from another machine. A web address, and a name whose file exists, is used unchanged.
    Otherwise backslashes become forward slashes, and of an absolute path only its longest end that exists counts, or
    the last part. The disk is accessed only for names with backslashes or a root, because a COCO file may list 118,000
    images.
    """
    if _PLAIN_NAME.fullmatch(written) or WEB_ADDRESS.match(written):
        return written
    path = PureWindowsPath(written)  # splits at both kinds of slash
    if (path.anchor or "\\" in written) and is_file(images / written):
        return Path(written).as_posix()
    if not path.anchor:
        return path.as_posix()
    ends = (PureWindowsPath(*path.parts[i:]).as_posix() for i in range(1, len(path.parts)))
    return next((end for end in ends if is_file(images / end)), path.name)


def sample_image_names(annotations: Path) -> Iterator[str]:
    """Yield some image names of a CSV file, whose first column they are, or of a JSON file with keys ``file_name`` or
    ``filename``.

    The file is searched, not parsed.
    """
    if annotations.suffix.lower() == ".csv":
        with annotations.open(encoding=_encoding_of(annotations), errors="replace") as lines:
            for line in islice(lines, SAMPLED):
                yield line.partition(",")[0].strip().strip('"')
        return
    with annotations.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for match in islice(_FILE_NAME_IN_JSON.finditer(text), SAMPLED):
            try:
                yield json.loads(match[1])
            except ValueError:  # invalid UTF-8, reported when the file is parsed
                continue
