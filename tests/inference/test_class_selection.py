"""Classes that a model does not know are an error that names a model that does."""

from __future__ import annotations

import pytest
from helpers.tiny_models import CLASSES

from detect.cli.commands import detect_image, detect_video
from detect.errors import UsageError
from detect.inference.class_selection import labels_of, loadable_models
from detect.models.pretrained import coco_classes


def test_classes_are_given_by_name_or_category_id():
    assert labels_of(CLASSES, ["bird", 90, "7"]) == [3, 1, 2]


@pytest.mark.parametrize(
    ("device", "name", "hint"),
    [
        ("cpu", "person", "`model='mobilenet'` knows 'person'"),
        ("cuda", "person", "`model='v2'` knows 'person'"),
        ("mps", "Traffic Light", "`model='v2'` knows 'traffic light'"),
    ],
)
def test_an_unknown_class_names_a_model_that_knows_it_and_suits_the_device(device, name, hint):
    with pytest.raises(UsageError, match=rf"unknown class '{name}': .*{hint}$"):
        labels_of(CLASSES, ["kite", name], loadable_models(device))


def test_another_spelling_of_an_own_class_names_no_other_model():
    with pytest.raises(UsageError) as caught:
        labels_of(coco_classes("mobilenet")[0], ["Person"], loadable_models("cpu"))
    assert "knows" not in str(caught.value)


@pytest.mark.parametrize("name", ["unicorn", 12345, ""])
def test_a_class_that_no_model_knows_has_no_hint(name):
    with pytest.raises(UsageError) as caught:
        labels_of(CLASSES, [name], loadable_models("cpu"))
    assert "model" not in str(caught.value)


def test_a_model_of_coco_does_not_know_balloons():
    with pytest.raises(UsageError, match="`model='balloon'` knows 'balloon'"):
        labels_of(coco_classes("v2")[0], ["balloon"], loadable_models("cpu"))


@pytest.mark.parametrize("script", [detect_image, detect_video])
def test_programs_spell_the_hint_as_a_flag(run_script, predictor, images, clip, capsys, script):
    assert run_script(script, "--input", clip if script is detect_video else images, "--classes", "person") == 2
    assert "; --model mobilenet knows 'person'\n" in capsys.readouterr().err and not predictor.batches
