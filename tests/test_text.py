"""Wording of messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from detect.text import (
    counted,
    display_width,
    first_few,
    near_names,
    pad,
    thresholds_in_words,
    type_in_words,
    unknown,
)


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("resnet5", "did you mean resnet50"),
        ("RESNET50", "did you mean resnet50"),
        ("zebra", "known are resnet50, vov"),
    ],
)
def test_unknown_name_lists_near_names_first(typed, near):
    message = unknown("backbone", typed, ["resnet50", "vovnet19"])
    assert message.startswith(f"unknown backbone '{typed}': ") and near in message
    assert "known are resnet50, vovnet19" in message


def test_no_guess_is_made_for_a_name_without_near_names():
    assert near_names("zebra", ["resnet50"]) == []
    assert "did you mean" not in unknown("backbone", "zebra", ["resnet50"])


def test_only_names_about_as_near_as_the_nearest_are_suggested():
    assert near_names("inpt", ["input", "quiet"]) == ["input"]
    assert near_names("resnet5", ["resnet50", "resnet18", "vovnet19"])[0] == "resnet50"


def test_the_only_name_with_the_typed_word_is_suggested_if_none_resembles_it():
    assert near_names("yolo", ["json", "labels_yolo"]) == ["labels_yolo"]
    assert near_names("voc", ["labels_voc_07", "labels_voc_12"]) == []


def test_types_are_named_as_users_know_them():
    assert [type_in_words(value) for value in (None, 3, Path())] == ["None", "int", "pathlib.PosixPath"]


def test_long_lists_are_cut():
    assert "c29, ..." in unknown("class", "zebra", [f"c{i}" for i in range(80)])
    assert first_few(range(12)) == "0, 1, 2, 3, 4 and 7 more"
    assert first_few(["a", "b"]) == "a, b"


def test_counts_agree_with_their_nouns():
    assert [counted(n, "epoch") for n in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    assert counted(2, "box", "boxes") == "2 boxes" and counted(1, "box", "boxes") == "1 box"


@pytest.mark.parametrize(
    ("text", "width"),
    [
        *(("", 0), ("dog", 3), ("собака", 6), ("狗", 2), ("ＡＢ", 4), ("イヌ", 4), ("ｲﾇ", 2), ("개", 2), ("🐕", 2)),
        *(("cafe\u0301", 4), ("e\u0327\u0301", 1), ("กี่", 1), ("\u1100\u1161", 2), ("a\u200db", 2)),
    ],
)
def test_display_width_counts_terminal_columns(text, width):
    assert display_width(text) == width
    assert pad(text, 6) == text + " " * (6 - width)


def test_thresholds_are_listed_by_class_unless_all_are_equal():
    assert thresholds_in_words({"balloon": 0.6234}) == "balloon 0.623"
    assert thresholds_in_words({"balloon": 0.62, "kite": 0.4}) == "balloon 0.62, kite 0.4"
    assert thresholds_in_words({"balloon": 0.5, "kite": 0.5}) == "0.5 for all classes"
    many = {f"class {i}": i / 100 for i in range(80)}
    assert thresholds_in_words(many).endswith("class 4 0.04 and 75 more")
