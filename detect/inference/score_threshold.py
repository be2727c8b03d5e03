"""A score threshold per call for torchvision's detectors, without changing the model.

torchvision keeps the threshold in an attribute, ``score_thresh``, of the box head or of a one-stage detector. Writing
it for each call would let concurrent calls change each other's results. ``allow_override`` makes the attribute a
property that ``override`` replaces for the current thread only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from torch import nn

_override: ContextVar[float | None] = ContextVar("score_thresh", default=None)


def allow_override(owner: nn.Module) -> None:
    """Let ``override`` apply to ``owner``, a module with an attribute ``score_thresh``. The stored value stays."""
    if not isinstance(getattr(type(owner), "score_thresh", None), property):
        owner.__class__ = _with_property(type(owner))  # type: ignore[arg-type]  # mypy: Module is not Hashable


@contextmanager
def override(threshold: float) -> Iterator[None]:
    """Make every module prepared by ``allow_override`` read ``threshold`` in the current thread or async task."""
    token = _override.set(threshold)
    try:
        yield
    finally:
        _override.reset(token)


@cache
def _with_property(owner_class: type[nn.Module]) -> type[nn.Module]:
    def read(self: nn.Module) -> float:
        threshold = _override.get()
        return self.__dict__["score_thresh"] if threshold is None else threshold

    def write(self: nn.Module, value: float) -> None:
        self.__dict__["score_thresh"] = value

    members = {"score_thresh": property(read, write), "__module__": owner_class.__module__}
    return type(owner_class.__name__, (owner_class,), members)
