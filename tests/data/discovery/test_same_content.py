"""Several annotations of the same images: what counts as a difference, and which of those that agree is used."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from detect.data.discovery.same_content import Content, ContradictionError, best_content

NUMBERS = count()
A, B, FAR = [10, 5, 30, 20], [40, 5, 60, 20], [10, 25, 30, 40]


def content(*objects: tuple[str, list[float]], masks: bool = False, listed: bool = False, images: int = 1) -> Content:
    """Return annotations of images of 100 x 200 pixels, the first of which has ``objects``."""
    boxes = np.array([box for _, box in objects], np.float32).reshape(-1, 4)
    found = {f"/set/{i}.png": ([], np.zeros((0, 4), np.float32), (100, 200)) for i in range(images)}
    found["/set/0.png"] = ([name for name, _ in objects], boxes, (100, 200))
    return Content(f"format {next(NUMBERS)}", found, masks, listed)


KITES = [("kite", A), ("kite", B)]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (KITES[:1], "2 objects in .* and 1 in"),
        ([*KITES, ("kite", FAR)], "2 objects in .* and 3 in"),
        ([("kite", A), ("kite", FAR)], "no such box"),
        ([("kite", A), ("kite", A)], "no such box"),
        ([("kite", A), ("bird", B)], "the class bird"),
        ([("kite", A), ("kite", [40, 5, 60, 23])], "no such box"),  # 3 px
        ([("kite", B), ("kite", A)], ""),
        ([("Kite", A), ("KITE", B)], ""),
        ([("kite", A), ("kite", [41, 6, 61, 21.9])], ""),
    ],
)
def test_annotations_differ_in_number_place_or_class_of_the_objects(others, said):
    for pair in ((KITES, others), (others, KITES)):
        contents = [content(*objects) for objects in pair]
        if not said:
            assert best_content(contents) == (0, "comes first")
            continue
        with pytest.raises(ContradictionError, match=rf"^0\.png has .*{said if pair[0] is KITES else ''}"):
            best_content(contents)


@pytest.mark.parametrize(
    ("contents", "best", "reason"),
    [
        ([content(listed=True), content(masks=True)], 1, "has masks"),
        ([content(masks=True), content(masks=True, listed=True)], 1, "lists the classes"),
        ([content(masks=True, listed=True), content(images=2)], 1, "has all 2 images"),
        ([content(), content(listed=True)], 1, "lists the classes"),
        ([content(listed=True), content(listed=True)], 0, "comes first"),
    ],
)
def test_all_images_count_before_masks_and_masks_before_listed_classes(contents, best, reason):
    assert best_content(contents) == (best, reason)
