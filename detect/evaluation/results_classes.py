"""The label of each row of a file of detections, by class name or by category id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detect.data.readers.coco_ids import Id
from detect.data.spec import DatasetSpec
from detect.errors import DataError, UsageError
from detect.evaluation.results_rows import Results
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few


def label_of_each_row(results: Results, spec: DatasetSpec, split: str, class_names: ClassNames) -> np.ndarray:
    """Return the label of each row, int64 [N], 1..K; 0 for a class that is not evaluated, with a warning.

    class_names: classes that are evaluated; with ``classes`` in its description the dataset may have more.

    If every row has a class name, names decide, as for a model: classes that the dataset lacks are left out. Otherwise
    ``category_id`` must be an id of the dataset. Raises UsageError if no class is in the dataset, and DataError for
    unknown ids; class numbers counted from 0 or 1 are recognized and explained, not used.
    """
    names = [row.named_class for row in results.rows]
    if all(names):
        keys: Sequence[Id] = [spec.merged.get(name, name) for name in names]
        label_of: dict[Id, int] = {name: label for label, name in enumerate(class_names.names, start=1)}
        if not any(key in label_of for key in keys):
            raise UsageError(
                f"dataset '{spec.name}' and {results.path} have no class in common: the dataset has "
                f"{first_few(class_names.names)}, the file has {first_few(dict.fromkeys(keys))}"
            )
    else:
        keys = [row.category_id for row in results.rows]  # type: ignore[misc]
        label_of = {category: label for label, category in enumerate(class_names.ids, start=1)}
        _check_ids(results, keys, replace(spec, classes=None).select(split)[0], spec.name)
    labels = np.array([label_of.get(key, 0) for key in keys], np.int64)
    if dropped := [key for key in keys if key not in label_of]:
        warn(
            f"{results.path}: {counted(len(dropped), 'detection')} of classes that are not evaluated are left out: "
            f"{first_few(dict.fromkeys(dropped))}"
        )
    return labels


def _check_ids(results: Results, ids: Sequence[Id], classes: ClassNames, dataset: str) -> None:
    """Raise DataError for ids that are no category ids of ``classes``, all classes of the dataset."""
    written = list(dict.fromkeys(ids))
    known = set(classes.ids)
    if unknown := [i for i in written if i not in known]:
        expected = first_few([f"{i} {name}" for i, name in zip(classes.ids, classes.names, strict=True)], 3)
        are = "category ids {} are" if len(unknown) > 1 else "category id {} is"
        raise DataError(
            f"{results.path}: {are.format(first_few(unknown))} not in dataset '{dataset}', whose categories are"
            f" {expected}{_explain_numbers(written, classes)}"
        )


def _explain_numbers(written: Sequence[Id], classes: ClassNames) -> str:
    """Return the end of a message if ids look like class numbers counted from 0 or 1: what would be right."""
    numbers = [i for i in written if isinstance(i, int)]
    if len(numbers) < len(written) or min(numbers) < 0 or max(numbers) > len(classes):
        return ""
    possible = [first for first in (0, 1) if first <= min(numbers) and max(numbers) < len(classes) + first]
    counted_from = " or ".join(map(str, possible))
    message = f"; these look like class numbers counted from {counted_from}"
    if len(possible) > 1:
        return f"{message}; write category ids instead"
    offsets = {category - number for number, category in enumerate(classes.ids, start=possible[0])}
    if len(offsets) == 1:
        offset = offsets.pop()
        return f"{message}: {'add' if offset > 0 else 'subtract'} {abs(offset)} {'to' if offset > 0 else 'from'} each"
    pairs = zip(range(possible[0], len(classes) + 1), classes.ids, classes.names, strict=False)
    wrong = [f"{i} instead of {number} ({name})" for number, i, name in pairs if i != number]
    return f"{message}: write {', '.join(wrong[:2])}, ..., {wrong[-1]}"
