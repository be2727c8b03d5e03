"""Files that ship with the toolkit: bundled weights, dataset descriptions and sample images.

A checkout keeps them in weights/, datasets/ and input/. The wheel carries a copy in ``detect/_resources`` (see
setup.py), so that an installed package finds them too. Nothing is ever written there.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_PACKAGE = Path(str(files("detect")))
_SHIPPED = _PACKAGE / "_resources"  # exists in an installed package only


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder, such as ``weights/balloon.safetensors``; it may not exist."""
    return (_SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent) / name


def datasets_folder() -> Path:
    """Return the folder for datasets that are downloaded or rendered, which may not exist yet.

    This is ``datasets/`` of the checkout, or ``datasets/`` of the current folder for an installed package.
    """
    return (Path.cwd() if _SHIPPED.is_dir() else _PACKAGE.parent) / "datasets"
