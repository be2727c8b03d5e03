"""Several processes train, and one of them fails in the middle of an epoch: all end soon, with one clear line."""

from __future__ import annotations

import re
import sys
import time

import pytest
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.torchrun import torchrun
from helpers.training import TINY, rows

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]

PROGRAM = ROOT / "tests" / "helpers" / "faulty_training.py"


def train(fault: str, *flags: object):
    begin = time.monotonic()
    done = torchrun(PROGRAM, fault, *flags)
    assert time.monotonic() - begin < 120  # a minute after the fault, on a machine that does much else
    assert ("[rank" in done.stderr) == (fault == "bug")  # a traceback
    return done, re.findall(r"^error: .*", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("disk", "No space left on device; stopped after 1 finished epoch"),
        ("loader", "a process that reads images died"),
        ("process", "another process of this training has ended; stopped after 1 finished epoch"),
        ("bug", "another process of this training has ended; stopped after 1 finished epoch"),
    ],
)
def test_a_failure_of_one_process_ends_all_and_the_run_can_be_resumed(tmp_path, fault, message):
    data = render_shapes(tmp_path, {"train": 8, "val": 2})
    flags = ["--data", data, "--epochs", 2, "--batch-size", 1, "--head", "fasterrcnn", *TINY, "--output-dir", tmp_path]
    done, errors = train(fault, *flags, "--name", "x", "--workers", 1)
    assert done.returncode != 0 and len(errors) == 1, done.stderr
    assert message in errors[0] and f"continue with --resume {tmp_path}/x, again with torchrun" in errors[0]
    done, errors = train("none", "--resume", tmp_path / "x")
    assert done.returncode == 0 and not errors, done.stderr
    assert [row["epoch"] for row in rows(tmp_path / "x")] == [1, 2]


def test_an_image_that_disappears_is_replaced_and_named(tmp_path):
    data = render_shapes(tmp_path, {"train": 8, "val": 2})
    flags = ["--data", data, "--epochs", 2, "--batch-size", 1, "--head", "fasterrcnn", *TINY, "--output-dir", tmp_path]
    done, errors = train("image", *flags, "--name", "x")
    assert done.returncode == 0 and not errors, done.stderr
    assert done.stderr.count("cannot be read and are replaced by other images") == 1
