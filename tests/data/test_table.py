"""Tables: records and subsets hold exactly the rows that were added."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detect.data.columns import StringColumn
from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplitBuilder
from detect.structures import masks
from detect.structures.class_names import ClassNames

RLE = masks.from_bitmap(np.eye(4, 6, dtype=bool))
POLYGONS = [[0.0, 0.0, 4.0, 0.0, 4.0, 3.0], [1.5, 1.0, 2.5, 1.0, 2.5, 2.0, 1.0, 2.0]]
one_mask = st.sampled_from([None, RLE, POLYGONS, POLYGONS[:1]])
objects = st.lists(st.tuples(st.integers(0, 4), one_mask), max_size=20)


def built(objects: list, images: int = 5) -> Table:
    """Return a table of images with ids 10, 20, ...; object n has the id n, the label n + 1 and the area n."""
    builder = UnvalidatedSplitBuilder(Path("/images"), Path("/x.json"), "annotation")
    for i in range(images):
        builder.add_image(f"{i}.png", (4, 6), 10 * (i + 1))
    for n, (image, mask) in enumerate(objects):
        builder.add_object(
            image, n + 1, n, box=(0, 0, 1, n + 1), mask=mask, area=n, iscrowd=n % 3 == 0, annotation_id=n
        )
    return builder.finish(["a"] * 20, range(20)).table


def plain(mask) -> object:
    return mask if isinstance(mask, dict) else [list(p) for p in mask]


@given(objects)
def test_record_has_the_objects_of_its_image_in_order(things):
    table = built(things)
    whole = all(mask is not None for _, mask in things)
    assert len(table) == 5 and table.has_masks == whole
    for i, record in enumerate(table):
        expected = [n for n, (image, _) in enumerate(things) if image == i]
        assert (
            record.path == Path(f"/images/{i}.png") and record.image_hw == (4, 6) and record.image_id == 10 * (i + 1)
        )
        assert record.annotation_ids.tolist() == expected and record.areas.tolist() == expected
        assert record.labels.tolist() == [n + 1 for n in expected]
        assert record.boxes.tolist() == [[0, 0, 1, n + 1] for n in expected] and record.boxes.dtype == np.float32
        assert record.iscrowd.tolist() == [n % 3 == 0 for n in expected]
        assert (record.masks is not None) == whole
        for mask, n in zip(record.masks or [], expected, strict=False):
            assert plain(mask) == plain(things[n][1])


def assert_equal(table: Table, records: list) -> None:
    assert len(table) == len(records)
    for one, other in zip(table, records, strict=True):
        assert (one.path, one.image_id) == (other.path, other.image_id)
        assert one.annotation_ids.tolist() == other.annotation_ids.tolist()
        assert one.boxes.tolist() == other.boxes.tolist()
        assert (one.masks is None) == (other.masks is None)
        assert [plain(m) for m in one.masks or []] == [plain(m) for m in other.masks or []]


@given(objects.filter(lambda things: all(mask for _, mask in things)), st.lists(st.integers(0, 4)))
def test_images_can_be_taken_in_any_order_and_repeatedly(things, rows):
    table = built(things)
    assert_equal(table.take_images(np.array(rows, np.int64)), [table[row] for row in rows])
    assert_equal(table[1:4], [table[row] for row in range(1, 4)])
    assert_equal(table[::-1], [table[row] for row in range(4, -1, -1)])


@given(objects, st.randoms())
def test_objects_can_be_removed(things, random):
    table = built(things)
    kept = np.array([random.random() < 0.5 for _ in things], bool)
    fewer = table.take_objects(kept)
    assert fewer.annotation_ids.tolist() == table.annotation_ids[kept].tolist()
    assert fewer.images.tolist() == table.images[kept].tolist() and len(fewer) == len(table)


def test_relabeling_follows_class_names_and_removes_unknown_classes():
    table = built([(0, None), (1, None), (1, None)])  # a kite, a balloon, a bird
    old, new = ClassNames(("kite", "balloon", "bird")), ClassNames(("bird", "kite"))
    changed = table.relabel(new, old.names)
    assert changed.labels.tolist() == [2, 1] and changed.annotation_ids.tolist() == [0, 2]
    assert [len(record) for record in changed] == [1, 1, 0, 0, 0]


def test_masks_can_be_replaced_and_images_appended():
    table = built([(0, RLE), (3, POLYGONS), (3, RLE)])
    new = built([(0, POLYGONS[:1]), (0, RLE)]).masks
    changed = table.with_masks(np.array([2, 0]), new)
    assert [plain(m) for i in (0, 3) for m in changed[i].masks] == [plain(m) for m in (RLE, POLYGONS, POLYGONS[:1])]
    assert [plain(m) for m in table[0].masks] == [RLE]
    longer = table.append_images([Path("/elsewhere/x.png")], np.array([[7, 8]], np.int32))
    last = longer[5]
    assert last.path == Path("/elsewhere/x.png")
    assert (last.image_hw, last.image_id, len(last)) == ((7, 8), 51, 0)
    assert_equal(longer[:5], list(table))


@given(objects, objects)
def test_a_table_appended_to_another_keeps_its_records(things, others):
    one, other = built(things), replace(built(others), folder=Path("/elsewhere"))
    both = one.append(other)
    pairs = zip(both, [*one, *other], strict=True)
    assert both.has_masks == (one.has_masks and other.has_masks)
    assert len({record.image_id for record in both}) == 10 and len(set(both.annotation_ids.tolist())) == len(
        both.boxes
    )
    for record, expected in pairs:
        assert (record.path, record.image_hw) == (expected.path, expected.image_hw)
        assert record.boxes.tolist() == expected.boxes.tolist() and record.labels.tolist() == expected.labels.tolist()
        if both.has_masks:
            assert [plain(m) for m in record.masks or []] == [plain(m) for m in expected.masks or []]


def test_row_out_of_range_raises_index_error():
    table = built([(0, RLE)])
    for sequence in (table, table.names):
        assert len(list(sequence)) == 5 and sequence[-1] is not None
        with pytest.raises(IndexError):
            sequence[5]


@given(st.lists(st.text(st.characters())))  # also unpaired surrogates, which JSON may hold
def test_string_column_returns_its_strings(texts):
    column = StringColumn.of(texts)
    assert list(column) == texts and list(column[::-1]) == texts[::-1]
    assert list(column.take(np.arange(len(texts))[::2])) == texts[::2]


def test_mask_column_has_no_python_object_per_mask():
    """Reference counts of such objects would copy their memory in every worker process."""
    few, many = (len(pickle.dumps(built([(0, POLYGONS)] * n).masks, protocol=5)) for n in (100, 200))
    assert (many - few) / 100 < 14 * 8 + 60
