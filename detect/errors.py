"""The errors that are a user's to mend, and the words that help to mend them.

    DetectError                 one clear line on stderr, exit status 2
    ├── UsageError              a flag, a name or a YAML key that does not exist or does not fit
    ├── MediaError              an image or a video that cannot be read or written
    ├── DataError               a dataset: annotations, images, splits
    ├── CheckpointError         a checkpoint that is not one, is too new, or does not fit
    ├── FetchError              something that had to be downloaded and could not be
    ├── DiskError               a file that cannot be written: a full or read-only disk
    └── TrainingError           training that cannot go on (a loss that is not finite)

Anything else that escapes a script is our bug and shows its traceback (exit status 1).
"""

from __future__ import annotations


class DetectError(Exception):
    """Something the user can mend. The message says what, where, the value, and what would be right."""


class UsageError(DetectError):
    """A flag, a name or a YAML key that does not exist or does not fit."""


class MediaError(DetectError):
    """An image or a video that cannot be read or written."""


class DataError(DetectError):
    """Annotations, images or splits of a dataset that do not hold together."""


class CheckpointError(DetectError):
    """A file that is not a checkpoint, is newer than this program, or does not fit the task."""


class FetchError(DetectError):
    """Something that had to be downloaded and could not be."""


class DiskError(DetectError):
    """A file that cannot be written: a full or read-only disk, or a folder that is another's."""


class TrainingError(DetectError):
    """Training that cannot go on."""
