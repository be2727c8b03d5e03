"""Annotations of photographs whose EXIF orientation turns them by 90 degrees.

Programs disagree: some annotate the image as it is shown, some the pixels as they are stored, and both kinds may state
the size of the stored image. The boxes decide. A box that fits only into the image as shown, or only into the stored
one, tells how its image was annotated, and usually how all images of the dataset were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detect.data.columns import RLE
from detect.data.table import Table
from detect.data.validation.annotations import Finding, valid_polygons
from detect.data.validation.coordinates import rotated
from detect.media.images import Header

_TOLERANCE_PX = 2.0  # beyond the image


def fit_exif_rotation(table: Table, headers: Sequence[Header | str]) -> tuple[Table, list[Finding]]:
    """Return the table with the annotations of turned photographs on the upright image, and what was found.

    Images count whose EXIF orientation swaps height and width, and whose annotated size is that of the stored pixels
    or missing. Objects of such an image that fit only into the stored image are rotated. Images whose objects fit
    either way are treated like the others of the table, if those agree. Otherwise they are taken as annotated upright.

    headers: one per image of the table, or a message for an unreadable file. Sizes of ``table`` are as annotated.
    """
    rows = np.array([row for row, header in enumerate(headers) if _is_candidate(table.image_hw[row], header)], int)
    if not len(rows):
        return table, []
    upright_hw = np.array([_image_hw(headers[row]) for row in rows.tolist()])
    stored_hw, is_stated = upright_hw[:, ::-1], (table.image_hw[rows] > 0).all(axis=1)
    fits_stored, fits_upright = _fits(table, rows, stored_hw), _fits(table, rows, upright_hw)
    stored, upright = fits_stored & ~fits_upright, fits_upright & ~fits_stored
    unclear = ~stored & ~upright & (np.diff(table.object_starts)[rows] > 0)
    if stored.any() and not upright.any():
        stored |= unclear
    unclear &= ~stored & ~upright.any()
    image_hw = table.image_hw.copy()
    image_hw[rows] = np.where(stored[:, None], stored_hw, upright_hw)
    table = rotated(replace(table, image_hw=image_hw), rows[stored].tolist(), headers)
    found = (
        ("exif_rotation_ignored", stored, "annotated on the pixels as stored"),
        ("exif_size_ignored", ~stored & ~unclear & is_stated, "annotated on the upright image"),
        ("exif_rotation_unclear", unclear & is_stated, "its objects fit the upright and the stored image"),
    )
    findings = (Finding.of_pairs(kind, [(row, text) for row in rows[where].tolist()]) for kind, where, text in found)
    return table, [finding for finding in findings if len(finding.rows)]


def _is_candidate(image_hw: np.ndarray, header: Header | str) -> bool:
    if isinstance(header, str) or not header.is_sideways or header.image_hw[0] == header.image_hw[1]:
        return False
    return not image_hw.all() or tuple(image_hw.tolist()) == header.image_hw[::-1]


def _image_hw(header: Header | str) -> tuple[int, int]:
    return header.image_hw if isinstance(header, Header) else (0, 0)


def _fits(table: Table, rows: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    """Return whether all objects of the images ``rows``, int [n], lie inside images of ``image_hw``, int [n, 2].

    An RLE fits an image of its own size only. Returns bool [n].
    """
    position = np.full(len(table), -1)
    position[rows] = np.arange(len(rows))
    image_of = position[table.images]
    fits = np.ones(len(rows), bool)

    def refuse(objects: np.ndarray, outside: np.ndarray) -> None:
        """Record that the images of ``objects`` do not fit where ``outside`` is true."""
        images = image_of[objects[outside]]
        fits[images[images >= 0]] = False

    objects = np.flatnonzero(image_of >= 0)
    sides = image_hw[image_of[objects]]
    refuse(objects, (table.boxes[objects][:, [3, 2]] > sides + _TOLERANCE_PX).any(axis=1))  # False for NaN
    rle_hw = table.masks.rle_hw[table.mask_rows[objects]]
    refuse(objects, (table.masks.kinds[table.mask_rows[objects]] == RLE) & (rle_hw != sides).any(axis=1))
    without_box = objects[np.isnan(table.boxes[objects, 0])].tolist()
    for row in without_box:
        for polygon in valid_polygons(table, row):
            outside = (polygon.reshape(-1, 2).max(axis=0)[::-1] > image_hw[image_of[row]] + _TOLERANCE_PX).any()
            refuse(np.array([row]), np.array([outside]))
    return fits
