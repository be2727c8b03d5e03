"""benchmark.py: commands and their flags."""

from __future__ import annotations

import pytest
from helpers.benchmarking import error_line, run_benchmark

from benchmarks import report


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "",
            "a command is missing; one of inference, models, train, data, evaluate, intervals, labels, serve, video,",
        ),
        ("training", "unknown command 'training': did you mean train?"),
        ("data --models v2", "--models is a flag of models, train, not of data"),
        ("data --objects 0", "--objects 0 must be at least 1"),
        ("models --images 5", "--images is a flag of inference, data, evaluate, intervals, start, not of models"),
        ("models --models mobilenet_v2 resnet5", "unknown model 'resnet5': did you mean resnet50"),
        ("serve --clients 0", "--clients 0 must be at least 1"),
        ("serve --seconds 0", "--seconds 0"),
        ("train --images 3", "--images is a flag of inference, data, evaluate, intervals, start, not of train"),
        ("train --models ssd300", "ssd300"),
        ("train --models mobilnet_v2", "did you mean mobilenet_v2"),
        ("results --runs ballon_plain_0", "unknown run 'ballon_plain_0'"),
    ],
)
def test_wrong_flags_are_one_line_before_any_work(monkeypatch, capsys, line, words):
    assert run_benchmark(monkeypatch, *line.split()) == 2
    assert words in error_line(capsys)


def test_command_line_is_reported_without_folders_of_this_machine(monkeypatch):
    line = [
        "benchmark.py",
        "train",
        "--data-root",
        "/here/data",
        "--references",
        "/here/detection",
        "--pretrained=/here/weights.safetensors",
        "--steps",
        "3",
    ]
    monkeypatch.setattr("sys.argv", line)
    shown = "--data-root DIR --references DIR --pretrained weights.safetensors --steps 3"
    assert report.command() == f"python benchmark.py train {shown}"


def test_table_is_markdown_with_numbers_aligned_right():
    text = report.table(("name", "ms"), [["a", "1"], ["b", "20"]])
    assert text.splitlines() == ["| name | ms |", "| --- | ---: |", "| a | 1 |", "| b | 20 |"]
