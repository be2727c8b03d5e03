"""Import of the libraries that run exported models, which are optional."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from detect.errors import UsageError
from detect.runtime import hide_gpu_warning

EXTRA = 'python -m pip install -r requirements-export.txt, or the extra: python -m pip install ".[export]"'


def import_runtime(package: str, needed_by: Path | str) -> Any:
    """Return the module of an optional package. Raises UsageError with the command that installs it.

    needed_by: model or setting that needs it, for the message.
    """
    if package == "nncf":
        hide_gpu_warning()
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(f"{needed_by} needs the package {package} ({error}): {EXTRA}") from None
