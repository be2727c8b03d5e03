"""Files that ship with the toolkit: bundled weights, dataset descriptions and sample images.

A checkout keeps them in weights/, datasets/ and input/. The wheel carries a copy in ``detect/_resources`` (see
setup.py), so that an installed package finds them too. Nothing is ever written there.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_PACKAGE = Path(str(files("detect")))
_CHECKOUT = _PACKAGE.parent
_IS_CHECKOUT = (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "weights").is_dir()


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder, such as ``weights/balloon.safetensors``; it may not exist."""
    return (_CHECKOUT if _IS_CHECKOUT else _PACKAGE / "_resources") / name


def datasets_folder() -> Path:
    """Return the folder for datasets that are downloaded or rendered, which may not exist yet.

    This is ``datasets/`` of the checkout, or ``datasets/`` of the current folder for an installed package.
    """
    return (_CHECKOUT if _IS_CHECKOUT else Path.cwd()) / "datasets"
