"""Runtimes: libraries that run the networks of a detector, one file each."""

from __future__ import annotations

from detect.inference.runtimes.base import Runtime

__all__ = ["Runtime"]
