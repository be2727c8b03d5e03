"""The load test: callers are counted right, by what they were told, and the page says what was measured."""

from __future__ import annotations

import json
import re
import sys

import pytest
from helpers.api_server import serving, tiny_model
from helpers.folders import ROOT
from helpers.tiny_models import as_checkpoint, make_image, random_model

import benchmark
from benchmarks import markdown
from benchmarks.output import part_of
from benchmarks.serving import Calls, Load, Served, load, page, plain_rate, resident
from detect.cli.exit_status import exit_status
from detect.media.encoding import encode
from detect.models import checkpoint
from detect.serving.limits import Limits

IMAGES = [encode(make_image((64, 96), seed), "JPEG") for seed in range(3)]


def test_every_call_is_told_of_once(tmp_path):
    with serving(tiny_model(threshold=0.9), limits=Limits(queue_size=2, batch_size=1)) as client:
        url = str(client.base_url).rstrip("/")
        calls, seconds = load(url, IMAGES, 6, 1.5)
        counts = dict(
            re.findall(
                r'requests_total{method="POST",route="/v1/detect",status="(\d+)"} (\d+)', client.get("/metrics").text
            )
        )
        assert len(calls.seconds) == int(counts["200"]) > 3 and len(calls.waits) == int(counts["503"]) > 0
        assert not calls.wrong and seconds >= 1.5 and all(0 < one < seconds for one in calls.seconds)
        assert resident(url) > 50e6
        broken, _ = load(url, [b"no image"], 1, 0.2)
        assert not broken.seconds and "415: " in broken.wrong[0]
    lost, _ = load(url, IMAGES, 1, 0.2)
    assert not lost.seconds and "ConnectionRefusedError" in lost.wrong[0]


def test_the_loop_is_as_fast_as_it_is():
    model = tiny_model(threshold=0.9).predictor
    looked = []

    def predictor(images):
        looked.append(len(images))
        return model(images)

    predictor.class_names = model.class_names
    rate = plain_rate(predictor, IMAGES, 0.5)
    assert 0.3 < len(looked) / rate < 1.5 and set(looked) == {1}


def served(rate: float, wrong: tuple[str, ...] = ()) -> Served:
    calls = Calls([0.1] * 90 + [1.0] * 10, [2.0] * 7, list(wrong))
    rounds = [Load(8, calls, one, 10.0, 900_000_000) for one in (rate, 2 * rate, rate / 2)]
    return Served(rounds, None, Calls([0.2] * 3, [1.0]), 4, 0)


def test_the_page_says_what_was_measured():
    text = page(served(9.5), "balloon", 320, "python benchmark.py serve", "a machine")
    assert "| 8 | 9.50 | 0.95 | 0.10 | 1.00 | 21 | 0 | 900 |" in text and "**met**" in text
    assert "while 4 requests were under way: 3 answered, 1 told to come again, 0 lost; exit status 0." in text
    assert "held not measured MB" in text
    assert "**missed**" in page(served(8.9), "balloon", 320, "", "")
    assert "- 500: broken" in page(served(9.5, ("500: broken", "500: broken")), "balloon", 320, "", "")


def test_a_server_is_started_called_and_stopped(tmp_path, monkeypatch, capsys):
    path = tmp_path / "kites" / "best.safetensors"
    path.parent.mkdir()
    checkpoint.save(as_checkpoint(random_model()), path)
    target, facts = tmp_path / "page.md", tmp_path / "facts.json"
    target.write_text("\n".join(markdown.markers(part_of("serve"))), encoding="utf-8")
    words = [
        "serve",
        "--model",
        str(path),
        "--imgsz",
        "64",
        "--clients",
        "1",
        "3",
        "--seconds",
        "0.5",
        "--rounds",
        "1",
        "--device",
        "cpu",
    ]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *words, "--write", str(target), "--json", str(facts), "--quiet"])
    assert exit_status(benchmark.main) == 0, capsys.readouterr().err
    first, second = json.loads(facts.read_text())["served"]["loads"]
    assert (
        (first["clients"], second["clients"]) == (1, 3) and first["calls"]["seconds"] and not first["calls"]["wrong"]
    )
    assert "0 lost; exit status 0" in target.read_text() and len(markdown.rows(target.read_text())) == 2


def test_the_page_that_is_shipped_has_its_place():
    markdown.check_part(ROOT / "docs" / "serving.md", part_of("serve"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("serve --clients 0", "--clients 0 must be at least 1"),
        ("serve --seconds 0", "--seconds 0"),
        ("data --clients 3", "--clients is for serve, not for data"),
    ],
)
def test_flags_that_mean_nothing_are_refused(monkeypatch, capsys, line, words):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *line.split()])
    assert exit_status(benchmark.main) == 2
    assert words in capsys.readouterr().err
