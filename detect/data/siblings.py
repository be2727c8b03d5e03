"""Images that come from the same image or video, recognized by their names: augmented copies, copies, frames.

Such images are too similar to stand in different splits: the metrics on val and test would be too high. Recognized are

- ``NAME_jpg.rf.HASH``, as Roboflow names each augmented copy,
- ``NAME_aug1``, ``NAME-augmented-2``, ``aug_3_NAME``,
- beside an image ``NAME`` or each other: ``NAME copy``, ``NAME - Copy (2)``, ``Copy of NAME``, and names of
  transforms such as ``NAME_flipped``, ``NAME_rot90`` and ``NAME_blur``; beside ``NAME`` only: ``NAME (1)``,
- ``CLIP_000123``, frames of a clip, if the name says so or neighboring frames are similar.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from detect.data.near_duplicates import merge_groups
from detect.data.splits import parts_without_split

_ROBOFLOW = re.compile(r"^(.+)\.rf\.[\w-]{6,}$")
_UPLOADED_SUFFIX = re.compile(r"_(jpe?g|png|bmp|webp|tiff?)$")  # Roboflow writes a.jpg as a_jpg
_AUGMENTED = re.compile(r"^aug(?:mented)?[ _-]?\d*[ _-](.+)$|^(.+?)[ _.-]+aug(?:mented|mentation|ment)?[ _-]*v?\d*$")
_COPY = re.compile(
    r"^cop(?:y|ie) (?:\(\d+\) )?(?:of|de) (.+)$|^(.+?)(?: -)?[ _-](?:copy|kopie|copie|copia)[ _-]?\(?\d*\)?$"
)
_NUMBERED = re.compile(r"^(.+?) ?\(\d{1,2}\)$")
_WORDS = (
    r"[hv]?flip(?:ped|lr|ud|h|v|_?horizontal|_?vertical)?|mirror(?:ed)?|rot(?:ate|ated|ation)?[_-]?\d*|blur(?:red)?\d*|"
    r"nois[ey]\d*|bright(?:er|ness|ened)?\d*|dark(?:er|ened)?\d*|contrast\d*|crop(?:ped)?\d*|zoom(?:ed)?\d*|"
    r"shift(?:ed)?\d*|shear(?:ed)?\d*|scaled?\d*|translated?\d*|gr[ae]y(?:scale)?|hue\d*|saturat(?:ion|ed)\d*|"
    r"sharp(?:en|ened)?\d*|cutout\d*|jitter(?:ed)?\d*|gamma\d*|hsv\d*|equalized?|orig(?:inal)?"
)
_TRANSFORM = re.compile(rf"^(.+?)(?:[_ .-]+(?:{_WORDS}))+$")
_FRAME = re.compile(r"^(.*?)(\d{1,9})$")
_CLIP_WORDS = re.compile(r"(?<![a-z])(?:mp4|mov|avi|mkv|webm|frames?|clip|video|vid)(?![a-z])")

_MAX_NUMBERED = 5  # images NAME (1), NAME (2), ...; browsers number different downloads of one name
_MAX_FRACTION = 0.5  # of all images; a larger group says nothing, such as one name for all uploads
_MIN_CLIP = 3  # frames
# Neighboring frames of a clip differ (1 - correlation of their thumbnails) by less than this, and by less than this
# fraction of the difference between random images of the dataset.
_MAX_DIFFERENCE, _MAX_RATIO = 0.3, 0.5
_ROUNDING = 1e-5
_LONG = 0.15  # fraction of all images; a longer clip is divided into ranges of frames
_RANGE, _MIN_RANGE = 0.05, 5  # length of a range: this fraction of all images, and at least so many
# A long clip leaks if it was split frame by frame. If it was split in ranges, few frames have such neighbors.
_MAX_LEAKING_FRAMES = 0.6  # fraction of the frames of a split that are neighbors of a frame in another split


class Leak(NamedTuple):
    """An image with a sibling in another split: its row in its split, and the sibling's name and split."""

    row: int
    sibling: str
    split: str


def source_groups(names: Sequence[str]) -> np.ndarray:
    """Return a group number per image, int64 [N], equal for images whose names say that they are copies of one image.

    names: relative paths. Folders named after splits are ignored.
    """
    keys = _source_keys([_stem(name) for name in names])
    return _numbered(_without_large(keys))


def clip_groups(names: Sequence[str], vectors: np.ndarray | None = None) -> np.ndarray:
    """Return a group number per image, int64 [N], equal for frames of one clip, or of one range of a long clip.

    vectors: signatures of the images (``near_duplicates.signatures``), by which clips are recognized; without them, a
        name must contain a word such as "frame", "clip" or "mp4".
    """
    groups = np.arange(len(names))
    for rows in find_clips(names, vectors):
        length = max(_MIN_RANGE, _RANGE * len(names))
        parts = max(3, int(np.ceil(len(rows) / length))) if len(rows) > _LONG * len(names) else 1
        for part in np.array_split(rows, parts):
            groups[part] = part[0]
    return groups


def sibling_leaks(
    names: Mapping[str, Sequence[str]], vectors: Mapping[str, np.ndarray] | None = None
) -> dict[str, list[Leak]]:
    """Return by split the images of which a sibling belongs to an earlier split; all splits are in the result.

    names: image names by split, the most important split to compare with, train, first.
    vectors: signatures of the images by split, see ``clip_groups``.
    The frames of a long clip count only if it is split frame by frame instead of in ranges. A name that several splits
    have, such as train/0001.jpg and val/0001.jpg, numbers the images of each split, so neither it nor names made from
    it are evidence; equal files are found by their content.
    """
    every = [(split, row, name) for split, members in names.items() for row, name in enumerate(members)]
    texts, split_of = [name for *_, name in every], np.array([split for split, *_ in every])
    is_shared = _are_in_several([_stem(text) for text in texts], split_of)
    clips = np.arange(len(texts))
    for rows in find_clips(texts, None if vectors is None else np.concatenate([vectors[split] for split in names])):
        if is_shared[rows].any():
            continue
        if len(rows) <= _LONG * len(texts) or _is_split_by_frame(split_of[rows]):
            clips[rows] = rows[0]
    groups = source_groups(texts)
    separate = np.isin(groups, groups[is_shared])
    groups[separate] = len(texts) + np.arange(len(texts))[separate]
    groups = merge_groups(groups, clips) if texts else clips
    first: dict[int, tuple[str, str]] = {}
    leaks: dict[str, list[Leak]] = {split: [] for split in names}
    for (split, row, name), group in zip(every, groups.tolist(), strict=True):
        other, sibling = first.setdefault(group, (split, name))
        if other != split:
            leaks[split].append(Leak(row, sibling, other))
    return leaks


def names_across_splits(names: Sequence[str], split_of: np.ndarray) -> list[str]:
    """Return the names by which images of several splits can be grouped as if they were one split.

    split_of: split of each image, str [N].
    If a name occurs in several splits, such as train/0001.jpg and val/0001.jpg, names number the images of each split
    and say nothing about images of another one. Then each split gets a folder of its own.
    """
    if not _are_in_several([_stem(name) for name in names], split_of).any():
        return list(names)
    number = {split: i for i, split in enumerate(dict.fromkeys(split_of.tolist()))}
    return [f"{number[split]}/{name}" for name, split in zip(names, split_of.tolist(), strict=True)]


def _are_in_several(stems: Sequence[str], split_of: np.ndarray) -> np.ndarray:
    """Return which stems occur in several splits, bool [N]; those of Roboflow's copies do not count."""
    splits = defaultdict(set)
    for stem, split in zip(stems, split_of.tolist(), strict=True):
        splits[stem].add(split)
    return np.array([len(splits[stem]) > 1 and not stem.endswith(".rf") for stem in stems], bool)


def _is_split_by_frame(splits: np.ndarray) -> bool:
    """Return whether most frames of any split but the largest are neighbors of a frame of another split.

    splits: split of each frame of a clip in the order of its frames, str [n].
    """
    change = splits[1:] != splits[:-1]
    beside_other = np.append(change, False) | np.insert(change, 0, False)
    found, counts = np.unique(splits, return_counts=True)
    smaller = [split for split in found.tolist() if split != found[counts.argmax()]]
    return any(beside_other[splits == split].mean() > _MAX_LEAKING_FRAMES for split in smaller)


def _stem(name: str) -> str:
    """Return a path in lower case without suffix and without folders that name a split."""
    folder, _, file = name.lower().rpartition("/")
    stem = file.rpartition(".")[0] or file
    if found := _ROBOFLOW.match(stem):
        stem = f"{found[1]}.rf"  # marks the name of an upload, see ``_uploaded``
    return f"{_without_split_names(folder)}{stem}"


@lru_cache(maxsize=10_000)  # many images share a folder
def _without_split_names(folder: str) -> str:
    """Return a folder, followed by a slash if it is not empty, without the parts that name a split."""
    return "".join(f"{part}/" for part in parts_without_split(PurePosixPath(folder)))


def _uploaded(stem: str) -> str:
    """Return a result of ``_stem`` as the image was called when it was uploaded to Roboflow, if it was."""
    return _UPLOADED_SUFFIX.sub("", stem.removesuffix(".rf")) if stem.endswith(".rf") else stem


def _source_keys(stems: Sequence[str]) -> list[str]:
    """Return a key per image, equal for copies of one image."""
    keys = [_uploaded(stem) for stem in stems]
    for pattern, needs_original in ((_AUGMENTED, False), (_COPY, True), (_TRANSFORM, True), (_NUMBERED, True)):
        keys = _stripped(keys, pattern, needs_original)
    return keys


def _stripped(keys: Sequence[str], pattern: re.Pattern[str], needs_original: bool) -> list[str]:
    """Return the keys without what ``pattern`` matches.

    needs_original: whether a key is shortened only if another image has the shorter key, or is shortened to it.
    """
    existing, shorter = set(keys), [_base(key, pattern) for key in keys]
    counts = defaultdict(set)
    for key, base in zip(keys, shorter, strict=True):
        counts[base].add(key)

    def accepted(key: str, base: str) -> bool:
        if pattern is _NUMBERED and len(counts[base]) > _MAX_NUMBERED:
            return False
        return not needs_original or base in existing or (pattern is not _NUMBERED and len(counts[base]) > 1)

    return [base if accepted(key, base) else key for key, base in zip(keys, shorter, strict=True)]


def _base(key: str, pattern: re.Pattern[str]) -> str:
    folder, slash, stem = key.rpartition("/")
    found = pattern.match(stem)
    return key if found is None else folder + slash + next(filter(None, found.groups()))


def _without_large(keys: Sequence[str]) -> list[str]:
    """Return the keys with a key of its own for each image of a group that is too large."""
    counts: dict[str, int] = defaultdict(int)
    for key in keys:
        counts[key] += 1
    limit = max(2, _MAX_FRACTION * len(keys))
    return [key if counts[key] <= limit else f"{key}/{row}" for row, key in enumerate(keys)]


def _numbered(keys: Iterable[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def find_clips(names: Sequence[str], vectors: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Yield the rows of each clip, int64 [n] in the order of its frames. Arguments as in ``clip_groups``."""
    frames: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, name in enumerate(names):
        if found := _FRAME.match(_uploaded(_stem(name))):
            frames[found[1].rstrip("_-. ")].append((int(found[2]), row))
    typical = None if vectors is None or not len(vectors) else _typical_difference(vectors)
    for prefix, members in frames.items():
        rows = np.array([row for _, row in sorted(members)])
        if len(rows) < _MIN_CLIP:
            continue
        if _CLIP_WORDS.search(prefix) or (vectors is not None and _are_similar(vectors[rows], typical)):
            yield rows


def _typical_difference(vectors: np.ndarray) -> float:
    """Return the median difference of random pairs of images."""
    rng = np.random.default_rng(0)
    one, other = (vectors[rng.integers(len(vectors), size=500)] for _ in range(2))
    return _median_difference(one, other)


def _are_similar(vectors: np.ndarray, typical: float | None) -> bool:
    """Return whether neighbors, rows of ``vectors``, are more similar than random images."""
    difference = _median_difference(vectors[1:], vectors[:-1])
    return difference < _MAX_DIFFERENCE and (typical is None or difference < _MAX_RATIO * typical)


def _median_difference(vectors: np.ndarray, others: np.ndarray) -> float:
    """Return the median difference of pairs of images, and not less than rounding makes of identical images."""
    return max(float(np.median(1 - (vectors * others).sum(axis=1))), _ROUNDING)
