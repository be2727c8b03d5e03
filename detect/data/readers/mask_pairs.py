"""Which image files are masks of which images, by their names.

These layouts are known, and mixtures of them:

- ``masks/a.png`` beside ``images/a.jpg``, in any folder whose name says that it holds masks, and with additions such
  as ``PedMasks/a_mask.png``,
- ``a_mask.png`` beside ``a.jpg`` or ``a_img.png``,
- one file per object: ``masks/a_0.png``, ``masks/a_obj1.png``, ``masks/a/0.png``, and ``a/masks/0.png`` for
  ``a/images/a.png``,
- one folder per class: ``masks/kite/a.png``, ``masks/bird/a.png``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from detect.data.splits import parts_without_split, split_from_path

LOSSLESS_SUFFIXES = (".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".pbm", ".ppm", ".pnm")
_FOLDER = re.compile(
    r"mask|segmentation|label|panoptic|instance|annotation|groundtruth|ground_truth|ground-truth|(?<![a-z])gt(?![a-z])",
    re.IGNORECASE,
)
_WORDS = r"(?:cp_)?(?:masks?|instances?|inst|segmentations?|seg|labels?|gt|groundtruth|matte|panoptic)"
_IMAGE_WORDS = ("img", "image", "rgb", "raw")
_SUFFIX = re.compile(rf"[ ._-]{_WORDS}$", re.IGNORECASE)
_PREFIX = re.compile(rf"^{_WORDS}[ ._-]", re.IGNORECASE)
_NUMBER = re.compile(rf"(?:[ ._-](?:{_WORDS}|obj|object|id)?[ ._-]?\d+|[ ._-]?\(\d+\))$", re.IGNORECASE)
_NUMBERED_MASK = re.compile(rf"[ ._-]{_WORDS}[ ._-]?\d+$", re.IGNORECASE)


def pair_masks(files: Iterable[PurePosixPath]) -> dict[PurePosixPath, list[PurePosixPath]]:
    """Return {image: its masks, sorted} for the images in ``files`` that have masks among them."""
    images: list[PurePosixPath] = []
    candidates: list[PurePosixPath] = []
    for file in files:
        (candidates if looks_like_mask(file) else images).append(file)
    return match_masks(images, candidates)


def without_masks(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Return the images that are not masks of other images by their names and formats."""
    used = {mask for masks in pair_masks(files).values() for mask in masks if mask.suffix.lower() in LOSSLESS_SUFFIXES}
    return [file for file in files if file not in used]


def looks_like_mask(file: PurePosixPath) -> bool:
    """Return whether a name, or a folder in the path, says that a file is a mask."""
    stem = file.stem
    in_name = _SUFFIX.search(stem) or _PREFIX.search(stem) or _NUMBERED_MASK.search(stem)
    return bool(in_name) or any(map(_FOLDER.search, file.parent.parts))


def match_masks(
    images: Sequence[PurePosixPath], candidates: Sequence[PurePosixPath]
) -> dict[PurePosixPath, list[PurePosixPath]]:
    """Return {image: its masks, sorted}. Masks that fit no image, or several equally well, are left out.

    Semantic masks of Pascal VOC (SegmentationClass) are left out where instance masks (SegmentationObject) exist.
    """
    if any("segmentationobject" in part.lower() for file in candidates for part in file.parts):
        candidates = [file for file in candidates if "segmentationclass" not in str(file).lower()]
    by_stem = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    masks_of = defaultdict(list)
    for mask in sorted(candidates):
        same_stem = next((by_stem[key] for key in _keys(mask) if key in by_stem), [])
        if nearest := _nearest(mask, same_stem):
            masks_of[nearest].append(mask)
    return dict(masks_of)


def class_folders(masks_of: dict[PurePosixPath, list[PurePosixPath]]) -> dict[PurePosixPath, str]:
    """Return {folder of masks: class name} if the masks of one image are in several sibling folders, else {}.

    Raises ValueError, with the folders, if they are in several folders that are not siblings in a folder of masks:
    then it is unknown which of them to use.
    """
    folders: set[PurePosixPath] = set()
    for image, masks in masks_of.items():
        of_image = {mask.parent for mask in masks}
        if len(of_image) > 1 and len({mask.stem for mask in masks}) < len(masks):
            folders |= of_image
        elif len(of_image) > 1:
            folders |= {folder for folder in of_image if folder.name != image.stem}
    if not folders:
        return {}
    above = {folder.parent for folder in folders}
    if len({parts_without_split(folder) for folder in above}) > 1 or not all(
        _FOLDER.search(str(folder)) for folder in above
    ):
        raise ValueError(" and ".join(map(str, sorted(folders)[:2])))
    return {mask.parent: mask.parent.name for masks in masks_of.values() for mask in masks}


def _keys(mask: PurePosixPath) -> Iterator[str]:
    """Yield the stems that the image of a mask may have, the likeliest first."""
    stem = mask.stem
    yield stem
    shorter = _PREFIX.sub("", stem)
    for pattern in (_SUFFIX, _NUMBER, _SUFFIX, _NUMBER):
        if (shorter := pattern.sub("", shorter)) != stem:
            yield shorter
    if shorter != stem:  # a_img.png beside a_mask.png
        yield from (f"{shorter}{separator}{word}" for separator in "_-. " for word in _IMAGE_WORDS)
    for folder in reversed(mask.parent.parts):
        yield folder
        if not _FOLDER.search(folder):
            return


def _nearest(mask: PurePosixPath, images: Sequence[PurePosixPath]) -> PurePosixPath | None:
    """Return the image whose path is most similar to that of a mask, None if there are none or several."""

    def rank(image: PurePosixPath) -> tuple[bool, int, int]:
        common = 0
        for one, other in zip(image.parent.parts, mask.parent.parts, strict=False):
            if one != other:
                break
            common += 1
        return split_from_path(image) == split_from_path(mask), len(set(image.parts) & set(mask.parts)), common

    ranked = sorted(images, key=rank)
    return ranked[-1] if ranked and (len(ranked) == 1 or rank(ranked[-2]) < rank(ranked[-1])) else None
