"""The classes that a user asks for, by name or category id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from detect.errors import UsageError
from detect.models import checkpoint
from detect.models.pretrained import bundled, coco_classes
from detect.models.zoo import AUTO_DETECTORS, BUNDLED
from detect.structures.class_names import ClassNames

Models = Iterable[tuple[str, ClassNames]]
"""Models, each as the words that select it and its classes."""


def labels_of(class_names: ClassNames, classes: Iterable[str | int], others: Models = ()) -> list[int]:
    """Return the label of each class name or category id among the classes of a model.

    others: models that could be used instead; read only if a class is unknown. See ``loadable_models``.

    Raises UsageError for an unknown class, with near names and the first of ``others`` that knows it.
    """
    labels = []
    for one in classes:
        try:
            labels.append(class_names.label(one))
        except UsageError as error:
            is_own = str(one).casefold() in map(str.casefold, class_names.names)  # in another spelling
            hint = "" if is_own else _model_that_knows(str(one), others)
            raise UsageError(f"{error}{hint}") from None
    return labels


def loadable_models(device_type: str) -> Iterator[tuple[str, ClassNames]]:
    """Yield the models that can be loaded by name: COCO's detector that suits a device, and the bundled ones.

    device_type: "cpu", "cuda" or "mps".
    """
    coco = AUTO_DETECTORS[device_type]
    yield f"`model='{coco}'`", coco_classes(coco)[0]
    for name in BUNDLED:
        if bundled(name).is_file():
            yield f"`model='{name}'`", checkpoint.load(bundled(name)).class_names


def _model_that_knows(name: str, models: Models) -> str:
    """Return the end of a message about an unknown class: a model that has it, in upper or lower case; "" for none."""
    for model, class_names in models:
        for known in class_names.names:
            if known.casefold() == name.casefold():
                return f"; {model} knows '{known}'"
    return ""
