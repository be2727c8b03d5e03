"""The classes of VIA's regions: from attributes, options and the description, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.via_files import KINDS, as_csv, entries, one_warning, project, reader, region, write_images

from detect.errors import DataError, UsageError


@pytest.fixture
def read(tmp_path: Path) -> Callable:
    return reader(write_images(tmp_path))


@pytest.mark.parametrize(
    ("regions", "names", "labels"),
    [
        ([region(kind="kite"), region(note=" ", kind="balloon\n")], ("balloon", "kite"), [2, 1]),
        ([region(Name="kite", note="big"), region(Name="balloon")], ("balloon", "kite"), [2, 1]),
        ([region(kind=7), region(kind="7"), region(kind=10)], ("10", "7"), [2, 2, 1]),
        ([region(kind={"kite": True, "balloon": False}), region(kind={"balloon": True})], ("balloon", "kite"), [2, 1]),
    ],
    ids=["only attribute", "attribute called Name", "numbers", "check boxes"],
)
def test_without_given_classes_the_values_of_an_attribute_are_sorted(read, regions, names, labels):
    found, (_, b) = read(entries(*regions))
    assert found.names == names and b.labels.tolist() == labels
    found, (_, b) = read(as_csv(entries(*regions)), name="ground truth.csv")
    assert found.names == names and b.labels.tolist() == labels


def test_options_give_the_classes_in_order_of_display(read):
    names, (_, b) = read(project(region(kind="b"), region(kind="k"), kind=KINDS))
    assert names.names == ("kite", "balloon", "never seen") and b.labels.tolist() == [2, 1]
    names, _ = read(project(kind=KINDS))
    assert names.names == ("kite", "balloon", "never seen"), "the classes do not depend on regions"


@pytest.mark.parametrize(
    "options", [{"k": "", "b": None}, {"k": "same", "b": "same"}, {"k": "1.jpg", "b": "2.jpg", "type": "image"}]
)
def test_option_ids_are_used_if_displayed_texts_are_not_unique(read, options):
    kind = {"type": options.pop("type", "radio"), "options": options}
    names, (_, b) = read(project(region(kind="b"), kind=kind))
    assert names.names == ("k", "b") and b.labels.tolist() == [2]


@pytest.mark.parametrize(("classes", "labels"), [(["balloon", "kite"], [1, 2]), (["k", "b"], [2, 1]), (["kite"], [1])])
def test_given_classes_choose_among_the_options(read, capsys, classes, labels):
    """By displayed text or by id; objects of other classes are dropped, as in COCO."""
    names, (_, b) = read(project(region(kind="b"), region(kind="k"), kind=KINDS), classes)
    assert names.names == tuple(classes) and b.labels.tolist() == labels
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match=r"ground truth\.json: unknown class 'balon': did you mean balloon"):
        read(project(region(kind="b"), kind=KINDS), ["balon", "kite"])


def test_attribute_with_options_wins_then_the_order_of_the_known_names(read, capsys):
    """VIA's own example has the attributes 'name' (Socrates) and 'type' (human)."""
    both = [region(name="Socrates", type="b"), region(name="Plato", type="k")]
    names, _ = read(project(*both, type=KINDS, name={"type": "text", "default_value": ""}))
    assert names.names[:2] == ("kite", "balloon")
    assert "from 'type', not from name" in one_warning(capsys)
    names, _ = read(entries(*both))
    assert names.names == ("Plato", "Socrates")
    assert "from 'name', not from type" in one_warning(capsys)
    names, _ = read(entries(*both), ["b", "k"])
    assert names.names == ("b", "k") and capsys.readouterr().err == "", "given classes decide without a warning"


def test_regions_without_a_class_are_skipped_with_one_warning(read, capsys):
    regions = [region(kind="kite"), region(), region(kind=""), region(kind=None), region(kind={"a": True, "b": True})]
    _, (_, b) = read(entries(*regions))
    assert b.annotation_ids.tolist() == [1]
    warning = one_warning(capsys)
    assert "4 skipped (b.png, region 2: no value of 'kind'" in warning
    _, (_, b) = read(entries(*regions[::4]))
    assert b.annotation_ids.tolist() == [1]
    assert "region 2: 2 values of 'kind': a, b" in one_warning(capsys)
    _, (_, b) = read(entries(*regions[:2]), ["kite"])
    assert b.annotation_ids.tolist() == [1] and "region 2: no value of 'kind'" in one_warning(capsys)


@pytest.mark.parametrize(
    ("content", "classes", "said"),
    [
        (
            entries(region(kind="baloon")),
            ["balloon", "kite"],
            "region 1: unknown class 'baloon': did you mean balloon",
        ),
        (entries(region(kind="kite"), region(kind="dog")), ["kite"], "region 2: unknown class 'dog'"),
        (project(region(kind="x"), kind=KINDS), None, "region 1: unknown class 'x': known are kite, balloon"),
    ],
)
def test_regions_of_an_unknown_class_are_skipped_with_one_warning(read, capsys, content, classes, said):
    read(content, classes)
    assert f"b.png, {said}" in one_warning(capsys)


def test_single_given_class_applies_to_all_regions_without_one(read, capsys):
    _, (_, b) = read(entries(region(), region()), ["balloon"])
    assert b.labels.tolist() == [1, 1] and capsys.readouterr().err == ""
    _, (_, b) = read(entries(region(note="big"), region()), ["balloon"])
    assert b.labels.tolist() == [1, 1]
    warning = one_warning(capsys)
    assert "balloon" in warning and "note" in warning


def test_regions_without_any_class_get_the_class_object(read, capsys):
    names, (_, b) = read(entries(region(), region()))
    assert names.names == ("object",) and b.labels.tolist() == [1, 1]
    assert "all 2 get the class 'object'" in one_warning(capsys)


@pytest.mark.parametrize(
    ("head", "helmet"),
    [
        ({"head": "head"}, {"helmet": "helmet"}),
        ({"head": "1", "helmet": ""}, {"head": "", "helmet": "1"}),
        ({"head": "yes", "helmet": "no"}, {"head": "No", "helmet": "YES"}),
        ({"head": "x"}, {"helmet": " on\n"}),
        ({"head": True, "helmet": False}, {"head": False, "helmet": True}),
        ({"head": 1, "helmet": 0}, {"head": 0, "helmet": 1}),
        ({"head": {"1": True}}, {"helmet": {"helmet": True}, "head": {"1": False}}),
        ({"head ": "Head"}, {"helmet": "1"}),
    ],
)
def test_names_of_attributes_are_classes_if_their_values_say_only_yes_or_no(read, capsys, head, helmet):
    content = entries(*(region(**one) for one in (head, helmet, head, {})))
    for text in (content, as_csv(content)):
        names, (_, b) = read(text, None, *(["ground truth.csv"] if text is not content else []))
        assert names.names == ("head", "helmet") and b.labels.tolist() == [1, 2, 1]
        err = capsys.readouterr().err
        assert "2 read as classes (head" in err and "1 skipped (b.png, region 4: no value of the attributes" in err
    names, (_, b) = read(content, ["helmet", "head"])
    assert names.names == ("helmet", "head") and b.labels.tolist() == [2, 1, 2]


def test_options_can_say_yes(read):
    flag = {"type": "checkbox", "options": {"0": "yes"}}
    content = project(region(head={"0": True}), region(helmet={"0": True}), head=flag, helmet=flag)
    names, (_, b) = read(content)
    assert names.names == ("head", "helmet") and b.labels.tolist() == [1, 2]


def test_given_classes_that_name_attributes_choose_them(read):
    content = entries(region(head="1", note="big"), region(helmet="1", note="far"), region(head="1"))
    names, (_, b) = read(content, ["head", "helmet"])
    assert names.names == ("head", "helmet") and b.labels.tolist() == [1, 2, 1]
    names, (_, b) = read(entries(region(head="1")), ["head", "helmet"])
    assert b.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("regions", "classes"),
    [
        ([region(occluded="yes"), region(), region(), region(dark="yes")], None),
        ([region(head="1", note="big"), region(helmet="1")], None),
        ([region(a="1", b="1"), region(a="1", b="1")], None),
        ([region(first="kite", second="kite"), region(first="bird", second="kite")], ["kite", "bird"]),
    ],
)
def test_other_values_of_several_attributes_are_refused_with_a_way_out(read, regions, classes):
    with pytest.raises(DataError, match="rename the attribute of the class to one of class, name"):
        read(entries(*regions), classes)


@pytest.mark.parametrize(
    ("content", "classes", "said"),
    [
        (entries(), None, "has no regions and defines no classes"),
        (entries(region()), ["balloon", "kite"], "1 region without a class, .* exactly one, not balloon, kite"),
        (entries(region(size="big", hue="red")), None, "which of the attributes size, hue is the class"),
        (entries({**region(), "region_attributes": None}), ["a"], "region 1: 'region_attributes' is 'None'"),
        (entries(region(kind=["kite"])), ["a"], r"region 1: attribute 'kind' is \"\['kite'\]\"; expected text"),
        (entries(region(kind={"a": 1})), ["a"], "'kind' has a check box with the value '1'; expected true or false"),
        (project(kind=5), ["a"], "_via_attributes: region: kind is '5'; expected a dict"),
        (project(kind={"type": "radio", "options": []}), ["a"], "kind: 'options' is .* expected a dict"),
        (project(kind={"type": "radio", "options": {"a": 5}}), ["a"], "kind: option '5' should be text"),
        (project() | {"_via_attributes": []}, ["a"], "'_via_attributes' is .* expected a dict"),
    ],
)
def test_ambiguous_or_invalid_classes_are_errors(read, content, classes, said):
    with pytest.raises(DataError, match=said) as error:
        read(content, classes)
    assert "ground truth.json" in str(error.value) and "\n" not in str(error.value)
