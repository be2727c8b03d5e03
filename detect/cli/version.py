"""What ``--version`` prints: the versions of the package, of torch and torchvision, and of Python."""

from __future__ import annotations

import platform
from importlib import metadata

import detect


def versions() -> str:
    """Return ``detect 0.2.0, torch 2.9.0, torchvision 0.24.0, Python 3.12.3``, without importing torch."""
    libraries = ", ".join(f"{name} {_installed(name)}" for name in ("torch", "torchvision"))
    return f"detect {detect.__version__}, {libraries}, Python {platform.python_version()}"


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
