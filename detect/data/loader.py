"""Batches for training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detect.data.batch_reading import PathsOfBatch, data_loader, read_batches
from detect.data.dataset import DetectionDataset, Target, collate
from detect.data.image_problems import ImageProblems
from detect.data.sampling import sample_epoch, similar_size_batches

_EPOCH_SEED = 2**31  # in place of an item's index, which is smaller: seeds the order of an epoch


class TrainLoader:
    """Batches of images of similar size. The batches of an epoch depend only on the seed and the epoch.

    Another image takes the place of an image that cannot be read, so that the number of batches stays the same.
    ``problems`` collects such images until the caller takes them.

    Worker processes are started once and serve all epochs. Where processes are not forked (Python 3.14, macOS,
    Windows), a start takes seconds, longer than a small epoch.
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
        pinned: bool = False,
    ) -> None:
        """Create the loader.

        batch_size: images per batch.
        workers: worker processes; 0 loads in this process.
        repeats: float64 [images], how often each image is used per epoch, see ``sampling.sample_epoch``.
        rank, world_size: index of this process and number of processes; each gets every world_size-th batch.
        accumulate: batches per optimizer step of each process. A step uses the same images whether one process loads
            them in several batches or several processes in one.
        pinned: see ``data_loader``.
        """
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeats = repeats
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        # Batches of (index, epoch, repetition). The DataLoader reads this list again for each epoch.
        self.problems = ImageProblems()
        self._batches: list[list[tuple[int, int, int]]] = []
        items = _ItemsByKey(dataset)
        self._loader = data_loader(items, self._batches, workers, _collate_with_problems, pinned=pinned)

    def epoch(self, epoch: int, batches_done: int = 0) -> EpochBatches:
        """Return the batches of ``epoch``. Iterate over them before asking for another epoch.

        Iterating raises DataError as soon as more than half of the images of the dataset cannot be read.

        batches_done: number of batches, over all processes, to skip because a resumed run has trained on them.
        """
        count = len(self.dataset)
        rng = np.random.default_rng([self.dataset.seed, epoch, _EPOCH_SEED])
        numbers = sample_epoch(count, rng, self.repeats)
        keys = {number: (number % count, epoch, number // count) for number in numbers.tolist()}
        sizes_hw = np.array([self.dataset.size_hw(*key) for key in keys.values()]).reshape(-1, 2)
        steps = similar_size_batches(numbers, sizes_hw, self.batch_size * self._batches_per_step, rng)
        batches = [batch for step in steps for batch in self._batches_of_rank(step)]
        self._batches[:] = [[keys[number] for number in batch] for batch in batches[batches_done // self.world_size :]]
        return EpochBatches(self._loader, self._paths_of_batch, self.problems, len(self.dataset))

    def _paths_of_batch(self, number: int) -> list[str]:
        return [str(self.dataset.records[index].path) for index, *_ in self._batches[number]]

    @property
    def _batches_per_step(self) -> int:
        """Batches per optimizer step, over all processes."""
        return self.accumulate * self.world_size

    def _batches_of_rank(self, step: list[int]) -> list[list[int]]:
        """Return this process' batches of one step. A last step with too few images for all batches repeats some."""
        count = self._batches_per_step
        images = step if len(step) >= count else np.resize(step, count)
        return [batch.tolist() for batch in np.array_split(images, count)[self.rank :: self.world_size]]


class EpochBatches:
    """The batches of one epoch, (images, targets) each as ``collate`` returns them."""

    def __init__(self, loader: DataLoader, paths_of: PathsOfBatch, problems: ImageProblems, num_images: int) -> None:
        self._loader, self._paths_of, self._problems, self._num_images = loader, paths_of, problems, num_images

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[Tensor], list[Target]]]:
        for images, targets, problems in read_batches(self._loader, self._paths_of):
            self._problems.update(problems)
            self._problems.check(self._num_images, "training images")
            yield images, targets


class _ItemsByKey(Dataset):
    """Items by (index, epoch, repetition), so that running worker processes learn the epoch; with image problems."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Target, ImageProblems]:
        return *self.dataset.item_or_substitute(*key), self.dataset.problems.take()


def _collate_with_problems(
    items: list[tuple[Tensor, Target, ImageProblems]],
) -> tuple[list[Tensor], list[Target], ImageProblems]:
    problems = ImageProblems()
    for *_, found in items:
        problems.update(found)
    return *collate([(image, target) for image, target, _ in items]), problems
