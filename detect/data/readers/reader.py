"""The interface of a reader, and the view of a file by which readers recognize their format."""

from __future__ import annotations

import csv
import json
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from detect.data.file_listing import FileListing
from detect.data.readers.parsing import first_csv_line, text_encoding
from detect.data.unvalidated_split import UnvalidatedSplit

if TYPE_CHECKING:
    from detect.data.discovery.image_folders import Source

HEAD_BYTES = 4096  # read from the beginning of a file to recognize its format
CSV_DELIMITERS = (",", ";", "\t", "|")


class AnnotationFile:
    """A file that may hold annotations. What several readers examine is read only once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.suffix = path.suffix.lower()

    @cached_property
    def head(self) -> bytes:
        """The first 4096 bytes."""
        with self.path.open("rb") as file:
            return file.read(HEAD_BYTES)

    @cached_property
    def head_text(self) -> str:
        """The first 4096 bytes as text."""
        return self.head.decode(text_encoding(self.head), errors="replace")

    @cached_property
    def first_line(self) -> str:
        """The first line of a CSV file that is not empty."""
        return first_csv_line(self.head_text.splitlines())[0]

    @cached_property
    def json_object(self) -> dict[str, bytes | memoryview]:
        """Keys of the top-level JSON object with the JSON of their values; empty for a list.

        Raises ValueError when the file is not JSON.
        """
        with self.path.open("rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # lives as long as the values
        try:
            values = msgspec.json.decode(memoryview(text), type=dict[str, msgspec.Raw])
            return {key: memoryview(value) for key, value in values.items()}
        except msgspec.ValidationError:
            return {}
        except msgspec.DecodeError:  # NaN or a byte order mark, which Python's parser accepts
            content = json.loads(self.path.read_text(encoding="utf-8-sig"))
            return {k: json.dumps(v).encode() for k, v in content.items()} if isinstance(content, dict) else {}

    @cached_property
    def csv_columns(self) -> list[set[str]]:
        """Lower-case column names of the first line, split at each delimiter."""
        rows = (next(csv.reader([self.first_line], delimiter=delimiter), []) for delimiter in CSV_DELIMITERS)
        return [{name.strip().lstrip("#").lower() for name in row} for row in rows]


@dataclass(frozen=True)
class Reader:
    """How one annotation format is recognized and read.

    Attributes:
        title: str, the format in messages, such as "COCO JSON".
        suffixes: lower-case suffixes of its annotation files.
        recognize: function of an ``AnnotationFile`` with one of the suffixes; returns whether it has this format.
            It may raise ValueError or OSError for a file that cannot be parsed.
        parse: function (images, annotations, classes) -> ``UnvalidatedSplit``.
            images: Path, folder of the images.
            annotations: Path, the annotation file, or the folder of the annotation files.
            classes: class names from the description of the dataset, or None.
            Raises DataError for input that does not have the format at all. A single invalid annotation becomes a
            skipped entry of the result. Values are checked later, in ``detect.data.validation``.
        sample_image_names: for a format with one annotation file for many images: function that yields some image
            names of such a file, so that the folder of the images can be found. None for a format with one
            annotation file per image.
        needs_matching_image: bool, whether a file counts only if an image has the same name except for the suffix,
            because files of other kinds look the same.
        embeds_images: bool, whether annotation files may hold the images, so that image files are not needed.
        find_sources: for a format whose images are not found by the names of its annotation files: function
            (annotation files, listing) -> the sources in a folder. A format without ``suffixes`` consists of images;
            it is recognized by its sources, [] for a folder without them.
        find_classes: for a format whose annotations hold class numbers: function that returns the class names, found
            in a folder. Raises DataError when they are missing.
        declared_splits: function (names, images, listing) -> {split: names of its images} for splits that are
            declared in files of the folder; {} without such files. ``names`` are the annotated images, relative to
            the folder ``images``, which is relative to ``listing.folder``.
        splits_source: str, where ``declared_splits`` found the splits, for messages.
    """

    title: str
    suffixes: tuple[str, ...]
    recognize: Callable[[AnnotationFile], bool]
    parse: Callable[[Path, Path, Sequence[str] | None], UnvalidatedSplit]
    sample_image_names: Callable[[Path], Iterator[str]] | None = None
    needs_matching_image: bool = False
    embeds_images: bool = False
    find_sources: Callable[[Sequence[PurePosixPath], FileListing], list[Source]] | None = None
    find_classes: Callable[[FileListing], tuple[str, ...]] | None = None
    declared_splits: Callable[[Sequence[str], PurePosixPath, FileListing], dict[str, set[str]]] | None = None
    splits_source: str = ""

    @property
    def one_file_per_split(self) -> bool:
        """Whether one annotation file describes many images; otherwise each image has its own annotation file."""
        return self.sample_image_names is not None
