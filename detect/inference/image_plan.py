"""Chooses the images that a run has to process: all, or those that earlier runs into its folder did not finish."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detect.errors import UsageError
from detect.inference.finished_images import RECORD, FinishedImage, FinishedImages, holds_files
from detect.inference.predictor import Predictor
from detect.inference.writers import FORMATS
from detect.inference.writers.base import Writer
from detect.inference.writers.output_names import OutputStems
from detect.io.files import remove_temporary_files_below
from detect.media.color import GrayRange
from detect.text import first_few, one_line, thresholds_in_words

# Keys of recorded settings that may differ from run to run.
_FORMATS, _MASKS, _EXISTING = "formats", "mask_format", "existing"


class Task(NamedTuple):
    """An image to process.  stem: see ``Source.stem``."""

    path: Path
    stem: str


class Plan(NamedTuple):
    """The work of a run.

    tasks: images to process, in their order.
    skipped: images that are finished already.
    formats: output formats of this run and of the runs that it continues.
    mask_format: see ``Writer``; that of the last run, if this run sets none.
    settings: what ``FinishedImages.open`` records.
    """

    tasks: list[Task]
    skipped: list[Path]
    formats: list[str]
    mask_format: str | None
    settings: dict[str, Any]


def run_settings(
    predictor: Predictor, labels: Sequence[int] | None, rescale_16bit: GrayRange | None
) -> dict[str, Any]:
    """Return the settings on which the detections depend, by the name of the setting, as values for JSON."""
    class_names = predictor.class_names
    return {
        "model": str(predictor.path.resolve()) if predictor.path else predictor.name,
        "threshold": predictor.class_thresholds,
        "imgsz": predictor.imgsz,
        "precision": predictor.precision,
        "proposals": predictor.proposals,
        "max_detections": predictor.max_detections,
        "nms": predictor.nms,
        "one_label_per_object": predictor.one_label_per_object,
        "tile": predictor.tile,
        "classes": [class_names.name(label) for label in labels or range(1, len(class_names) + 1)],
        "rescale_16bit": None if rescale_16bit is None else list(rescale_16bit),
    }


def new_plan(
    paths: Sequence[Path],
    folder: Path,
    finished: FinishedImages,
    settings: dict[str, Any],
    formats: Iterable[str],
    mask_format: str | None = None,
) -> Plan:
    """Return the plan of a run that processes all images.

    An earlier record in ``folder`` is deleted; its other files stay, and no image gets the name of one of them.
    """
    finished.delete()
    existing = sorted(path.stem for path in folder.iterdir() if not path.name.startswith("."))
    stems = OutputStems(existing)
    tasks = [Task(path, stems.choose(str(path))) for path in paths]
    formats = list(formats)
    recorded = settings | {_FORMATS: formats, _MASKS: mask_format, _EXISTING: existing}
    return Plan(tasks, [], formats, mask_format, recorded)


def continued_plan(
    paths: Sequence[Path],
    folder: Path,
    finished: FinishedImages,
    settings: dict[str, Any],
    formats: Iterable[str],
    mask_format: str | None = None,
    *,
    annotated: bool,
) -> Plan:
    """Return the plan of a run that leaves out the images that earlier runs into ``folder`` have finished.

    An image is finished if it is recorded, has its annotated copy if ``annotated`` is set, and has its own files in
    ``formats`` such as "crops".
    Raises UsageError if the earlier runs had other settings, and if the folder holds files without a record.
    """
    finished.merge()
    recorded = finished.settings()
    if not recorded:
        if holds_files(folder):
            raise UsageError(
                f"{folder} holds files, but no record of finished images ({RECORD}), so `skip_existing` cannot"
                " continue there; choose another `name`"
            )
        return new_plan(paths, folder, finished, settings, formats, mask_format)
    _check_settings(settings, recorded[-1], folder)
    remove_temporary_files_below(folder)
    formats = list(dict.fromkeys([*(name for one in recorded for name in one[_FORMATS]), *formats]))
    mask_format = mask_format or recorded[-1].get(_MASKS)
    existing = recorded[0][_EXISTING]
    earlier = {image.path: image for _, image in finished.images()}
    needed = set(filter(has_image_files, formats))
    stems = OutputStems([*existing, *(image.stem for image in earlier.values())])
    tasks, skipped = [], []
    for path in paths:
        image = earlier.get(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
        if image is None:
            tasks.append(Task(path, stems.choose(str(path))))
        elif needed <= set(image.formats) and (not annotated or _has_copy(image, folder)):
            skipped.append(path)
        else:
            tasks.append(Task(path, image.stem))
    now = settings | {_FORMATS: formats, _MASKS: mask_format, _EXISTING: existing}
    return Plan(tasks, skipped, formats, mask_format, now)


def has_image_files(name: str) -> bool:
    """Return whether the output format ``name`` has files about a single image that need its pixels."""
    return FORMATS[name].image_files is not Writer.image_files


def _has_copy(image: FinishedImage, folder: Path) -> bool:
    return image.annotated_file is not None and (folder / image.annotated_file).is_file()


def _in_words(value: Any) -> str:
    """Return the value of a setting for a message."""
    if isinstance(value, dict):
        return thresholds_in_words(value)
    return first_few(value) if isinstance(value, list) else one_line(str(value))


def _check_settings(settings: dict[str, Any], recorded: dict[str, Any], folder: Path) -> None:
    for name, value in settings.items():
        if recorded.get(name) != value:
            former, now = map(_in_words, (recorded.get(name), value))
            raise UsageError(
                f"the finished images in {folder} were processed with `{name}` {former}, not {now}; use the same"
                " settings to continue, or choose another `name`"
            )
