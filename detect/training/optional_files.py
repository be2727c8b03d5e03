"""Files of a run that training does not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detect.errors import DetectError
from detect.progress import warn


@contextmanager
def optional_file(path: Path) -> Iterator[None]:
    """Report an error of the block, which writes ``path``, as a warning, so that the training continues."""
    try:
        yield
    except DetectError as error:  # such as for a full disk; its message names the file
        warn(f"{error}; training does not need {path.name}")
    except Exception as error:
        warn(f"cannot write {path}: {type(error).__name__}: {error}; training does not need it")
