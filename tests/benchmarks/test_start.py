"""benchmark.py start: the time until the first step of a training on a generated dataset."""

from __future__ import annotations

import pytest

from benchmarks import start
from benchmarks.settings import StartSettings
from detect.data.description import find_spec
from detect.errors import DetectError


def test_the_generated_dataset_has_images_and_annotations_in_the_layout_of_coco(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "_MAX_LINKS", 5)
    start.write_split(tmp_path, "train2017", 12, 30)
    start.write_split(tmp_path, "val2017", 2, 4)
    spec = find_spec(str(tmp_path))
    records = spec.read("train")[1]
    assert (len(records), sum(len(record.labels) for record in records)) == (12, 30)
    assert all(record.path.stat().st_nlink <= 5 for record in records)


@pytest.mark.slow
def test_the_time_until_the_first_step_is_measured():
    text, facts = start.run(StartSettings(images=20, objects=60, rounds=1, quiet=True))
    assert "the first step begins after" in text
    assert facts["seconds"][0] > 1 and facts["peak_bytes"][0] > 100_000_000


@pytest.mark.slow
def test_a_training_that_fails_before_its_first_step_is_an_error(tmp_path):
    with pytest.raises(DetectError, match="before its first step"):
        start.first_step(tmp_path)
