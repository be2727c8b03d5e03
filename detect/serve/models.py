"""The models that are served, by name, each loaded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from detect.errors import UsageError, unknown
from detect.links import is_link
from detect.predictor import Predictor, load_predictor
from detect.serve.problems import ProblemError


@dataclass(frozen=True)
class Served:
    """A model under the name by which callers ask for it."""

    name: str
    predictor: Predictor

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks."""
        return getattr(getattr(self.predictor.model, "roi_heads", None), "mask_head", None) is not None

    def facts(self) -> dict[str, Any]:
        """What callers may know of it."""
        names = self.predictor.class_names
        classes = [{"name": name, "category_id": number} for name, number in zip(names.names, names.ids, strict=True)]
        transform = self.predictor.model.transform
        return {
            "name": self.name,
            "classes": classes,
            "threshold": self.predictor.threshold,
            "imgsz": transform.min_size[0],
            "masks": self.has_masks,
        }


def load(models: Sequence[str], device: str, imgsz: int | None, threshold: float | None) -> dict[str, Served]:
    """Each of ``models``, given as to --model or as ``NAME=MODEL``, under a name of its own. Raises UsageError for a
    name that two would have, and what ``load_predictor`` raises."""
    served: dict[str, Served] = {}
    for given in models:
        name, model = named(given)
        if name in served:
            raise UsageError(f"two models would be called '{name}'; call one otherwise: --model other={model}")
        predictor = load_predictor(model, device=device, imgsz=imgsz, threshold=threshold)
        served[name] = Served(name, predictor)
    return served


def named(given: str) -> tuple[str, str]:
    """A name and a model: ``mine=a.safetensors`` is called mine, any other model as it is given, a checkpoint as its
    file without the suffix, or as its folder where that is best or last."""
    name, sign, model = given.partition("=")
    if sign and name.isidentifier():
        return name, model
    path = Path(urlsplit(given).path if is_link(given) else given)
    return (path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem), given


def chosen(served: Mapping[str, Served], name: str | None) -> Served:
    """The one called ``name``, the first where that is None. ProblemError 404 where there is none."""
    if name is None:
        return next(iter(served.values()))
    if name not in served:
        raise ProblemError(HTTPStatus.NOT_FOUND, unknown("model", name[:60], served))
    return served[name]
