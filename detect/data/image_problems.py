"""Images of a dataset that turn out to be damaged or missing while they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from detect.errors import DataError
from detect.text import counted, first_few

HINT = "; doctor.py check finds all such images, doctor.py fix removes them"
GONE = "; its folder is gone: is the disk or network folder connected?"


class UnreadableImageError(DataError):
    """Raised for an image that cannot be read or has another size than annotated.

    Attributes:
        index: int, of the image in its dataset; -1 if unknown.
    """

    index = -1


@dataclass
class ImageProblems:
    """Images that could not be read completely.

    Attributes:
        truncated: files of which only a part could be decoded, which was used.
        unreadable: {file: error message} of the images that were not used.
    """

    truncated: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)

    def add_truncated(self, path: Path) -> None:
        self.truncated.add(str(path))

    def add_unreadable(self, path: Path, error: Exception) -> None:
        self.unreadable[str(path)] = str(error).removesuffix(HINT)

    def update(self, other: ImageProblems) -> None:
        """Add the problems of ``other``."""
        self.truncated |= other.truncated
        self.unreadable |= other.unreadable

    def take(self) -> ImageProblems:
        """Return the problems so far, and forget them."""
        taken = ImageProblems(self.truncated, self.unreadable)
        self.truncated, self.unreadable = set(), {}
        return taken

    def without(self, known: ImageProblems) -> ImageProblems:
        """Return the problems that are not in ``known``."""
        unreadable = {file: text for file, text in self.unreadable.items() if file not in known.unreadable}
        return ImageProblems(self.truncated - known.truncated, unreadable)

    def check(self, total: int, what: str) -> None:
        """Raise DataError if more than half of ``total`` images, such as "training images", cannot be read."""
        if len(self.unreadable) > total / 2:
            texts = _with_hint(first_few(self.unreadable.values(), 1))
            raise DataError(f"{len(self.unreadable)} of {total} {what} cannot be read: {texts}")

    def lines(self, outcome: str) -> Iterator[str]:
        """Yield one line for each of the two kinds that occurs.

        outcome: what became of unreadable images, such as "left out".
        """
        if self.truncated:
            one = len(self.truncated) == 1
            images = f"{counted(len(self.truncated), 'image')} {'is' if one else 'are'} truncated"
            used = f"the part that could be decoded {'is' if one else 'of each is'} used"
            yield f"{images}, and {used}: {first_few(sorted(self.truncated), 3)}"
        if self.unreadable:
            one = len(self.unreadable) == 1
            images = f"{counted(len(self.unreadable), 'image')} cannot be read and {'is' if one else 'are'} {outcome}"
            yield f"{images}: {_with_hint(first_few([self.unreadable[file] for file in sorted(self.unreadable)], 2))}"


def _with_hint(texts: str) -> str:
    """Return messages with HINT, unless they say that a folder is gone, whose images must not be removed."""
    return texts if GONE in texts else texts + HINT
