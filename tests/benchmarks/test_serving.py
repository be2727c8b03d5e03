"""benchmark.py serve: every response to a client is counted, and the loop does what the server does."""

from __future__ import annotations

import json
import re

import pytest
from helpers.api_server import serving, tiny_model
from helpers.benchmarking import run_benchmark
from helpers.tiny_models import as_checkpoint, make_image, random_model

from benchmarks.serving import Load, Responses, load, plain_rate, resident_memory, table
from detect.media.encoding import encode
from detect.models import checkpoint

IMAGES = [encode(make_image((64, 96), seed), "JPEG") for seed in range(3)]


def test_every_response_is_counted_once(tmp_path):
    with serving(tiny_model(threshold=0.9), queue=2, batch_size=1) as client:
        url = str(client.base_url).rstrip("/")
        responses, seconds = load(url, IMAGES, 6, 1.5)
        counts = dict(
            re.findall(
                r'requests_total{method="POST",route="/v1/detect",status="(\d+)"} (\d+)', client.get("/metrics").text
            )
        )
        assert len(responses.seconds) == int(counts["200"]) > 0 and len(responses.waits) == int(counts["503"]) > 0
        assert not responses.errors and seconds >= 1.5 and all(0 < one < seconds for one in responses.seconds)
        assert resident_memory(url) > 50e6
        broken, _ = load(url, [b"not an image"], 1, 0.2)
        assert not broken.seconds and "415: " in broken.errors[0]
    lost, _ = load(url, IMAGES, 1, 0.2)
    assert not lost.seconds and "ConnectionRefusedError" in lost.errors[0]


def test_rate_of_the_loop_counts_every_image():
    model = tiny_model(threshold=0.9).predictor
    sizes = []

    class Counting:
        class_names = model.class_names

        def predict_batch(self, images):
            sizes.append(len(images))
            return model.predict_batch(images)

    rate = plain_rate(Counting(), IMAGES, 0.5)
    assert rate > 0 and len(sizes) >= 1 and set(sizes) == {1}


def test_table_holds_what_was_measured_and_each_error_once():
    responses = Responses([0.1] * 90 + [1.0] * 10, [2.0] * 7, ["500: broken"])
    loads = [Load(8, responses, rate, 10.0, 900_000_000) for rate in (9.5, 19.0, 4.75)]
    text = table([*loads, Load(1, Responses(), 0.0, 10.0, None)])
    assert "| 8 | 9.50 | 0.95 | 0.10 | 1.00 | 21 | 3 | 900 |" in text
    assert "| 1 | 0.00 | 0.00 | nan | nan | 0 | 0 | not measured |" in text
    assert text.count("- 500: broken") == 1


@pytest.mark.slow
def test_server_is_started_loaded_and_stopped(tmp_path, monkeypatch, capsys):
    path = tmp_path / "kites" / "best.safetensors"
    path.parent.mkdir()
    checkpoint.save(as_checkpoint(random_model()), path)
    facts = tmp_path / "facts.json"
    words = ["serve", "--model", path, "--imgsz", 64, "--clients", 1, 3, "--seconds", 0.5, "--rounds", 1]
    assert run_benchmark(monkeypatch, *words, "--device", "cpu", "--json", facts, "--quiet") == 0
    first, second = json.loads(facts.read_text())["loads"]
    assert (first["clients"], second["clients"]) == (1, 3)
    assert first["responses"]["seconds"] and not first["responses"]["errors"]
    assert "0 lost; exit status 0" in capsys.readouterr().out
