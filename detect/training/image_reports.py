"""Warnings about damaged and missing images: one line per kind and epoch, which later epochs do not repeat."""

from __future__ import annotations

from detect import distributed
from detect.data.image_problems import ImageProblems
from detect.progress import warn


class ImageReports:
    """Warns about the images of a run that could not be read completely.

    num_train: number of training images.
    """

    def __init__(self, num_train: int) -> None:
        self._num_train = num_train
        self._known = ImageProblems()

    def trained(self, epoch: int, problems: ImageProblems) -> None:
        """Warn about training images of ``epoch``, from 1, over all processes.

        Raises DataError if more than half of them cannot be read.
        """
        everywhere = ImageProblems()
        for part in distributed.all_gather(problems):
            everywhere.update(part)
        everywhere.check(self._num_train, "training images")
        self._warn_once(f"epoch {epoch}", everywhere, "replaced by other images")

    def validated(self, epoch: int, problems: ImageProblems) -> None:
        """Warn about val images of ``epoch``, from 1; ``problems`` are the same in all processes."""
        self._warn_once(f"epoch {epoch}, val", problems, "left out")

    def _warn_once(self, when: str, problems: ImageProblems, outcome: str) -> None:
        for line in problems.without(self._known).lines(outcome):
            warn(f"{when}: {line}")
        self._known.update(problems)
