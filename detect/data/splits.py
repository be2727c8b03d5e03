"""Splits of a dataset: from the names of files and folders, or at random, stratified by class.

A random split is saved in splits.yaml beside the images, so that it stays the same and results can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from detect.errors import DataError
from detect.io.files import disk_errors_naming, write_text
from detect.io.yaml_files import YamlError, read_yaml
from detect.text import first_few

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
_WORDS = {"train": "train|training|trainval", "val": "val|valid|validation", "test": "test|testing"}
_PATTERNS = {split: re.compile(rf"(?<![a-z])({words})(?![a-z])") for split, words in _WORDS.items()}
_HEADER = """\
# Images of the validation split and of the test split. All other images are for training, also those added later.
# The splits were drawn at random on first use: each class has about the same fraction of its images in each split, and
# near-duplicates are in the same split. This file is never overwritten, so that results can be compared.
# You may edit it.
"""


def split_from_path(path: PurePosixPath) -> str | None:
    """Return the split that a relative path names, as ``a/train/b.json`` and ``instances_val2017.json`` do.

    The last part with such a word counts. Returns None when there is none, or when that part names two splits.
    """
    for part in reversed(path.parts):
        found = [split for split, pattern in _PATTERNS.items() if pattern.search(part.lower())]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def parts_without_split(folder: PurePosixPath) -> tuple[str, ...]:
    """Return the parts of a relative path that name no split."""
    return tuple(part for part in folder.parts if split_from_path(PurePosixPath(part)) is None)


def split_at_random(
    counts: np.ndarray, groups: np.ndarray, fractions: Mapping[str, float], seed: int = 0
) -> np.ndarray:
    """Assign images to splits at random, stratified by class, and return positions in ``fractions``, int64 [N].

    counts: int [N, K], number of objects of each class on each image.
    groups: int64 [N], group of each image; images of a group stay in the same split.
    fractions: fraction of all images for each split, 0..1. A split without any group takes one from the first split.

    Iterative stratification (Sechidis et al., ECML 2011, https://doi.org/10.1007/978-3-642-23808-6_10) of groups: the
    rarest class is assigned first, each of its groups to the split that lacks most images of the class, and among
    equal ones to the split that lacks most images.
    """
    rng = np.random.default_rng(seed)
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    images_with_class = np.zeros((len(sizes), counts.shape[1]), np.int64)  # of each group
    np.add.at(images_with_class, group_of, (counts > 0).astype(np.int64))
    target = np.array(list(fractions.values()))
    missing_of_class = target[:, None] * images_with_class.sum(axis=0)  # [splits, K]
    missing = target * sizes.sum()  # [splits]
    split = np.full(len(sizes), -1)
    remaining = images_with_class.astype(np.float64)
    while (split < 0).any():
        totals = remaining[split < 0].sum(axis=0)
        rarest = int(np.argmin(np.where(totals > 0, totals, np.inf))) if (totals > 0).any() else None
        candidates = np.flatnonzero((split < 0) & (remaining[:, rarest] > 0 if rarest is not None else True))
        # Large groups first, since they fit only into splits that lack many images; equal sizes in random order.
        order = candidates[np.lexsort((rng.random(len(candidates)), -sizes[candidates]))]
        for group in order.tolist():
            wanted = missing_of_class[:, rarest] if rarest is not None else missing
            best = np.flatnonzero(wanted >= wanted.max() - 1e-9)
            to = best[np.argmax(missing[best])]
            split[group] = to
            missing_of_class[to] -= images_with_class[group]
            missing[to] -= sizes[group]
            remaining[group] = 0
    _fill_empty_splits(split, sizes, len(target))
    return split[group_of]


def _fill_empty_splits(split: np.ndarray, sizes: np.ndarray, count: int) -> None:
    """Give each empty split the smallest group of the first split, as long as that keeps one. Changes ``split``."""
    for to in range(1, count):
        of_first = np.flatnonzero(split == 0)
        if not (split == to).any() and len(of_first) > 1:
            split[of_first[np.argmin(sizes[of_first])]] = to


def read_splits(path: Path) -> dict[str, list[str]] | None:
    """Return the image names of the splits val and test from a file of ``write_splits``; None without such a file."""
    try:
        content = read_yaml(path, [("val",), ("test",)])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except YamlError as error:
        raise DataError(str(error)) from None
    valid = isinstance(content, dict) and set(content) <= {"val", "test"} and content.get("val")
    if not valid or not all(isinstance(v, list) and all(isinstance(n, str) for n in v) for v in content.values()):
        raise DataError(f"{path} should hold lists of image names under 'val' and 'test'; delete it to split again")
    if both := set(content["val"]).intersection(content.get("test", [])):
        raise DataError(f"{path} has images in both val and test: {first_few(sorted(both))}")
    return content


def write_splits(path: Path, members: Mapping[str, Sequence[str]]) -> None:
    """Save the image names of the splits val and test. Raises DiskError."""
    with disk_errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    listed = {split: list(names) for split, names in members.items()}
    write_text(path, _HEADER + yaml.safe_dump(listed, allow_unicode=True, sort_keys=False))


def read_name_list(path: Path) -> list[str]:
    """Return the lines of a text file with one name per line. Raises DataError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
