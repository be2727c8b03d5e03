"""Values of a pickle that are no plain ones: names of classes, and objects of classes that are not known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class PickleError(ValueError):
    """A pickle that is damaged, or built to harm the reader."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names, such as ``torch.FloatStorage``."""

    name: str


@dataclass(slots=True)
class Opaque:
    """An object of a class that is not known here; the class is neither imported nor called.

    Attributes:
        name: full name of its class, or of the function that made it.
        state: what the pickle stores as its attributes, usually a dict.
        entries: its items, if its class is derived from dict.
    """

    name: str
    state: Any = None
    entries: dict[Any, Any] | None = None


def as_dict(value: Any) -> dict[Any, Any]:
    """Return the items of a dict, or of an object of a class derived from dict; {} for anything else."""
    if isinstance(value, Opaque):
        return value.entries or {}
    return value if isinstance(value, dict) else {}


def attributes(value: Any) -> dict[Any, Any]:
    """Return the attributes of an object; {} for anything else, and for an object that stores them differently."""
    return value.state if isinstance(value, Opaque) and isinstance(value.state, dict) else {}
