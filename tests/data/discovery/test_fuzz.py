"""Random folders: find_spec and the doctor give a dataset or a one-line error, and fixed datasets have no errors."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path

import pytest
from helpers.any_format import SUFFIXES, WRITE, put_images, put_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.data import description
from detect.data.description import find_spec
from detect.data.quality.diagnosis import diagnose
from detect.data.validation.problems import ERROR, KINDS
from detect.errors import DetectError

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = ["train/a.png", "train/b.png", "val/a.png", "c.png", "d.png"]
FILES = ("labels.json", "labels.csv", "data.yaml", "classes.txt", "splits.yaml", "a.xml", "train/a.txt", "val/a.json",
         "ImageSets/Main/train.txt", "obj.names")  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            "{}",
            "[]",
            "null",
            '{"images": [], "annotations": [], "categories": []}',
            '{"shapes": [], "imagePath": 3}',
            '{"a": {"filename": 1, "regions": []}}',
            "val: [a.png]",
            "val: 3",
            "names: [kite]\ntrain: train\nval: [val, 3]",
            "names: {0: a}\ntrain: {}",
            "0 .5 .5 .1 .1",
            "kite\n",
            "a\nb c\n",
            "<annotation/>",
            "<annotation",
            "filename,xmin,ymin,xmax,ymax,class\n",
            "\x00",
            "{" * 3000,
        ]
    ),
)


@pytest.fixture
def folder(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "set"
    monkeypatch.setattr(description, "datasets_folder", lambda: folder.parent)
    return folder


@FUZZ
@given(files=st.dictionaries(st.sampled_from(FILES), TEXTS, max_size=4), form=st.sampled_from([None, *WRITE]))
def test_random_folder_gives_a_dataset_or_a_one_line_error(folder, files, form):
    shutil.rmtree(folder, ignore_errors=True)
    put_images(folder, *NAMES)
    if form:
        WRITE[form](folder / (f"labels{SUFFIXES[form]}" if form in SUFFIXES else ""), NAMES)
    for name, text in files.items():
        put_text(folder / name, text)
    try:
        spec = find_spec(str(folder))
        diagnose(spec)
    except DetectError as error:
        assert "\n" not in str(error)
        return
    has_one_image = set(spec.splits) == {"train"} and len(spec.image_paths()) == 1
    assert {"train", "val"} <= spec.splits.keys() or set(spec.splits) <= {"val", "test"} or has_one_image


@pytest.mark.slow
@FUZZ
@given(
    form=st.sampled_from(["coco", "csv", "cvat", "voc", "yolo", "labelme"]),
    cuts=st.lists(st.tuples(st.integers(0, 2000), st.text(max_size=4)), max_size=3),
)
def test_fixed_dataset_has_no_errors(folder, form, cuts):
    """A few characters of the annotations are changed; the repaired copy has no problem of severity error."""
    shutil.rmtree(folder.parent / "set", ignore_errors=True)
    shutil.rmtree(folder.parent / "new", ignore_errors=True)
    names = [f"{i}.png" for i in range(6)]
    put_images(folder, *names)
    target = f"labels{SUFFIXES[form]}" if form in SUFFIXES else ""
    WRITE[form](folder / target, names)
    put_text(folder / "classes.txt", "kite\n")
    put_text(folder / "splits.yaml", "val: [4.png]\ntest: [5.png]\n")
    path = folder / (target or f"0{'.xml' if form == 'voc' else '.txt' if form == 'yolo' else '.json'}")
    text = path.read_text()
    for place, letters in cuts:
        place %= len(text) + 1
        text = text[:place] + letters + text[place + len(letters) :]
    path.write_text(text, encoding="utf-8", newline="")
    line = ["doctor.py", "fix", str(folder), "--output-dir", str(folder.parent / "new"), "--format", form]
    sys.argv, before = line, sys.argv
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = exit_status(doctor.main)
    finally:
        sys.argv = before
    if status:
        assert status == 2 and said.getvalue().splitlines()[-1].startswith("error: ")
        return
    found = {kind for kind, _ in diagnose(find_spec(str(folder.parent / "new"))).by_kind()}
    assert all(KINDS[kind].severity < ERROR for kind in found)
