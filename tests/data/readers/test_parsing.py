"""Functions that several readers share."""

from __future__ import annotations

import pytest

from detect.data.readers.parsing import is_no_object

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "box", "expected"),
    [
        ("cat", [-1, -1, -1, -1], True),
        ("", (-1.0, -1.0, -1.0, -1.0), True),
        ("background", [0, 0, 0, 0], True),
        ("__Background__", [0.0, 0, 0, 0], True),
        ("No object", [0, 0, 0, 0], True),
        ("none", None, True),
        ("N/A", [NAN] * 4, True),
        ("", None, True),
        ("negative", [0, 0, 60, 40], False),
        ("cat", [0, 0, 0, 0], False),
        ("cat", [NAN] * 4, False),
        ("cat", None, False),
        ("cat", [-1, -1, 20, 20], False),
        ("none of these", None, False),
        ("background", [10, 20, 30, 40], False),
    ],
)
def test_minus_one_and_a_background_class_without_a_box_say_that_there_is_no_object(name, box, expected):
    assert is_no_object(name, box) is expected
