"""The type of a fitted default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class FittedDefault(Generic[T]):
    """Default that was fitted to the dataset or the machine.

    value: of the setting.  reason: one clause with the numbers that decided.
    """

    value: T
    reason: str
