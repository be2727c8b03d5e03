"""Training with torchvision's own, unmodified functions, from a copy of its folder references/detection.

The folder is not part of torchvision's package, and its modules have names such as ``utils``, which import each other.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler

from benchmarks.reference import FullSizeImages
from detect.errors import TrainingError, UsageError
from detect.models.builder import Detector
from detect.training.config import TrainConfig

URL = "https://github.com/pytorch/vision/tree/main/references/detection"
# Module -> what is used of it.
_NAMES = {
    "engine": ["train_one_epoch"],
    "utils": ["collate_fn"],
    "group_by_aspect_ratio": ["GroupedBatchSampler", "create_aspect_ratio_groups"],
}
# Defaults of torchvision's train.py.
_ASPECT_RATIO_GROUP_FACTOR = 3
_PRINT_FREQ = 20
_MOMENTUM = 0.9


@cache
def load(folder: Path) -> Any:
    """Return an object with the functions and classes of the folder.

    Raises UsageError when a file or a function is missing, or when a file cannot be imported.
    """
    found = SimpleNamespace()
    for module in _NAMES:
        if not (path := folder / f"{module}.py").is_file():
            raise UsageError(f"`references`: {path} is missing; the folder is {URL}")
    with _importable(folder), _silence():
        for module, names in _NAMES.items():
            path = folder / f"{module}.py"
            try:
                imported = importlib.import_module(module)
            except (ImportError, SyntaxError) as error:
                raise UsageError(f"`references`: {path} cannot be imported ({error}); the folder is {URL}") from None
            for name in names:
                if not hasattr(imported, name):
                    raise UsageError(f"`references`: {path} has no {name}; the folder is {URL}")
                setattr(found, name, getattr(imported, name))
    return found


class Epochs:
    """Trains ``model`` with torchvision's ``train_one_epoch``, at most ``batches`` steps in all.

    The learning rate rises to that of ``config`` within each call, as it does in torchvision's first epoch.
    """

    def __init__(
        self, folder: Path, model: Detector, dataset: FullSizeImages, config: TrainConfig, workers: int, batches: int
    ) -> None:
        self.references = load(folder)
        self.model = model
        trained = [p for p in model.parameters() if p.requires_grad]
        assert config.lr
        self.optimizer = torch.optim.SGD(trained, config.lr, momentum=_MOMENTUM, weight_decay=config.weight_decay)
        order = RandomSampler(dataset, num_samples=batches * config.batch_size)  # shuffles the images again and again
        with _silence():
            groups = self.references.create_aspect_ratio_groups(dataset, k=_ASPECT_RATIO_GROUP_FACTOR)
        sampler = self.references.GroupedBatchSampler(order, groups, config.batch_size)
        collate = partial(_collate, folder)
        # One iterator for all calls, so that loader processes are started once, before the measurement.
        self.batches = iter(DataLoader(dataset, batch_sampler=sampler, num_workers=workers, collate_fn=collate))

    def __call__(self, steps: int) -> list[float]:
        """Take steps and return the total losses that torchvision logs: those of the last 20 steps.

        Raises TrainingError when torchvision's loop stops, which it does when the loss is not finite.
        """
        device = next(self.model.parameters()).device
        loader = _NextBatches(self.batches, steps)
        train_one_epoch = self.references.train_one_epoch
        try:
            with _silence():
                logger = train_one_epoch(self.model, self.optimizer, loader, device, epoch=0, print_freq=_PRINT_FREQ)
        except SystemExit:
            raise TrainingError("the loss of torchvision's references is not finite") from None
        return list(logger.meters["loss"].deque)


class _NextBatches:
    """The next ``length`` batches of an iterator, as a loader with a length."""

    def __init__(self, batches: Iterator[Any], length: int) -> None:
        self.batches = batches
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return islice(self.batches, self.length)


def _collate(folder: Path, batch: list[Any]) -> Any:
    """Call torchvision's ``collate_fn``, which cannot be sent to a loader process: it cannot be imported there."""
    return load(folder).collate_fn(batch)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the modules of the folder import each other; afterwards, restore imported modules with the same names."""
    names = {path.stem for path in folder.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(others)


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
