"""Finds evaluated images on which the model was trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.data.digests import TRAIN_IMAGES
from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent
from detect.text import counted, first_few

_TITLE = "Training images"
_MIN_RISE = 0.02  # of AP50 on training images, from which it shows that the model remembers them


def check_training_images(analysis: Analysis) -> Iterator[Finding]:
    """Yield which evaluated images are among the training images, by the list beside the checkpoint."""
    digests = analysis.saved.train_digests if analysis.saved else frozenset()
    if not digests:
        if analysis.saved and analysis.saved.checkpoint.data.get("train_digest"):
            yield Finding(
                Severity.WARNING,
                _TITLE,
                f"It is unknown whether the model was trained on them: {TRAIN_IMAGES} is missing beside the model.",
                f"Copy {TRAIN_IMAGES} from the folder of the training run to the folder of the model.",
            )
        return
    records, is_known = analysis.evaluation.records, analysis.is_trained_on
    count, total = int(is_known.sum()), len(records)
    if not count:
        used = analysis.saved.checkpoint.training.get("backgrounds") if analysis.saved else None
        backgrounds = ", backgrounds included" if used else ""
        yield fine(
            _TITLE,
            f"None of the {counted(total, 'evaluated image')} is a copy of one of the {len(digests)} training"
            f" images{backgrounds}. (`doctor.py check` also finds re-encoded and resized copies.)",
        )
        return
    names = tuple(records[i].path.name for i in np.flatnonzero(is_known).tolist())
    yield Finding(
        Severity.PROBLEM,
        "The model was trained on evaluated images",
        f"The list of its training images has {count} of {counted(total, 'evaluated image')}"
        f" ({percent(count / total)}): {first_few(names, 3)}.{_comparison(analysis)}",
        "Rely only on the images that were not trained on: remove the others from this split, or train again without"
        " them. `doctor.py check` looks for further copies.",
        names,
    )


def _comparison(analysis: Analysis) -> str:
    """Return in words what AP50 on the images of the training and on the others shows; nothing unless both exist."""
    known, others = analysis.ap50_by_training
    if known is None or others is None:
        return ""
    figures = f" AP50 is {known:.2f} on those and {others:.2f} on the others"
    if known < others + _MIN_RISE:
        return f"{figures}: not higher on those, but only the others show how well it works on new images."
    return f"{figures}: it remembers the images of its training."
