"""The data of a cross-validation: train and val split of each fold, as views of one table of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect import distributed
from detect.data.backgrounds import with_backgrounds
from detect.data.description import find_spec
from detect.data.folds import FoldImages, Folds, draw_folds, read_images
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.progress import report
from detect.text import counted
from detect.training.config import CrossValidationConfig
from detect.training.data import TrainingData, check_annotations, prepare_on_other_machines, warn_of_numbered_classes


@dataclass(frozen=True)
class FoldData:
    """Images of a dataset, divided into folds.

    name: of the dataset.
    other_splits: names of its splits that are in no fold, such as ``test``.
    images: the N images.  fold_of: fold of each one, from 0, int64 [N].
    trained: the N images, followed by background images, which are only trained on.
    root, annotation_format: see TrainingData.
    """

    name: str
    other_splits: tuple[str, ...]
    images: FoldImages
    fold_of: np.ndarray
    trained: Table
    root: Path | None = None
    annotation_format: str = ""

    def of_fold(self, fold: int) -> TrainingData:
        """Return fold ``fold``, from 0, as the val split, and all other images as the train split."""
        backgrounds = np.arange(len(self.images.table), len(self.trained))
        rows = np.concatenate([np.flatnonzero(self.fold_of != fold), backgrounds])
        return self._data(self.trained.take_images(rows), np.flatnonzero(self.fold_of == fold))

    def without_val(self) -> TrainingData:
        """Return all images as the train split, and no val split."""
        return self._data(self.trained, np.zeros(0, np.int64))

    def folds(self, config: CrossValidationConfig) -> Folds:
        """Return the folds for their file."""
        names: list[list[str]] = [[] for _ in range(config.folds)]
        for name, fold in zip(self.images.names, self.fold_of.tolist(), strict=True):
            names[fold].append(name)
        root = None if config.data_root is None else str(config.data_root)
        return Folds(config.data, root, config.format, tuple(map(tuple, names)))

    def _data(self, train: Table, val: np.ndarray) -> TrainingData:
        class_names, table = self.images.class_names, self.images.table
        held_out = table.take_images(val)
        where = (self.root, self.annotation_format)
        return TrainingData(self.name, self.other_splits, class_names, train, class_names, held_out, *where)


def read_fold_data(config: CrossValidationConfig, saved: Folds | None) -> FoldData:
    """Read and check the images of the splits train and val, and divide them into folds, as ``saved`` if given.

    A missing dataset is downloaded or rendered first. Raises UsageError for an unknown dataset and for more folds than
    it can be divided into, DataError for annotations that cannot be used and for images in ``saved`` that are gone.
    Of several processes, the first one reads and the others receive the result.
    """
    data = distributed.compute_on_first(lambda: _read(config, saved))
    prepare_on_other_machines(data.trained, config.data, config.data_root, config.format)
    return data


def _read(config: CrossValidationConfig, saved: Folds | None) -> FoldData:
    spec = saved.find_spec() if saved else find_spec(config.data, config.data_root, config.format, draw_splits=False)
    spec.prepare()
    if spec.discovery_note:
        report(spec.discovery_note)
    images = read_images(spec, saved.names if saved else None)
    check_annotations(images.table, f"dataset '{spec.name}'")
    warn_of_numbered_classes(images.table, images.class_names, spec.name)
    fold_of = saved.fold_of if saved else draw_folds(images, config.folds, config.seed, spec.name)
    trained = _with_backgrounds(config, spec, images)
    return FoldData(spec.name, _others(spec, images), images, fold_of, trained, spec.root, spec.format)


def _others(spec: DatasetSpec, images: FoldImages) -> tuple[str, ...]:
    return tuple(split for split in spec.splits if split not in images.splits)


def _with_backgrounds(config: CrossValidationConfig, spec: DatasetSpec, images: FoldImages) -> Table:
    if config.backgrounds is None:
        return images.table
    table = with_backgrounds(images.table, config.backgrounds, annotated=spec.image_paths())
    report(f"{counted(len(table) - len(images.table), 'background image')}, only for training")
    return table
