"""Class names, labels and category ids belong together."""

from __future__ import annotations

import pytest

from detect.errors import UsageError
from detect.structures.class_names import ClassNames

SHAPES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))


def test_labels_names_and_sparse_category_ids_correspond():
    assert len(SHAPES) == 3
    for label, name, category_id in ((1, "circle", 90), (2, "square", 7), (3, "triangle", 3)):
        assert SHAPES.name(label) == name
        assert SHAPES.category_id(label) == category_id
        assert SHAPES.label(name) == SHAPES.label(category_id) == SHAPES.label(str(category_id)) == label
    assert SHAPES.labels(["triangle", 90, "7"]) == [3, 1, 2]


def test_category_ids_default_to_1_to_k():
    assert ClassNames(("a", "b")).ids == (1, 2)


def test_category_id_may_be_0():
    names = ClassNames(("a", "b"), (0, 1))
    assert (names.label(0), names.label(1)) == (1, 2)
    assert names.category_id(1) == 0


def test_text_is_a_name_before_it_is_an_id():
    assert ClassNames(("7", "x"), (3, 7)).label("7") == 1
    assert ClassNames(("7", "x"), (3, 7)).label(7) == 2


@pytest.mark.parametrize("typed", ["sqare", "Square", 8, "8", "", "1.5"])
def test_unknown_class_is_a_usage_error_that_lists_the_known_ones(typed):
    with pytest.raises(UsageError, match=f"unknown class '{typed}': .*known are circle, square, triangle"):
        SHAPES.label(typed)


def test_unknown_class_error_suggests_the_nearest_name():
    with pytest.raises(UsageError, match=r"did you mean square\?"):
        SHAPES.label("sqare")


@pytest.mark.parametrize("label", [0, 4, -1])
def test_background_and_labels_above_k_have_no_name(label):
    for lookup in (SHAPES.name, SHAPES.category_id):
        with pytest.raises(IndexError, match=r"not in 1\.\.3"):
            lookup(label)


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        (("cat", "dog", "cat"), (), "class name: cat"),
        (("cat", "dog"), (5, 5), "category id: 5"),
        (("cat", "dog"), (1, 2, 3), "2 class names but 3 category ids"),
    ],
)
def test_duplicates_and_unequal_lengths_are_errors(names, ids, message):
    with pytest.raises(ValueError, match=message):
        ClassNames(names, ids)
