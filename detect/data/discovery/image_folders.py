"""Which folder holds the images that annotation files describe."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import PurePath, PurePosixPath

from detect.data.splits import split_from_path
from detect.errors import DataError
from detect.media import formats

_IMAGE_SUFFIXES = tuple(formats.SUFFIXES)
_COMPARED = 200  # image names of one annotation file or folder

_Pair = tuple[PurePosixPath, PurePosixPath]  # folder of images, annotation file or folder


@dataclass(frozen=True)
class Source:
    """Annotations and the folder of their images; paths are relative to the dataset's folder.

    Attributes:
        images: folder of the images.
        annotations: annotation file, or folder of annotation files.
        split: "train", "val" or "test" when one of the paths names a split, else None.
    """

    images: PurePosixPath
    annotations: PurePosixPath
    split: str | None


def sources_of_folders(files: Iterable[PurePosixPath], images: Sequence[PurePosixPath]) -> list[Source]:
    """Return each ``Source`` of a dataset whose format has one annotation file per image.

    Each folder of annotation ``files`` is paired with the folder that holds most of the ``images`` of the same names,
    or with the common parent of several such folders if each name is unique there. Pairs such as labels/a with
    images/a and labels/b with images/b are merged into labels with images, except for folders named after splits. So
    are all pairs of a split if each name is unique. Raises DataError when images of one name are in several folders.
    """
    folders_of = defaultdict(set)
    for image in images:
        for name in (image.stem, image.name):  # a.jpg.json is also a file of a.jpg
            folders_of[name].add(image.parent)
    names_in = defaultdict(list)
    for file in files:
        names_in[file.parent].append(file.stem)
    stems_of: dict[_Pair, set[str]] = defaultdict(set)
    for folder, names in names_in.items():
        stems_of[_without_common_end(_folder_of_images(folder, names, folders_of, images), folder)].update(names)
    by_split = defaultdict(set)
    for pair in stems_of:
        by_split[split_from_path(pair[1]) or split_from_path(pair[0])].add(pair)
    return [
        Source(*pair, split)
        for split, pairs in by_split.items()
        for pair in _merge_unique(pairs, stems_of, folders_of)
    ]


def _folder_of_images(
    folder: PurePosixPath,
    names: Sequence[str],
    folders_of: Mapping[str, set[PurePosixPath]],
    images: Sequence[PurePosixPath],
) -> PurePosixPath:
    """Return the folder of the images of the annotation files ``names``, without suffix, in ``folder``."""
    found = [folders_of[name] for name in names if name in folders_of]
    votes = Counter(chain(*found))
    best = _best_folder(votes, folder) if votes else _only_folder(images, folder)
    elsewhere = [folders for folders in found if best not in folders]
    if not elsewhere:
        return best
    parent = _common_parent([best, *chain(*elsewhere)])
    if all(sum(parent in (other, *other.parents) for other in folders) == 1 for folders in found):
        return parent
    other = min(min(folders) for folders in elsewhere)
    raise DataError(
        f"the images of the annotations in {folder} are in several folders, {best} and {other}, and some have the same"
        " name; put the annotations into folders of the same names, or all images into one folder"
    )


def _merge_unique(
    pairs: set[_Pair], stems_of: Mapping[_Pair, set[str]], folders_of: Mapping[str, set[PurePosixPath]]
) -> list[_Pair]:
    """Return ``_merge`` of the pairs, or the pair of their common parents if each name occurs once on both sides."""
    merged = _merge(pairs)
    stems = set().union(*(stems_of[pair] for pair in pairs))
    if len(merged) == 1 or len(stems) < sum(len(stems_of[pair]) for pair in pairs):
        return merged
    images, annotations = (_common_parent(folders) for folders in zip(*pairs, strict=True))
    below = (sum(images in (folder, *folder.parents) for folder in folders_of.get(stem, ())) for stem in stems)
    return [(images, annotations)] if all(count <= 1 for count in below) else merged


def source_of_file(file: PurePosixPath, names: Iterable[str], images: Sequence[PurePosixPath]) -> Source:
    """Return the ``Source`` of ``file``, one annotation file for many images.

    Its folder of images is the one below which most of ``names`` exist; a folder of the same split is preferred.

    names: image names as written in the file. Of an absolute path, which is from another machine, only the last part
        is compared. A relative path may begin with folders that do not exist here, if two parts or more are equal.
        The suffix may differ or be missing, if no image has the name with this suffix.
    images: all images of the dataset's folder.
    """
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for image in images:
        by_name[image.name.casefold()].append(image)
        by_stem[image.stem.casefold()].append(image)
    found: list[set[PurePosixPath]] = []  # for each name the folders that it may be in
    for name in islice(names, _COMPARED):
        parts = PurePosixPath(name.replace("\\", "/").casefold()).parts
        last = parts[-1] if parts else ""
        stem = last.rpartition(".")[0] if last.endswith(_IMAGE_SUFFIXES) else last
        same = by_name.get(last) or by_stem.get(stem, [])
        same_name = {image: _num_common_ends(image.parent / last, parts) for image in same}
        longest = max(same_name.values(), default=0)
        folders: set[PurePosixPath] = set()
        for image, count in same_name.items():
            if count == len(parts) or (1 < count == longest < len(parts) and not _is_elsewhere(parts)):
                folders.add(PurePosixPath(*image.parts[:-count]))
            elif _is_elsewhere(parts):
                folders.add(image.parent)
        found.append(folders)
    votes = Counter(chain(*found))
    folder = _best_folder(votes, file) if votes else _only_folder(images, file.parent)
    if not split_from_path(folder) and sum(votes.values()) > votes[folder] and all(len(f) < 2 for f in found):
        folder = _common_parent(votes)  # in which the reader finds the images by their unique names
    elif other := _equal_folder(votes, folder, file):
        raise DataError(
            f"the images that {file} names are in {min(folder, other)} and in {max(folder, other)}; move one of the"
            " two out of the dataset, or name the folder in a YAML file that describes it"
        )
    return Source(folder, file, split_from_path(file) or split_from_path(folder))


def _num_common_ends(image: PurePosixPath, parts: Sequence[str]) -> int:
    """Return how many of the last parts of a path equal the last of ``parts``, which are in lower case."""
    equal = (one.casefold() == other for one, other in zip(reversed(image.parts), reversed(parts), strict=False))
    return sum(1 for _ in takewhile(bool, equal))


def _is_elsewhere(parts: Sequence[str]) -> bool:
    """Return whether the parts are those of an absolute path, or of one that leaves its folder."""
    return parts[0].endswith(("/", ":")) or ".." in parts


def merge_sources(sources: Sequence[Source]) -> Source | None:
    """Return one source that covers all ``sources``; None when no such source exists."""
    pairs = _merge({(source.images, source.annotations) for source in sources})
    return Source(*pairs[0], None) if len(pairs) == 1 else None


def _best_folder(votes: Counter[PurePosixPath], annotations: PurePosixPath) -> PurePosixPath:
    """Return the folder with most votes; a folder of the same split as the annotations is preferred.

    Of folders with equally many votes, that of the annotations wins, then the one whose path is most similar.
    """
    split, parts = split_from_path(annotations), set(annotations.parts)

    def rank(folder: PurePosixPath) -> tuple[bool, int, bool, int, int, str]:
        return (
            split is not None and split_from_path(folder) == split,
            votes[folder],
            folder in (annotations, annotations.parent),
            len(parts & set(folder.parts)),
            -len(folder.parts),
            folder.as_posix(),
        )

    return max(votes, key=rank)


def _equal_folder(
    votes: Mapping[PurePosixPath, int], best: PurePosixPath, file: PurePosixPath
) -> PurePosixPath | None:
    """Return another folder that may as well hold the images of ``file``, None if only ``best`` does.

    It holds as many of the images, is equally deep, and shares as many folder names with the path of ``file``. The
    result is also None if ``best`` holds the annotations or has the name of a split.
    """
    parts = set(file.parts)
    if best in (file, file.parent) or split_from_path(best):
        return None
    same = (f for f in votes if f != best and votes[f] == votes[best] and len(f.parts) == len(best.parts))
    return next((f for f in same if len(parts & set(f.parts)) == len(parts & set(best.parts))), None)


def _only_folder(images: Sequence[PurePosixPath], default: PurePosixPath) -> PurePosixPath:
    """Return the folder of all images, ``default`` when they are in several folders."""
    folders = {image.parent for image in images}
    return folders.pop() if len(folders) == 1 else default


def _without_common_end(images: PurePosixPath, annotations: PurePosixPath) -> _Pair:
    """Return the two paths without equal last parts, up to a part that names a split."""
    while images.name and images.name == annotations.name and split_from_path(PurePosixPath(images.name)) is None:
        images, annotations = images.parent, annotations.parent
    return images, annotations


def _merge(pairs: set[_Pair]) -> list[_Pair]:
    """Return the pair of common parent folders if both sides have the same subfolders, else all pairs, sorted."""
    if len(pairs) == 1:
        return list(pairs)
    images, annotations = (_common_parent(folders) for folders in zip(*pairs, strict=True))
    if all(i.relative_to(images) == a.relative_to(annotations) for i, a in pairs):
        return [(images, annotations)]
    return sorted(pairs)


def _common_parent(folders: Iterable[PurePath]) -> PurePosixPath:
    """Return the deepest folder that holds all ``folders``."""
    return PurePosixPath(posixpath.commonpath(folders))
