"""Groups of images that a random split keeps together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detect.data.near_duplicates import fingerprint_signatures, group_near_duplicates, merge_groups
from detect.data.siblings import clip_groups, source_groups
from detect.media.fingerprint import fingerprint_images
from detect.text import counted

_MAX_FRACTION = 0.7  # of all images in one group, since the other splits need some too


def split_groups(names: Sequence[str], paths: Sequence[Path]) -> tuple[np.ndarray, str]:
    """Return a group number per image, int64 [N], and in words what is kept together beside near-duplicates.

    names: image names.  paths: their files.
    Grouped are byte-identical images, near-duplicates, copies by their names, and frames of a clip; a clip that is a
    large part of all images is divided into ranges of consecutive frames. If the groups are too large to be split,
    kinds of groups are left out, first near-duplicates, which connect the frames of a clip.
    """
    prints = fingerprint_images(paths)
    vectors = fingerprint_signatures(prints)
    first: dict[str, int] = {}
    copies = np.array([first.setdefault(one.digest or str(i), i) for i, one in enumerate(prints)])
    near = merge_groups(group_near_duplicates(vectors)[0], copies)
    sources, clips = source_groups(names), clip_groups(names, vectors)
    by_name = [groups for groups in (sources, clips) if len(np.unique(groups)) < len(groups)]
    choices = [[near, *by_name], [copies, *by_name], by_name, [near, *by_name[:1]], by_name[:1]] if by_name else []
    for parts in choices:
        groups = merge_groups(*parts)
        if np.bincount(groups).max() <= _MAX_FRACTION * len(groups):
            return groups, _describe(parts, sources, clips)
    return (near if near.any() else np.arange(len(paths))), ""  # a single group cannot be split


def _describe(parts: Sequence[np.ndarray], sources: np.ndarray, clips: np.ndarray) -> str:
    copied, clipped = (int((np.bincount(groups) > 1).sum()) for groups in (sources, clips))
    texts = [
        f"the copies of {counted(copied, 'image')}" if copied and any(part is sources for part in parts) else "",
        f"{counted(clipped, 'range')} of video frames" if clipped and any(part is clips for part in parts) else "",
    ]
    text = " and ".join(filter(None, texts))
    return text and f"{text} kept together"
