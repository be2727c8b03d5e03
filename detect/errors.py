"""Exceptions of the toolkit.

    DetectError                 base class; the programs print one line on stderr and exit with status 2
    ├── UsageError              a setting, name or YAML key that does not exist or does not fit
    ├── MediaError              an image or a video that cannot be read or written
    ├── DataError               a dataset whose annotations, images or splits are invalid
    ├── CheckpointError         a file that is not a checkpoint, is too new, or does not fit the task
    ├── FetchError              a download that failed
    ├── DiskError               a file that cannot be written: a full or read-only disk
    ├── TrainingError           training that cannot continue, such as a loss that is not finite
    │   └── LostProcessError    another process of the same program has ended
    └── ExportLossError         an exported model that lost more accuracy than allowed; exit status 4

Any other exception is a bug of the toolkit; the programs show its traceback and exit with status 1.
"""

from __future__ import annotations


class DetectError(Exception):
    """Base class of errors that the user can fix.

    The message says what is wrong, where (file, image, annotation, setting), the value, and what would be right.

    is_explained: whether another process of the same program prints its message, so that this one need not.
    problem: the message without its end that says how to continue a training; "" if it has no such end.
    """

    is_explained = False
    problem = ""


class UsageError(DetectError):
    """A setting, a name or a YAML key that does not exist or does not fit."""


class MediaError(DetectError):
    """An image or a video that cannot be read or written."""


class DataError(DetectError):
    """A dataset whose annotations, images or splits are invalid or contradict each other."""


class CheckpointError(DetectError):
    """A file that is not a checkpoint, was written by a newer version, or does not fit the task."""


class FetchError(DetectError):
    """A download that failed."""


class DiskError(DetectError):
    """A file that cannot be written: the disk is full or read-only, or another user owns the folder."""


class TrainingError(DetectError):
    """Training that cannot continue."""


class LostProcessError(TrainingError):
    """Another process of the same program has ended."""


class ExportLossError(DetectError):
    """An exported model that lost more accuracy than allowed."""
