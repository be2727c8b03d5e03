"""An image file that is listed under several ids is one image with the objects of all."""

from __future__ import annotations

import pytest
from helpers.coco_files import IMAGES, annotation, content
from helpers.reading import read_problems


def listed_three_times(name: str = "b.png") -> dict:
    """Return a file that lists b.png under the ids 21, 51 and 359 with different objects, one of them repeated."""
    boxes = [(21, [10, 5, 20, 15]), (51, [10, 5, 20, 15]), (51, [40, 20, 10, 10]), (359, [12, 5, 20, 15])]
    whole = content(
        *(annotation(i, image, bbox=box, segmentation=None, area=None) for i, (image, box) in enumerate(boxes, 1)),
        annotation(9, 11),
    )
    whole["images"] += [{**IMAGES[0], "id": number, "file_name": name} for number in (51, 359)]
    return whole


@pytest.mark.parametrize("name", ["b.png", "./b.png", "B.png", "b%2Epng"])
def test_objects_of_all_entries_are_united_without_repetition(read, name, images, capsys):
    _, records = read(listed_three_times(name))
    assert [(record.path.name, record.image_id) for record in records] == [("b.png", 21), ("a.png", 11), ("c.png", 31)]
    assert records[0].annotation_ids.tolist() == [1, 3, 4] and records[1].annotation_ids.tolist() == [9]
    assert records[0].boxes.tolist() == [[10, 5, 30, 20], [40, 20, 50, 30], [12, 5, 32, 20]]
    (warning,) = (line for line in capsys.readouterr().err.splitlines() if "listed more than once" in line)
    assert "listed 3 times" in warning and "b.png" in warning


def test_equal_objects_of_the_first_entry_are_kept(read):
    """Two objects in one place are a matter of the annotation, not of the repetition of the image."""
    whole = content(annotation(1), annotation(2), annotation(3, 51))
    whole["images"].append({**IMAGES[0], "id": 51})
    _, (record, *_) = read(whole)
    assert record.annotation_ids.tolist() == [1, 2]


def test_objects_of_another_class_are_kept(read):
    whole = content(annotation(1), annotation(2, 51, category_id=3))
    whole["images"].append({**IMAGES[0], "id": 51})
    _, (record, *_) = read(whole)
    assert record.labels.tolist() == [2, 3] and len(record.masks) == 2


def test_entries_that_cannot_be_read_stay_with_the_image(read, images):
    whole = content(annotation(1), annotation(2, 51, bbox=[1, 2, 3]))
    whole["images"].append({**IMAGES[0], "id": 51})
    _, (record, *_) = read(whole)
    assert len(record) == 1
    assert dict(read_problems("coco", images, images.parent / "ground truth.json"))["malformed_object"].startswith(
        "b.png, annotation 2"
    )
