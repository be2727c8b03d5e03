"""Reader of instance masks that are images: each value or color is an object, or each file (``mask_pairs``).

- One mask per image: each value or color except 0 or black is an object, as in PennFudanPed. A mask of one value, such
  as black and white, is one object; parts that do not touch are not separated.
- Several masks per image: each is one object, of the gray levels above half of the maximum.
- Panoptic masks with a JSON file (``panoptic``): the objects and classes are those of the file.

Without a JSON file all objects have the class "object", or that of the folder if there is one folder of masks per
class. Semantic masks look the same: one object per class and image would result. Therefore what was assumed is noted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from detect.data.discovery.image_folders import Source
from detect.data.file_listing import FileListing, images_below
from detect.data.readers import mask_images
from detect.data.readers.mask_pairs import LOSSLESS_SUFFIXES, class_folders, looks_like_mask, match_masks, pair_masks
from detect.data.readers.panoptic import Segment, read_panoptic
from detect.data.readers.parsing import size_on_disk
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError
from detect.structures import masks

CLASS_NAME = "object"
_EXAMINED = 20  # pairs of an image and a mask
_MAX_COLORS = 1024  # of a mask, to recognize it
_Pairs = dict[PurePosixPath, list[PurePosixPath]]


@dataclass
class _Seen:
    """What the masks without a JSON file look like, for the note."""

    binary: int = 0
    several: int = 0
    with_gaps: int = 0
    counts: list[int] = field(default_factory=list)

    def add(self, values: np.ndarray) -> None:
        self.counts.append(len(values))
        self.binary += len(values) == 1
        self.several += len(values) > 1
        self.with_gaps += len(values) > 0 and int(values[-1]) < 256 and int(values[-1]) != len(values) > 1

    def in_words(self) -> str:
        if not self.several:
            masks = "the mask has" if self.binary == 1 else f"each of {self.binary} masks has"
            return f"{masks} one value; read as one object, also if it has several parts"
        text = f"each value or color of a mask read as one object, up to {max(self.counts)} in a mask"
        if self.with_gaps * 2 > self.several:
            text += "; most masks skip values (1 and 3 without 2): if they are semantic masks, use another export"
        return text


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read the masks below the folder ``annotations``, see ``Reader.parse``.

    images, annotations: if one folder contains the other, masks are those files whose names or folders say so;
        otherwise all images below ``annotations``.
    """
    root, photos, masks_of = _pairs_on_disk(images, annotations)
    try:
        folders = class_folders(masks_of)
    except ValueError as error:
        raise DataError(
            f"{annotations} has several folders of masks, {error}; keep one, or name it in a YAML file"
        ) from None
    panoptic = read_panoptic(annotations)
    names = list(panoptic.categories.values())
    builder = UnvalidatedSplitBuilder(images, annotations, "instance")
    seen = _Seen()
    for photo in photos:
        name = Path(os.path.relpath(root / photo, images)).as_posix()
        if not (files := masks_of.get(photo)):
            builder.skip("unannotated_image", Location(name, "", ""))
            continue
        image = builder.add_image(name, source=Path(os.path.relpath(root / files[0], annotations)).as_posix())
        segments = panoptic.of_mask(files[0]) if len(files) == 1 else None
        if segments is not None:
            _add_segments(builder, image, root / files[0], segments, list(panoptic.categories))
        elif names:
            builder.skip("unannotated_image", Location(name, "", "no panoptic file lists its mask"), image)
        elif len(files) == 1 and not folders:
            _add_values(builder, image, root / files[0], seen)
        else:
            for number, file in enumerate(files, start=1):
                _add_file(builder, image, number, root / file, folders.get(file.parent, CLASS_NAME))
    if not builder.names:
        raise DataError(f"no mask in {annotations} has the name of an image in {images}")
    if seen.counts and not names:
        builder.note("assumed_instances", value=seen.in_words() + _unread_classes(annotations))
    return builder.finish(names or None, list(panoptic.categories) or None)


def _unread_classes(annotations: Path) -> str:
    """Return a text if the classes of the objects are in semantic masks of Pascal VOC, "" otherwise."""
    if any((folder / "SegmentationClass").is_dir() for folder in (annotations, annotations.parent)):
        return (
            f"; the classes in SegmentationClass are not read, all are '{CLASS_NAME}': export COCO JSON to keep them"
        )
    return ""


def _recognize(_: AnnotationFile) -> bool:
    return False


def _find_sources(_: Sequence[PurePosixPath], listing: FileListing) -> list[Source]:
    """Return one source if most images that look like masks by their names also do so by their content, else [].

    Raises DataError if they are JPEG.
    """
    pairs = pair_masks(listing.images)
    if not pairs:
        return []
    examined = list(pairs.items())[:: max(1, len(pairs) // _EXAMINED)]
    equal = [(photo, mask) for photo, (mask, *_) in examined if _same_size(listing.folder, photo, mask)]
    if len(equal) * 2 <= len(examined):
        return []
    lossy = [mask for _, mask in equal if mask.suffix.lower() not in LOSSLESS_SUFFIXES]
    if len(lossy) * 2 > len(equal):
        raise DataError(
            f"{listing.folder / lossy[0]} looks like a mask, but {lossy[0].suffix.lstrip('.').upper()} changes the "
            "values of pixels; save masks as PNG"
        )
    if sum(_has_few_colors(listing.folder / mask) for _, mask in equal) * 2 <= len(equal):
        return []
    photo_folder = _common_folder(list(pairs))
    mask_folder = _common_folder([mask for of_photo in pairs.values() for mask in of_photo])
    if photo_folder in (mask_folder, *mask_folder.parents) or mask_folder in photo_folder.parents:
        photo_folder = mask_folder = _common_folder([photo_folder / "x", mask_folder / "x"])
    return [Source(photo_folder, mask_folder, None)]


READER = Reader("instance masks as images", (), _recognize, parse, find_sources=_find_sources)


def _pairs_on_disk(images: Path, annotations: Path) -> tuple[Path, list[PurePosixPath], _Pairs]:
    """Return the common folder, the images that are not masks, and {image: its masks}; relative to that folder."""
    root = Path(os.path.commonpath([images.absolute(), annotations.absolute()]))
    photos, others = (
        [PurePosixPath(Path(os.path.relpath(folder / name, root)).as_posix()) for name in images_below(folder)]
        for folder in (images, annotations)
    )
    if root not in (images.absolute(), annotations.absolute()):
        return root, photos, match_masks(photos, others)
    masks_of = pair_masks(dict.fromkeys([*photos, *others]))
    return root, [photo for photo in photos if photo in masks_of or not looks_like_mask(photo)], masks_of


def _add_values(builder: UnvalidatedSplitBuilder, image: int, mask: Path, seen: _Seen) -> None:
    """Add the objects of the only mask of an image."""
    try:
        values = mask_images.read_values(mask)
    except DataError as error:
        builder.skip("unreadable_annotations", Location(mask.name, "", str(error)), image)
        return
    if mask_images.is_blurred(values):
        values = mask_images.foreground(values).astype(np.int64)
    wanted = mask_images.instance_values(values)
    if len(wanted) > mask_images.MAX_INSTANCES:
        text = f"{len(wanted)} different values or colors; expected one for each object"
        builder.skip("unreadable_annotations", Location(mask.name, "", text), image)
        return
    seen.add(wanted)
    for value, rle in mask_images.rles_of_values(values, wanted):
        builder.add_object(image, builder.label(CLASS_NAME), value, mask=rle)


def _add_file(builder: UnvalidatedSplitBuilder, image: int, number: int, mask: Path, label: str) -> None:
    """Add the object of one of several masks of an image."""
    try:
        pixels = mask_images.foreground(mask_images.read_values(mask))
    except DataError as error:
        builder.skip_object(InvalidEntryError("invalid_mask", str(error)), image, number, str(mask))
        return
    if not pixels.any():
        builder.skip_object(InvalidEntryError("zero_area_box", f"{mask.name} is empty"), image, number, str(mask))
        return
    builder.add_object(image, builder.label(label), number, mask=masks.from_bitmap(pixels))


def _add_segments(
    builder: UnvalidatedSplitBuilder,
    image: int,
    mask: Path,
    segments: Sequence[Segment],
    categories: Sequence[int],
) -> None:
    """Add the segments of a panoptic mask that its JSON file lists."""
    try:
        values = mask_images.read_values(mask, gray_as_color=True)
    except DataError as error:
        builder.skip("unreadable_annotations", Location(mask.name, "", str(error)), image)
        return
    rle_of = dict(mask_images.rles_of_values(values, np.array([segment.id for segment in segments], np.int64)))
    for segment in segments:
        if segment.id in rle_of:
            label = categories.index(segment.category) + 1
            builder.add_object(image, label, segment.id, mask=rle_of[segment.id], iscrowd=segment.is_crowd)
        else:
            problem = InvalidEntryError("zero_area_box", f"{mask.name} has no pixel of this segment")
            builder.skip_object(problem, image, segment.id, str(segment))


def _same_size(folder: Path, photo: PurePosixPath, mask: PurePosixPath) -> bool:
    size = size_on_disk(folder / photo)
    return size != (0, 0) and size == size_on_disk(folder / mask)


def _has_few_colors(path: Path) -> bool:
    try:
        values = mask_images.read_values(path)
    except DataError:
        return False
    return len(np.unique(values)) <= _MAX_COLORS


def _common_folder(files: Sequence[PurePosixPath]) -> PurePosixPath:
    return PurePosixPath(os.path.commonpath([file.parent.as_posix() for file in files]))
