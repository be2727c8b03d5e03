"""Where the images are that annotations are of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath, PurePosixPath

from detect.data.splits import split_from_path
from detect.errors import DataError

_COMPARED = 200  # names of one source


@dataclass(frozen=True)
class Source:
    """One annotation file or folder and the folder of its images, relative to the dataset's folder; the split
    that their names tell."""

    images: PurePosixPath
    annotations: PurePosixPath
    split: str | None


def of_folders(files: Iterable[PurePosixPath], paths: Sequence[PurePosixPath]) -> list[Source]:
    """The sources of a format with one annotation file an image.

    Each folder of ``files`` is paired with that folder of ``images`` in which most have their names; pairs such as
    labels/a and images/a, labels/b and images/b become the one of labels and images, but for parts that name a split.
    DataError where the images of one folder of ``files`` lie in several.
    """
    folders_of = defaultdict(set)
    for image in paths:
        folders_of[image.stem].add(image.parent)
    stems = defaultdict(list)
    for file in files:
        stems[file.parent].append(file.stem)
    pairs = set()
    for folder, names in stems.items():
        compared = [folders_of[name] for name in islice(names, _COMPARED) if name in folders_of]
        votes = Counter(chain(*compared))
        images = _likeliest(votes, folder) if votes else _only_folder(paths, folder)
        if strangers := [folders for folders in compared if images not in folders]:
            other = min(min(folders) for folders in strangers)
            raise DataError(
                f"the images of the annotations in {folder} lie in several folders, {images} and {other}; put the "
                "annotations into folders of the same names, or all images into one"
            )
        pairs.add(_without_common_end(images, folder))
    by_split = defaultdict(set)
    for pair in pairs:
        by_split[split_from_path(pair[1]) or split_from_path(pair[0])].add(pair)
    return [Source(*one, split) for split, same in by_split.items() for one in _joined(same)]


def of_file(file: PurePosixPath, names: Iterable[str], paths: Sequence[PurePosixPath]) -> Source:
    """The source of one annotation file that names its images.

    Their folder is that below which most of ``names`` are found.
    """
    by_name = defaultdict(list)
    for image in paths:
        by_name[image.name.casefold()].append(image)
    votes: Counter[PurePosixPath] = Counter()
    for name in islice(names, _COMPARED):
        parts = PurePosixPath(name.replace("\\", "/").casefold()).parts
        for image in by_name.get(parts[-1] if parts else "", ()):
            if tuple(map(str.casefold, image.parts[-len(parts) :])) == parts:
                votes[PurePosixPath(*image.parts[: -len(parts)])] += 1
            elif parts[0].endswith(("/", ":")) or ".." in parts:  # a path of another machine counts by its last part
                votes[image.parent] += 1
    images = _likeliest(votes, file) if votes else _only_folder(paths, file.parent)
    return Source(images, file, split_from_path(file) or split_from_path(images))


def joined(sources: Sequence[Source]) -> Source | None:
    """One source for all of them, where there is one."""
    pairs = _joined({(source.images, source.annotations) for source in sources})
    return Source(*pairs[0], None) if len(pairs) == 1 else None


def _likeliest(votes: Counter[PurePosixPath], annotations: PurePosixPath) -> PurePosixPath:
    """The folder of the annotations' split with most votes, else any with most; of equal ones that of the annotations,
    else with most parts in common."""
    split, parts = split_from_path(annotations), set(annotations.parts)

    def rank(folder: PurePosixPath) -> tuple[bool, int, bool, int, int, str]:
        near = folder in (annotations, annotations.parent)
        return (
            split is not None and split_from_path(folder) == split,
            votes[folder],
            near,
            len(parts & set(folder.parts)),
            -len(folder.parts),
            folder.as_posix(),
        )

    return max(votes, key=rank)


def _only_folder(images: Sequence[PurePosixPath], other: PurePosixPath) -> PurePosixPath:
    """The one folder of images; ``other`` where there are several."""
    folders = {image.parent for image in images}
    return folders.pop() if len(folders) == 1 else other


def _without_common_end(images: PurePosixPath, annotations: PurePosixPath) -> tuple[PurePosixPath, PurePosixPath]:
    while images.name and images.name == annotations.name and split_from_path(PurePosixPath(images.name)) is None:
        images, annotations = images.parent, annotations.parent
    return images, annotations


def _joined(pairs: set[tuple[PurePosixPath, PurePosixPath]]) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """One pair of folders above all of them, where the way down from it is the same for images and annotations."""
    if len(pairs) == 1:
        return list(pairs)
    images, annotations = (_above(folders) for folders in zip(*pairs, strict=True))
    if all(i.relative_to(images) == a.relative_to(annotations) for i, a in pairs):
        return [(images, annotations)]
    return sorted(pairs)


def _above(folders: Iterable[PurePath]) -> PurePosixPath:
    """The deepest folder that all of them lie in."""
    common: list[str] = []
    for parts in zip(*(folder.parts for folder in folders), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return PurePosixPath(*common)
