"""Self-test of the pipeline from images and annotations to metrics, for one model on one dataset.

Each test makes a change after which the result must stay the same, or must differ, and compares the two results. A
wrong label map, a wrong order of channels, a lossy export or a displaced box makes a test fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.data.validation.crowds import require_objects
from detect.evaluation import DEFAULT_SPLIT, SELFTEST_IMAGES
from detect.evaluation.detection_limit import scored_detections
from detect.evaluation.evaluate import load_scored_model
from detect.evaluation.predict import EVALUATION_THRESHOLD, check_shared_classes, detect_for_dataset, only_readable
from detect.evaluation.results_file import detections_of
from detect.evaluation.results_rows import Results
from detect.evaluation.selftest_classes import classes_of_detections, names_and_ids
from detect.evaluation.selftest_images import has_color, mirrored, rotated_by_exif, saved_as_png, swapped_channels
from detect.evaluation.selftest_metrics import ground_truth_as_predictions, metrics_of_pycocotools
from detect.evaluation.selftest_repeats import RUNTIMES, RuntimeLoader, as_verified, in_batches, in_runtime, shuffled
from detect.evaluation.selftest_subject import Outcome, Status, Subject, evenly_spaced, skipped
from detect.inference.predictor import Predictor
from detect.options import check_number, suggest_keywords
from detect.structures.class_names import ClassNames

Test = Callable[[Subject], Outcome]

DATA_TESTS: dict[str, Test] = {
    "ground truth as predictions": ground_truth_as_predictions,
    "class names and ids": names_and_ids,
    "classes of detections": classes_of_detections,
    "metrics of pycocotools": metrics_of_pycocotools,
}


def model_tests(runtimes: Mapping[str, RuntimeLoader]) -> dict[str, Test]:
    """Return the tests that run the model. ``runtimes``: those in which its checkpoint is loaded again, by name."""
    return {
        "shuffled images": shuffled,
        "batches of 4 images": in_batches,
        **{f"checkpoint saved and loaded again, {name}": in_runtime(load) for name, load in runtimes.items()},
        "AP of the verified export": as_verified,
        "mirrored images": mirrored,
        "swapped color channels": swapped_channels,
        "images saved as PNG": saved_as_png,
        "EXIF-rotated images": rotated_by_exif,
    }


@dataclass(frozen=True)
class SelftestLine:
    """Result of one test. ``str(line)`` is what the screen shows: ``ok   mirrored images: ...``.

    status: OK, FAIL or SKIP.  name: what is tested.  text: the figure, and for a failure what it means and what to
    check.
    """

    status: Status
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.status.value:<4} {self.name}: {self.text}"


@suggest_keywords
def selftest(
    model: Predictor | Results | str | Path,
    data: DatasetSpec | str | Path,
    *,
    split: str = DEFAULT_SPLIT,
    images: int = SELFTEST_IMAGES,
    data_root: str | Path | None = None,
    format: str = "auto",
    device: str | None = None,
    imgsz: int | None = None,
    max_detections: int | None = None,
) -> list[SelftestLine]:
    """Test the pipeline from images and annotations to metrics, for a model on a split of a dataset.

    images: number of images on which the model runs, evenly spaced among those with objects.
    The other arguments, and errors, are those of ``evaluate``. For a file of detections the tests that run a model are
    skipped.
    """
    check_number("images", images, int, low=1)
    spec = data if isinstance(data, DatasetSpec) else find_spec(str(data), data_root, format)
    spec.check_split(split)
    scored = load_scored_model(model, device=device, imgsz=imgsz, max_detections=max_detections)
    if spec is not data:
        spec.prepare()
    return list(run_tests(scored, spec, split=split, images=images, max_detections=max_detections))


def run_tests(
    scored: Predictor | Results,
    spec: DatasetSpec,
    *,
    split: str = DEFAULT_SPLIT,
    images: int = SELFTEST_IMAGES,
    max_detections: int | None = None,
    runtimes: Mapping[str, RuntimeLoader] = RUNTIMES,
) -> Iterator[SelftestLine]:
    """Run the tests one by one.

    scored: as in ``load_scored_model``.  spec: a dataset that is prepared.  images: as in ``selftest``.
    runtimes: see ``model_tests``.
    """
    class_names, records = spec.read(split)
    require_objects(records, f"dataset '{spec.name}': split '{split}'")
    records = records.take_images(np.argsort(records.image_ids, kind="stable"))  # as evaluate() ranks equal scores
    limit = scored_detections(max_detections)
    if isinstance(scored, Results):
        found = detections_of(scored, spec, split, class_names, records, max_detections=max_detections, limit=limit)
        subject = Subject(spec, split, class_names, records, limit, None, records, found)
    else:
        subject = _detected(scored, spec, split, class_names, records, images, limit)
    for name, test in {**DATA_TESTS, **model_tests(runtimes)}.items():
        runs_model = name not in DATA_TESTS
        no_model = "the file has the detections of a finished run, there is no model to run"
        outcome = skipped(no_model) if runs_model and subject.predictor is None else test(subject)
        yield SelftestLine(outcome.status, name, outcome.text)


def _detected(
    predictor: Predictor,
    spec: DatasetSpec,
    split: str,
    class_names: ClassNames,
    records: Table,
    images: int,
    limit: int,
) -> Subject:
    """Return the subject with the detections of a model in evenly spaced images with objects."""
    check_shared_classes(predictor.class_names, class_names, f"dataset '{spec.name}'")
    with_objects = np.unique(records.images[~records.iscrowd])
    sample = records.take_images(evenly_spaced(with_objects, images))
    colored: list[bool] = []

    def look(image: np.ndarray) -> np.ndarray:
        colored.append(has_color(image))
        return image

    found = detect_for_dataset(
        predictor, sample, class_names, threshold=EVALUATION_THRESHOLD, title="detect", change_image=look
    )
    sample, detections = only_readable(sample, found)
    return Subject(
        spec, split, class_names, records, limit, predictor, sample, detections, bool(np.mean(colored) > 0.5)
    )
