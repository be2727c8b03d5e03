"""Names by which callers select a model. This module does not import torch, so that mistakes are reported quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from detect.errors import UsageError
from detect.io.links import is_link
from detect.models.zoo import check_model


def models_by_name(models: Sequence[str]) -> dict[str, str]:
    """Return ``models`` by the names under which they are served.

    models: names of models, paths or links of checkpoints, or ``NAME=MODEL``. Without ``NAME=`` a model keeps its
        own name; a checkpoint is named after its file without the suffix, or after its folder if the file is called
        ``best`` or ``last``.
    Raises UsageError when two models have the same name, and what ``check_model`` raises.
    """
    found: dict[str, str] = {}
    for text in models:
        name, model = _split(text)
        check_model(model)
        if name in found:
            raise UsageError(f"two models have the name '{name}'; rename one of them: other={model}")
        found[name] = model
    return found


def _split(text: str) -> tuple[str, str]:
    """Return (name, model) of one item of the setting ``model``."""
    name, sign, model = text.partition("=")
    if sign and name.isidentifier():
        return name, model
    path = Path(urlsplit(text).path if is_link(text) else text)
    return (path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem), text
