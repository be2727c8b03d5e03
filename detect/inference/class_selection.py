"""The classes that a user asks for, by name or category id."""

from __future__ import annotations

from collections.abc import Iterable

from detect.errors import UsageError
from detect.models import checkpoint
from detect.models.pretrained import bundled, coco_classes
from detect.models.zoo import AUTO_DETECTORS, BUNDLED
from detect.structures.class_names import ClassNames


def labels_of(class_names: ClassNames, classes: Iterable[str | int]) -> list[int]:
    """Return the label of each class name or category id among the classes of a model.

    Raises UsageError for an unknown class, with near names and, if there is one, a model that knows it.
    """
    labels = []
    for one in classes:
        try:
            labels.append(class_names.label(one))
        except UsageError as error:
            is_own = str(one).casefold() in map(str.casefold, class_names.names)  # in another spelling
            raise UsageError(str(error) if is_own else f"{error}{_model_that_knows(str(one))}") from None
    return labels


def _model_that_knows(name: str) -> str:
    """Return the end of a message about an unknown class: a model that has it, in upper or lower case; "" for none."""
    coco = AUTO_DETECTORS["cuda"]
    models = [(coco, coco_classes(coco)[0])]
    models += [(one, checkpoint.load(bundled(one)).class_names) for one in BUNDLED if bundled(one).is_file()]
    for model, class_names in models:
        for known in class_names.names:
            if known.casefold() == name.casefold():
                return f"; `model='{model}'` knows '{known}'"
    return ""
