"""The models of a server, by name. Each is loaded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.models.zoo import AUTO
from detect.serving.errors import ProblemError
from detect.text import unknown


@dataclass(frozen=True)
class ServedModel:
    """A loaded model and the name by which callers select it."""

    name: str
    predictor: Predictor

    def num_tiles(self, images_hw: Iterable[tuple[int, int]]) -> int:
        """Return the number of tiles that the model processes besides the whole images. images_hw: their sizes."""
        if self.predictor.tile is None:
            return 0
        return sum(len(self.predictor.tiling.tiles(hw)) - 1 for hw in images_hw)

    def description(self) -> dict[str, Any]:
        """Return the entry of this model in the response of ``GET /v1/models``."""
        names, thresholds = self.predictor.class_names, self.predictor.class_thresholds
        classes = [
            {"name": name, "category_id": number, "threshold": thresholds[name]}
            for name, number in zip(names.names, names.ids, strict=True)
        ]
        return {
            "name": self.name,
            "classes": classes,
            "threshold": self.predictor.threshold,
            "imgsz": self.predictor.imgsz,
            "masks": self.predictor.has_masks,
        }


def load_models(models: Mapping[str, str], **settings: Any) -> dict[str, ServedModel]:
    """Load ``models``, a mapping from names to models, with the ``settings`` of ``load_model``.

    AUTO is served under the name of the model that it stands for, unless another model has that name.
    Raises what ``load_model`` raises.
    """
    loaded = {}
    for name, model in models.items():
        predictor = load_model(model, **settings)
        is_auto = name == model == AUTO and predictor.name not in models
        served = ServedModel(predictor.name if is_auto else name, predictor)
        loaded[served.name] = served
    return loaded


def select_model(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    """Return the model called ``name``, or the first one when ``name`` is None. Raises ProblemError 404."""
    if name is None:
        return next(iter(models.values()))
    if name not in models:
        raise ProblemError(HTTPStatus.NOT_FOUND, unknown("model", name[:60], models))
    return models[name]
