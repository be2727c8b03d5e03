"""The model that ``auto`` stands for, with and without a network, and with broken ones."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
import torch
import torchvision
from helpers.folders import ROOT
from helpers.web_server import BODY, Server, files

from detect.cli.commands import detect_image
from detect.cli.settings.evaluate import EvaluateSettings
from detect.cli.settings.export import ExportSettings
from detect.errors import FetchError, UsageError
from detect.inference.load import load_model
from detect.io import downloads
from detect.models import default_model as module
from detect.models import pretrained
from detect.models.default_model import DefaultModel, default_model
from detect.models.zoo import AUTO_DETECTORS, BUNDLED, DETECTORS
from detect.serving.model_registry import load_models

FILE = f"weights-{hashlib.sha256(BODY).hexdigest()[:8]}.pth"


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """The empty folder for downloaded weights, in a process that has not tried to download any."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(module, "FAILURES", [])
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def use_url(monkeypatch) -> Callable[[str], None]:
    """Let the weights of all detectors come from a URL."""
    return lambda url: monkeypatch.setattr(pretrained, "detector_url", lambda _: url)


@pytest.fixture
def digested(monkeypatch) -> list[str]:
    """The names of the files whose digest is computed."""
    names: list[str] = []
    compute = downloads.sha256_of
    monkeypatch.setattr(downloads, "sha256_of", lambda path: (names.append(path.name), compute(path))[1])
    return names


@pytest.fixture
def offline(cache, use_url) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    use_url(f"http://127.0.0.1:{port}/{FILE}")


@pytest.mark.parametrize(("device", "name"), AUTO_DETECTORS.items())
def test_a_detector_of_coco_that_suits_the_device_is_downloaded_once(server, cache, use_url, device, name):
    use_url(server.url(FILE))
    assert default_model(device) == DefaultModel(name) and name in DETECTORS
    assert [path.name for path in files(cache)] == [FILE]
    count = len(server.paths)
    assert default_model(device) == DefaultModel(name) and len(server.paths) == count


def test_cached_weights_need_no_network(offline, cache):
    (cache / FILE).write_bytes(BODY)
    assert default_model("cpu") == DefaultModel("mobilenet")


def test_weights_that_are_put_into_the_cache_later_are_used(offline, cache):
    assert default_model("cpu").name in BUNDLED
    (cache / FILE).write_bytes(BODY)
    assert default_model("cpu") == DefaultModel("mobilenet")


def test_cached_weights_are_read_once_for_their_digest(offline, cache, digested):
    (cache / FILE).write_bytes(BODY)
    for _ in range(3):
        assert default_model("cpu") == DefaultModel("mobilenet")
        downloads.fetch(pretrained.detector_url("mobilenet"))
    assert digested == [FILE]
    (cache / FILE).write_bytes(b"damaged")
    assert "is damaged" in default_model("cpu").failure


def test_downloaded_weights_are_read_once_for_their_digest(server, cache, use_url, digested):
    use_url(server.url(FILE))
    assert default_model("cpu") == DefaultModel("mobilenet")
    downloads.fetch(pretrained.detector_url("mobilenet"))
    assert digested == [f"{FILE}.partial"]


def test_damaged_cached_weights_are_named(offline, cache):
    (cache / FILE).write_bytes(b"half a mod")
    chosen = default_model("cpu")
    assert chosen.name in BUNDLED and f"{cache / FILE} is damaged" in chosen.failure and "delete it" in chosen.failure


# Networks without a connection to the weights: each is a context with the URL of the weights.


@contextmanager
def refused(_: pytest.MonkeyPatch) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield f"http://127.0.0.1:{port}/{FILE}"


@contextmanager
def silent(_: pytest.MonkeyPatch) -> Iterator[str]:
    """As behind a router that drops all packets: a connection that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/{FILE}"


@contextmanager
def without_name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    yield f"http://weights.invalid/{FILE}"


@contextmanager
def with_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    resolved = Event()

    def hang(*_: object, **__: object) -> list:
        resolved.wait(300)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        yield f"http://weights.invalid/{FILE}"
    finally:
        resolved.set()


@contextmanager
def served(**attributes: object) -> Iterator[str]:
    with Server().running() as server:
        for name, value in attributes.items():
            setattr(server, name, value)
        yield server.url(FILE)


@contextmanager
def login_page(_: pytest.MonkeyPatch) -> Iterator[str]:
    with served(content_type="text/html", body=b"<p>Welcome to the hotel") as url:
        yield url


@contextmanager
def stalled_login_page(_: pytest.MonkeyPatch) -> Iterator[str]:
    """Headers without a body."""
    stall = Event()
    stall.set()
    with served(content_type="text/html", cuts=[0] * 9, stall=stall) as url:
        yield url


@contextmanager
def another_file(_: pytest.MonkeyPatch) -> Iterator[str]:
    with served(body=b"something else") as url:
        yield url


@contextmanager
def error_404(_: pytest.MonkeyPatch) -> Iterator[str]:
    with served() as url:
        yield url.replace("/files/", "/missing/")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (refused, "Connection refused"),
        (silent, "no response within"),
        (without_name_server, "the server's name cannot be resolved"),
        (with_silent_name_server, "no response within"),
        (login_page, "a web page instead of the file"),
        (stalled_login_page, "no response within"),
        (another_file, "its sha256 is"),
        (error_404, "404"),
    ],
)
def test_without_a_connection_the_bundled_model_is_used_at_once_and_the_network_not_tried_again(
    monkeypatch, cache, use_url, network, words
):
    assert 0 < module.PROBE_SECONDS < 5
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.3)
    monkeypatch.setenv("no_proxy", "127.0.0.1,weights.invalid")
    with network(monkeypatch) as url:
        use_url(url)
        started = time.monotonic()
        chosen = default_model("cpu")
        assert time.monotonic() - started < 60  # a busy machine is slow
        assert chosen.name in BUNDLED and words in chosen.failure and "\n" not in chosen.failure
        assert not files(cache)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("the network is tried again"))
    assert default_model("cpu") == chosen
    assert words in default_model("cuda").failure


def test_a_cache_that_cannot_be_written_is_named(server, cache, use_url):
    cache.rmdir()
    cache.touch()
    use_url(server.url(FILE))
    assert str(cache) in default_model("cpu").failure


# The model as users load it


def test_a_downloaded_detector_is_loaded_under_its_own_name(server, cache, use_url, monkeypatch, capsys):
    torch.manual_seed(0)
    network = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), cache.parent / "weights.pth")
    server.body = (cache.parent / "weights.pth").read_bytes()
    use_url(server.url("weights.pth"))
    monkeypatch.setitem(AUTO_DETECTORS, "cpu", "ssdlite")
    predictor = load_model(device="cpu")
    assert predictor.name == "ssdlite" and len(predictor.class_names) == 80
    assert "warning" not in capsys.readouterr().err


def test_the_fallback_is_announced_on_one_line_with_what_it_detects(offline, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    predictor = load_model(device="cpu")
    assert predictor.name == "balloon"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: `model='auto'`: mobilenet cannot be downloaded: Connection refused.")
    assert "only detects balloon, for example in input/balloons_1.jpg and input/balloons.mp4" in line
    examples = [word for word in line.split() if word.startswith("input/")]
    assert len(examples) == 2 and all(Path(example).is_file() for example in examples)


def test_the_program_announces_the_fallback_in_its_own_words(offline, run_script, capsys):
    image = ROOT / "input" / "balloons_1.jpg"
    assert run_script(detect_image, "--input", image, "--imgsz", 320, "--device", "cpu") == 0
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("warning: --model auto: mobilenet cannot be downloaded")
    assert "balloon" in printed.out


def test_without_the_bundled_file_the_error_is_one_line_that_says_what_to_do(
    offline, cache, tmp_path, run_script, monkeypatch, capsys
):
    monkeypatch.setattr(pretrained, "bundled", lambda _: tmp_path / "none.safetensors")
    with pytest.raises(FetchError, match="bundled model is missing"):
        load_model(device="cpu")
    assert run_script(detect_image, "--input", ROOT / "input" / "image_1.jpg", "--device", "cpu") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --model auto: ") and str(cache / FILE) in line and "none.safetensors" in line


def test_only_the_first_of_several_processes_announces_the_fallback(offline, monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setitem(os.environ, name, value)
    assert load_model(device="cpu").name == "balloon" and not capsys.readouterr().err


def test_it_is_served_under_the_name_of_the_model_that_it_stands_for(offline, capsys):
    assert list(load_models({"auto": "auto"}, device="cpu")) == ["balloon"]
    assert set(load_models({"auto": "auto", "balloon": "balloon"}, device="cpu")) == {"auto", "balloon"}
    assert list(load_models({"mine": "auto"}, device="cpu")) == ["mine"]


@pytest.mark.parametrize("settings", [EvaluateSettings, ExportSettings])
def test_programs_that_measure_or_keep_a_model_need_its_name(settings):
    assert settings().model in BUNDLED
    with pytest.raises(UsageError, match="name the model"):
        settings(model="auto")
