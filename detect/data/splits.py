"""Which images are for training, which for validation and which for the test.

Names of folders and files tell it in many datasets. Where nothing does, the images are dealt out at random once,
and what came of it is kept in a file beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from detect.errors import DataError
from detect.io.files import disk_errors_naming, write_text
from detect.text import first_few

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
_WORDS = {"train": "train|training|trainval", "val": "val|valid|validation", "test": "test|testing"}
_PATTERNS = {split: re.compile(rf"(?<![a-z])({words})(?![a-z])") for split, words in _WORDS.items()}
_HEAD = """\
# Which images of this dataset are to validate and to test on; all others are trained on, new ones too.
# Dealt out at random on first use, with a like share of each class in each, and with images that look alike
# together. It stays as it is from now on, so that results can be compared; change it as you like.
"""


def split_from_path(path: PurePosixPath) -> str | None:
    """The split that the last part of a relative path tells that tells one, as in ``a/train/b.json`` and
    ``instances_val2017.json``; a part with two of them tells none.
    """
    for part in reversed(path.parts):
        found = [split for split, pattern in _PATTERNS.items() if pattern.search(part.lower())]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def split_at_random(counts: np.ndarray, groups: np.ndarray, shares: Mapping[str, float], seed: int = 0) -> np.ndarray:
    """The split of each image, int64 [N], positions in ``shares``, at random with a like share of each class.

    counts: int [N, K], the objects of each class on each image.  groups: int64 [N]; images of one group stay
    together.  shares: the part of all that each split gets, 0..1, the first one being that which a lack hurts least.

    Iterative stratification (Sechidis et al., ECML 2011, https://doi.org/10.1007/978-3-642-23808-6_10) of groups:
    the rarest class is dealt out first, each group to the split that lacks most of the class, and of those to the one
    that lacks most images.
    """
    rng = np.random.default_rng(seed)
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    # What a split has its share of: of each class the images that show it, and of all images.
    shown = np.zeros((len(sizes), counts.shape[1]), np.int64)
    np.add.at(shown, group_of, (counts > 0).astype(np.int64))
    part = np.array(list(shares.values()))
    lacking_class = part[:, None] * shown.sum(axis=0)
    lacking = part * sizes.sum()
    split = np.full(len(sizes), -1)
    left = shown.astype(np.float64)
    while (split < 0).any():
        totals = left[split < 0].sum(axis=0)
        rarest = int(np.argmin(np.where(totals > 0, totals, np.inf))) if (totals > 0).any() else None
        candidates = np.flatnonzero((split < 0) & (left[:, rarest] > 0 if rarest is not None else True))
        # The largest first, while there is room for them; equal ones in random order.
        order = candidates[np.lexsort((rng.random(len(candidates)), -sizes[candidates]))]
        for group in order.tolist():
            wish = lacking_class[:, rarest] if rarest is not None else lacking
            best = np.flatnonzero(wish >= wish.max() - 1e-9)
            to = best[np.argmax(lacking[best])]
            split[group] = to
            lacking_class[to] -= shown[group]
            lacking[to] -= sizes[group]
            left[group] = 0
    _fill_empty(split, sizes, len(part))
    return split[group_of]


def _fill_empty(split: np.ndarray, sizes: np.ndarray, count: int) -> None:
    """A split that came away with nothing gets the smallest group of the first, while that has several."""
    for to in range(1, count):
        of_first = np.flatnonzero(split == 0)
        if not (split == to).any() and len(of_first) > 1:
            split[of_first[np.argmin(sizes[of_first])]] = to


def read_splits(path: Path) -> dict[str, list[str]] | None:
    """The names of the images of val and test as ``write_splits`` kept them; None where there is no such file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    right = isinstance(content, dict) and set(content) <= {"val", "test"} and content.get("val")
    if not right or not all(isinstance(v, list) and all(isinstance(n, str) for n in v) for v in content.values()):
        raise DataError(f"{path} should have the lists 'val' and 'test' of names of images; delete it to split anew")
    if both := set(content["val"]).intersection(content.get("test", [])):
        raise DataError(f"{path} has images in both val and test: {first_few(sorted(both))}")
    return content


def write_splits(path: Path, members: Mapping[str, Sequence[str]]) -> None:
    """Keeps the names of the images of val and test."""
    with disk_errors_naming(path):
        path.parent.mkdir(exist_ok=True)
    listed = {split: list(names) for split, names in members.items()}
    write_text(path, _HEAD + yaml.safe_dump(listed, allow_unicode=True, sort_keys=False))
