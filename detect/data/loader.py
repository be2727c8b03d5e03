"""The batches that training goes through, epoch by epoch."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detect.data.dataset import DetectionDataset, Target, collate
from detect.data.sampling import sample_epoch, similar_size_batches
from detect.runtime import worker_init

_NO_ITEM = 2**31  # larger than what any item's number is, for what is random but belongs to none


class TrainLoader:
    """The batches of any epoch, images of like size together, which depend on (seed, epoch) alone.

    The ``workers`` processes start but once: where they are not forked (Python 3.14, macOS, Windows) a start takes
    seconds, which is longer than a small epoch.
    batch_size: images a batch.  repeats: as in ``detect.data.sampling``.
    rank, world_size: of this process, which gets every world_size-th batch.  accumulate: batches of it a step. A step
        takes the same images whether one process makes them in several batches or several in one.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        batch_size: int,
        workers: int,
        *,
        repeats: np.ndarray | None = None,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeats = repeats
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self._keys: list[list[tuple[int, int, int]]] = []  # which the DataLoader reads anew for every epoch
        self._loader = DataLoader(
            _ItemsOfEpochs(dataset),
            batch_sampler=self._keys,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=collate,
            worker_init_fn=worker_init,
        )

    def epoch(self, epoch: int, done: int = 0) -> DataLoader:
        """The batches of ``epoch``, to be gone through before another epoch is asked for.

        done: so many batches of all processes are left out, which another run has trained on.
        """
        count = len(self.dataset)
        rng = np.random.default_rng([self.dataset.seed, epoch, _NO_ITEM])
        numbers = sample_epoch(count, rng, self.repeats)
        keys = {number: (number % count, epoch, number // count) for number in numbers.tolist()}
        sizes_hw = np.array([self.dataset.size_hw(*key) for key in keys.values()]).reshape(-1, 2)
        steps = similar_size_batches(numbers, sizes_hw, self.batch_size * self.parts, rng)
        batches = [part for step in steps for part in self._own(step)]
        self._keys[:] = [[keys[number] for number in batch] for batch in batches[done // self.world_size :]]
        return self._loader

    @property
    def parts(self) -> int:
        """Batches a step, of all processes."""
        return self.accumulate * self.world_size

    def _own(self, step: list[int]) -> list[list[int]]:
        """This process' batches of a step. Where the last one has fewer images than batches, some come twice."""
        images = step if len(step) >= self.parts else np.resize(step, self.parts)
        return [part.tolist() for part in np.array_split(images, self.parts)[self.rank :: self.world_size]]


class _ItemsOfEpochs(Dataset):
    """Items by (index, epoch, again), so that the epoch reaches processes that run already."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Target]:
        return self.dataset.item(*key)
