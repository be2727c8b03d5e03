"""The interface of an exporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from detect.data.table import Table
from detect.structures.class_names import ClassNames

Parts = Mapping[str, Table]  # {split: its images and annotations}


@dataclass(frozen=True)
class Export:
    """A dataset to be written.

    Attributes:
        parts: tables as ``DatasetSpec.read`` returns them: every object has a box and an area.
        class_names: ClassNames of all splits.
        names: {split: name of each image in the new dataset, relative to ``Exporter.image_folder(split)``}.
        losses: what the format cannot hold, counted by the exporter: {plural noun such as "masks": number of cases}.
            Image ids and annotation ids are not counted.
    """

    parts: Parts
    class_names: ClassNames
    names: Mapping[str, Sequence[str]]
    losses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Exporter:
    """How a dataset is written in one annotation format. ``detect.data.convert`` writes the files and copies images.

    Attributes:
        files: function that yields the annotation files of an ``Export``, each as its path relative to the dataset's
            folder and its text in pieces, and counts what the format cannot hold.
        image_folder: function that returns the folder of a split's images, relative to the dataset's folder.
        unique_stems: bool, whether image names must differ without their suffix, because each image has an annotation
            file of the same name.
        adapt_name: function that changes an image name, a relative path, where readers of the format need it.
    """

    files: Callable[[Export], Iterator[tuple[str, Iterable[str]]]]
    image_folder: Callable[[str], str]
    unique_stems: bool = False
    adapt_name: Callable[[str], str] = str
