"""The first thing to try where a dataset does not learn: a few of its images, until the model knows them by heart.

A model that cannot even do that has a reason, which is sooner found on eight images than on a thousand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import torch

from detect.cli.settings import TrainSettings
from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.loader import TrainLoader
from detect.data.table import Table
from detect.errors import DataError
from detect.evaluation import coco_metrics
from detect.evaluation.error_analysis import BADLY_PLACED, FOUND, MISSED, WRONG_CLASS, Mistakes, mistakes
from detect.evaluation.predict import SCORE_FLOOR, found_in
from detect.inference.predictor import Predictor, evaluation_mode
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_size import resized_hw
from detect.text import first_few
from detect.training.callbacks import stop_at_failure
from detect.training.loop import train_one_epoch
from detect.training.setup import Data, Defaults, build_learner, names_of, start_model

ENOUGH = 0.95  # AP50 of images known by heart
MOST_STEPS = 600
EVERY = 50  # steps between two looks


_FELL = 0.5  # a loss that stays above this share of its first value has hardly fallen
_SMALL = 16  # pixels at the size that the model sees; what is smaller leaves little of itself on any map
_SHARE = 0.05  # of the objects; what fewer suffer from does not explain a failure


@dataclass(frozen=True)
class Look:
    """How it stands after so many steps: the mean sum of losses since the look before, and AP50 in 0..1."""

    steps: int
    loss: float
    ap50: float


def overfit_images(settings: TrainSettings, data: Data, device: torch.device, workers: int) -> bool:
    """Train on ``settings.overfit`` of the images without augmentation until AP50 on them is above ENOUGH, or
    MOST_STEPS are taken and it is told what may be wrong; whether they were learned."""
    assert settings.overfit
    few = choose(data.records, settings.overfit)
    print(f"{len(few)} of them, with {len(few.boxes)} objects, are to be learned by heart")
    data = Data(data.names, few, data.names, few)
    rounds = math.ceil(MOST_STEPS / math.ceil(len(few) / settings.batch_size))
    defaults = Defaults(replace(settings, epochs=rounds, jitter=[1.0, 1.0], ema=0.0, freeze=0, rare=0.0, accumulate=1))
    model, architecture = start_model(defaults, data)
    learner = build_learner(model.to(device), defaults, data)
    imgsz = defaults.settings.imgsz
    assert imgsz
    transform = TrainTransform(imgsz, Augmentation())
    dataset = DetectionDataset(few, transform, with_masks=architecture.has_masks, seed=settings.seed)
    loader = TrainLoader(dataset, settings.batch_size, workers)
    batches = (batch for epoch in range(MOST_STEPS) for batch in loader.epoch(epoch))
    predictor = Predictor(model, data.names, threshold=SCORE_FLOOR, device=device)
    stop = partial(stop_at_failure, files=names_of(few))
    looks: list[Look] = []
    for steps in range(EVERY, MOST_STEPS + 1, EVERY):
        loss = train_one_epoch(learner, islice(batches, EVERY), on_step=stop)["loss"]
        with evaluation_mode(model):
            found = found_in(predictor, few, data.names, title="looking")
        ap50 = coco_metrics.score(few, found, data.names)["bbox"]["AP50"]
        looks.append(Look(steps, loss, ap50))
        print(f"step {steps}  loss {loss:.3f}  bbox AP50 {ap50:.3f}", flush=True)
        if ap50 > ENOUGH:
            print(
                "learned: images, boxes and model fit together. Whether the labels are right it cannot tell, since"
                " wrong ones can be learned by heart too: look at them with doctor.py preview"
            )
            return True
    print(f"not learned: bbox AP50 {ap50:.3f} after {steps} steps, where over {ENOUGH} is usual")
    for line in what_is_wrong(looks, few, found, data.names, imgsz):
        print(f"- {line}")
    return False


def choose(records: Table, count: int) -> Table:
    """``count`` of the images with objects, evenly chosen, every class among them where that can be."""
    filled = np.unique(records.images[~records.iscrowd])
    if not len(filled):
        raise DataError("there is no image with an object to learn by heart")
    chosen: list[int] = []
    for label in np.unique(records.labels[~records.iscrowd]).tolist():  # one of each class first
        of_class = np.unique(records.images[(records.labels == label) & ~records.iscrowd])
        if len(chosen) < count and not np.isin(of_class, chosen).any():
            chosen.append(int(of_class[0]))
    rest = np.setdiff1d(filled, chosen)
    more = min(len(rest), count - len(chosen))
    chosen += rest[np.linspace(0, len(rest) - 1, more).round().astype(int)].tolist() if more > 0 else []
    return records.take_images(np.array(sorted(chosen)))


def what_is_wrong(
    looks: Sequence[Look], records: Table, found: Sequence[Detections], class_names: ClassNames, imgsz: int
) -> list[str]:
    """Why the images were not learned, as far as losses and ``found`` tell, the most likely first; a line each."""
    seen = mistakes(records, found)
    lines = [_of_losses(looks)] if looks[-1].loss > _FELL * looks[0].loss else []
    told = [
        (seen.count(WRONG_CLASS), _of_classes),
        (seen.count(BADLY_PLACED), _of_places),
        (seen.count(MISSED), _of_missed),
    ]
    least = _SHARE * len(seen.outcomes)
    for count, words in sorted(told, key=lambda pair: -pair[0]):
        if count > least:
            lines.append(words(seen, records, class_names, imgsz))
    if seen.false_alarms.sum() > least:
        worst = records.names[int(seen.false_alarms.argmax())]
        lines.append(
            f"{seen.false_alarms.sum()} things are found where nothing is annotated, most of them in {worst}: "
            "are objects left out of the annotations there?"
        )
    return lines or [
        f"it is nearly there ({seen.count(FOUND)} of {len(seen.outcomes)} objects are found): give it time"
    ]


def _of_losses(looks: Sequence[Look]) -> str:
    return (
        f"the losses hardly fell, from {looks[0].loss:.2f} to {looks[-1].loss:.2f}: try --lr three times as high, or "
        "a third; --pretrained none learns nothing in so few steps"
    )


def _of_classes(seen: Mistakes, records: Table, class_names: ClassNames, imgsz: int) -> str:
    wrong = np.flatnonzero(seen.outcomes == WRONG_CLASS)
    labels = records.labels[records.object_starts[seen.images[wrong]] + seen.rows[wrong]]
    names = class_names.names
    pairs = Counter(zip(labels.tolist(), seen.taken_for[wrong].tolist(), strict=True)).most_common(2)
    told = "; ".join(f"{names[a - 1]} taken for {names[b - 1]}, {n}" for (a, b), n in pairs)
    return f"{len(wrong)} objects get the label of another class ({told}): are both labels used for the same things?"


def _of_places(seen: Mistakes, records: Table, class_names: ClassNames, imgsz: int) -> str:
    bad = np.flatnonzero(seen.outcomes == BADLY_PLACED)
    files = dict.fromkeys(records.names[image] for image in seen.images[bad].tolist())
    return (
        f"{len(bad)} objects are seen, but their boxes are another's than the annotated ones ({first_few(files, 3)}): "
        "look whether boxes fit with doctor.py preview; crowded objects need a larger --imgsz"
    )


def _of_missed(seen: Mistakes, records: Table, class_names: ClassNames, imgsz: int) -> str:
    missed = np.flatnonzero(seen.outcomes == MISSED)
    images = seen.images[missed]
    heights, widths = records.image_hw[images].T
    scales = np.array(
        [resized_hw((h, w), imgsz)[0] / h for h, w in zip(heights.tolist(), widths.tolist(), strict=True)]
    )
    boxes = records.boxes[records.object_starts[images] + seen.rows[missed]]
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) * scales
    words = f"{len(missed)} of {len(seen.outcomes)} objects are not seen at all"
    if (small := int((sides < _SMALL).sum())) > len(missed) / 2:
        return f"{words}; {small} of them are under {_SMALL} pixels across at --imgsz {imgsz}: try a larger one"
    files = dict.fromkeys(records.names[image] for image in images.tolist())
    return f"{words} ({first_few(files, 3)}): do their annotations belong to these images (doctor.py preview)?"
