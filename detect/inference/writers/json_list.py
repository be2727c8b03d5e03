"""A file with a JSON list that grows by one entry per line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from detect.inference.writers.base import Part


class JsonList:
    """Encodes the entries of a list one after another, so that they need not stay in memory."""

    def __init__(self, name: str) -> None:
        """name: of the file. It does not exist until ``add`` is called."""
        self._name = name
        self._is_begun = self._has_entries = False

    def add(self, entries: Iterable[dict[str, Any]]) -> list[Part]:
        """Return the text of the next entries, which may be none."""
        texts = [] if self._is_begun else ["["]
        for entry in entries:
            texts.append(f"{',' if self._has_entries else ''}\n{json.dumps(entry, ensure_ascii=False)}")
            self._has_entries = True
        self._is_begun = True
        # A file name may hold bytes that are not text; JSON's escapes for them are written as Python's are.
        return [Part(self._name, "".join(texts).encode(errors="backslashreplace"))] if texts else []

    def finish(self) -> list[Part]:
        """Return the end of the list."""
        return [Part(self._name, b"\n]\n")] if self._is_begun else []
