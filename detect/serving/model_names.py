"""The names by which callers ask for models; known before torch is imported, so that a mistake is answered at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from detect.errors import UsageError
from detect.io.links import is_link
from detect.models.names import check_model


def by_name(models: Sequence[str]) -> dict[str, str]:
    """Each of ``models``, given as to --model or as ``NAME=MODEL``, by a name of its own. Raises UsageError for a name
    that two would have, and what ``check_model`` raises."""
    found: dict[str, str] = {}
    for given in models:
        name, model = _named(given)
        check_model(model)
        if name in found:
            raise UsageError(f"two models would be called '{name}'; call one otherwise: --model other={model}")
        found[name] = model
    return found


def _named(given: str) -> tuple[str, str]:
    """A name and a model: ``mine=a.safetensors`` is called mine, any other model as it is given, a checkpoint as its
    file without the suffix, or as its folder where that is best or last."""
    name, sign, model = given.partition("=")
    if sign and name.isidentifier():
        return name, model
    path = Path(urlsplit(given).path if is_link(given) else given)
    return (path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem), given
