"""The models that are served, by name, each loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from detect.inference.predictor import Predictor, load_predictor
from detect.serving.problems import ProblemError
from detect.text import unknown


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


def load(models: Mapping[str, str], device: str, imgsz: int | None, threshold: float | None) -> dict[str, Served]:
    """Each of ``models``, by its name. Raises what ``load_predictor`` raises."""
    return {
        name: Served(name, load_predictor(model, device=device, imgsz=imgsz, threshold=threshold))
        for name, model in models.items()
    }


def chosen(served: Mapping[str, Served], name: str | None) -> Served:
    """The one called ``name``, the first where that is None. ProblemError 404 where there is none."""
    if name is None:
        return next(iter(served.values()))
    if name not in served:
        raise ProblemError(HTTPStatus.NOT_FOUND, unknown("model", name[:60], served))
    return served[name]
