"""JSON files with an entry per image, and JSON Lines files with a line per frame."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


class JsonList:
    """Encodes the entries of a list one after another, so that they need not stay in memory."""

    def __init__(self, name: str, opening: str = "[", closing: str = "]") -> None:
        """name: of the file, which does not exist until ``add`` is called.  opening, closing: text around entries."""
        self._name = name
        self._opening, self._closing = opening, closing
        self._is_begun = self._has_entries = False

    def add(self, entries: Iterable[Any]) -> list[Part]:
        """Return the text of the next entries, which may be none."""
        texts = [] if self._is_begun else [self._opening]
        for entry in entries:
            texts.append(f"{',' if self._has_entries else ''}\n{_text(entry)}")
            self._has_entries = True
        self._is_begun = True
        # A file name may hold bytes that are not text; JSON's escapes for them are written as Python's are.
        return [Part(self._name, "".join(texts).encode(errors="backslashreplace"))] if texts else []

    def finish(self) -> list[Part]:
        """Return the end of the list."""
        return [Part(self._name, f"\n{self._closing}\n".encode())] if self._is_begun else []


class ListWriter(Writer):
    """Writes ``STEM.json`` with a list of one entry per image, each on a line of its own, or ``STEM.jsonl`` with a
    line per frame of a video.

    ending: what follows the stem in the names of the files.  opening, closing: text around the entries of images.
    """

    ending: ClassVar[str] = ""
    opening: ClassVar[str] = "["
    closing: ClassVar[str] = "]"

    def __init__(self, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> None:
        super().__init__(class_names, stem, mask_format)
        self._list = JsonList(f"{stem}{self.ending}.json", self.opening, self.closing)

    @abstractmethod
    def entry(self, source: Source, detections: Detections) -> Any:
        """Return the entry of an image or frame, ready for JSON."""

    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        entry = self.entry(source, detections)
        if source.frame is None:
            return self._list.add([entry])
        return [Part(f"{self.stem}{self.ending}.jsonl", f"{_text(entry)}\n".encode())]

    def finish(self) -> Iterable[Part]:
        return self._list.finish()


def _text(entry: Any) -> str:
    return json.dumps(entry, ensure_ascii=False)
