"""Where weights come from: files, links, published ones, the bundled model; and what they ask of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from helpers.tiny_models import CLASSES, LIGHT, as_checkpoint, random_model
from helpers.website import serving
from safetensors.torch import save_file

from detect.errors import CheckpointError, FetchError, UsageError
from detect.models import checkpoint, imagenet, pretrained
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone
from detect.models.imagenet import IMAGENET_MEAN, IMAGENET_STD, PUBLISHED
from detect.models.pretrained import choose, published_weights, start_model
from detect.models.weights import read
from detect.structures.class_names import ClassNames

HALF = (0.5, 0.5, 0.5)
OTHER = (0.1, 0.2, 0.3)


@pytest.fixture(scope="module")
def trained():
    """A model after a step, as a checkpoint file holds it."""
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def mobilenet():
    return torchvision.models.mobilenet_v2(weights=None).state_dict()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[tuple[str, Path]]:
    """An address, and the folder whose files are served there; what is fetched goes to another, empty one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "site"
    folder.mkdir()
    with serving(folder) as address:
        yield address, folder


def start(weights, architecture=LIGHT, classes=CLASSES):
    return start_model(architecture, classes, weights)


def test_wrappings_of_training_programs_are_taken_off(tmp_path):
    state = {"module.features.0.0.weight": torch.ones(32, 3, 3, 3)}
    torch.save({"epoch": 3, "model": {"state_dict": state}}, tmp_path / "w.pth")
    assert list(read(tmp_path / "w.pth").state) == ["features.0.0.weight"]


def test_what_is_no_file_of_weights_is_named(tmp_path):
    with pytest.raises(
        UsageError, match=r"--pretrained .*none\.pth: no such file; known besides files and links are auto"
    ):
        choose("mobilenet_v2", str(tmp_path / "none.pth"))
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"junk" * 20)
        with pytest.raises(CheckpointError, match=rf"{name} is not a"):
            read(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds no dict of tensors"):
        read(tmp_path / "a.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save({"model": ClassNames(("a",))}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth is not a file of weights: [^\n]*$"):
        read(tmp_path / "evil.pth")


def test_none_is_random_and_vovnet_says_that_nothing_is_published(capsys):
    assert choose("mobilenet_v2", "none") is None
    assert not capsys.readouterr().err
    assert choose("vovnet19", "auto") is None
    assert "no published weights for vovnet19: training from scratch" in capsys.readouterr().err


@pytest.fixture
def offline(monkeypatch):
    def fetch(url, **_):
        raise FetchError("cannot download it")

    monkeypatch.setattr(imagenet, "fetch", fetch)
    monkeypatch.setattr(pretrained, "fetch", fetch)


def test_offline_mobilenet_goes_on_from_the_bundled_backbone(offline, trained, tmp_path, monkeypatch, capsys):
    checkpoint.save(trained, tmp_path / "b.safetensors")
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "b.safetensors")
    model, architecture, words = start(choose("mobilenet_v2", "auto"), classes=CLASSES)
    assert "warning: cannot download it. Going on from the bundled balloon model's backbone" in capsys.readouterr().err
    state = model.state_dict()
    same = {k for k in state if torch.equal(state[k], trained.state[k]) and state[k].ndim > 1}
    assert same == {k for k in state if k.startswith("backbone.body.") and state[k].ndim > 1}
    assert words.startswith("the backbone of ") and architecture.norm == "frozen"


def test_the_bundled_model_can_be_named_and_new_classes_are_told(trained, tmp_path, monkeypatch):
    checkpoint.save(trained, tmp_path / "b.safetensors")
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "b.safetensors")
    weights = choose("mobilenet_v2", "balloon")
    *_, same = start(weights, classes=trained.class_names)
    assert "new for" not in same
    *_, more = start(weights, classes=ClassNames((*trained.class_names.names, "zebra")))
    assert more.endswith("; new for zebra")


@pytest.mark.parametrize("name", ["resnet50", "v1", "maskrcnn_v2"])
def test_offline_others_say_what_works(offline, name):
    with pytest.raises(FetchError):
        choose(name, "auto")


def test_offline_without_a_bundled_model_is_an_error(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "none")
    with pytest.raises(FetchError):
        choose("mobilenet_v2", "auto")


def test_published_files_are_asked_for_with_a_way_out(monkeypatch, mobilenet, tmp_path):
    asked = {}

    def fetch(url, *, folder, hint):
        asked.update(url=url, folder=folder, hint=hint)
        torch.save(mobilenet, tmp_path / "m.pth")
        return tmp_path / "m.pth"

    monkeypatch.setattr(imagenet, "fetch", fetch)
    weights = choose("mobilenet_v2", "auto")
    assert weights is not None and not weights.is_detector
    assert asked["url"].endswith("/mobilenet_v2-b0353104.pth")
    assert asked["folder"].parts[-2:] == ("hub", "checkpoints")
    assert "--pretrained none" in asked["hint"]


def test_an_address_is_fetched_and_read_like_a_file(site, mobilenet):
    address, folder = site
    torch.save(mobilenet, folder / "m.pth")
    model, _, words = start(choose("mobilenet_v2", f"{address}/m.pth"))
    assert torch.equal(model.backbone.body.state_dict()["0.0.weight"], mobilenet["features.0.0.weight"])
    assert "m.pth: 312 of its 314 tensors used" in words
    with pytest.raises(FetchError, match="404"):
        choose("mobilenet_v2", f"{address}/n.pth")
    with pytest.raises(UsageError, match="no file of weights"):
        choose("mobilenet_v2", f"{address}/m.zip")


# What the weights ask of images


def test_published_weights_bring_their_mean_and_std_into_model_and_checkpoint(site, tmp_path, monkeypatch):
    """vovnet57's are not ImageNet's usual ones."""
    line = PUBLISHED["vovnet57"]
    assert (line.mean, line.std) == (HALF, HALF)
    address, folder = site
    theirs = build_backbone("vovnet57").module.state_dict() | {"head.fc.weight": torch.zeros(3, 1024)}
    place = folder / "timm" / line.folder / "resolve" / "main"
    place.mkdir(parents=True)
    save_file(theirs, place / "model.safetensors")
    served = replace(line, url=line.url.replace(imagenet.HUGGING_FACE, address))
    monkeypatch.setitem(PUBLISHED, "vovnet57", served)

    asked = backbone_architecture("vovnet57", "fasterrcnn", 64, fpn_channels=8)
    assert (asked.mean, asked.std) == (IMAGENET_MEAN, IMAGENET_STD)
    model, architecture, words = start(choose("vovnet57", "auto"), replace(asked, box=16))
    assert "ImageNet weights ese_vovnet57b.ra4_e3600_r256_in1k (Apache-2.0)" in words
    assert "not used: head.fc.weight" in words
    assert (architecture.mean, architecture.std, architecture.norm) == (HALF, HALF, "frozen")
    assert (model.transform.image_mean, model.transform.image_std) == (list(HALF), list(HALF))
    assert torch.equal(model.backbone.body.stem[0].conv.weight, theirs["stem.0.conv.weight"])

    checkpoint.save(as_checkpoint(model, architecture), tmp_path / "a.safetensors")
    back = read(tmp_path / "a.safetensors")
    assert (back.mean, back.std) == (HALF, HALF)
    assert Architecture.from_json(checkpoint.load(tmp_path / "a.safetensors").architecture) == architecture


def test_random_weights_take_imagenets_mean_and_std():
    _, architecture, _ = start(None, backbone_architecture("vovnet57", "fasterrcnn", 64, fpn_channels=8))
    assert (architecture.mean, architecture.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_a_checkpoint_brings_its_own_mean_and_std(trained, tmp_path):
    saved = replace(trained, architecture=trained.architecture | {"mean": OTHER, "std": HALF})
    checkpoint.save(saved, tmp_path / "a.safetensors")
    model, architecture, _ = start(choose("mobilenet_v2", str(tmp_path / "a.safetensors")))
    assert (architecture.mean, architecture.std) == (OTHER, HALF)
    assert model.transform.image_mean == list(OTHER)


def test_the_bundled_backbone_that_stands_in_brings_its_own_mean_and_std(
    offline, trained, tmp_path, monkeypatch, capsys
):
    saved = replace(trained, architecture=trained.architecture | {"mean": OTHER, "std": HALF, "norm_eps": 0.25})
    checkpoint.save(saved, tmp_path / "b.safetensors")
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "b.safetensors")
    _, architecture, _ = start(choose("mobilenet_v2", "auto"))
    assert (architecture.mean, architecture.std, architecture.norm_eps) == (OTHER, HALF, 0.25)
    assert "Going on from" in capsys.readouterr().err


def test_a_backbones_file_is_taken_to_want_what_the_published_one_wants(tmp_path, mobilenet):
    save_file({"stem.0.conv.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "v.safetensors")
    for name, mean in (("vovnet57", HALF), ("vovnet39", IMAGENET_MEAN), ("vovnet19", None)):
        assert choose(name, str(tmp_path / "v.safetensors")).mean == mean
    torch.save({f"backbone.body.{k}": t for k, t in mobilenet.items()}, tmp_path / "d.pth")
    assert choose("vovnet57", str(tmp_path / "d.pth")).mean is None  # a detector: someone has trained on


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_line_can_be_chosen(name):
    assert published_weights(name) is PUBLISHED[name]


def test_mobilenet_v3_keeps_its_eps_with_random_weights_a_backbone_and_a_whole_detector(tmp_path):
    """torchvision's is 0.001; with the usual one its published weights would see other numbers."""
    network = torchvision.models.mobilenet_v3_large(weights=None)
    torch.save(network.state_dict(), tmp_path / "m.pth")
    ours = backbone_architecture("mobilenet_v3_large", "fasterrcnn", 64)
    theirs = detector_architecture("mobilenet", 64)
    for asked in (ours, theirs):
        for weights in (None, read(tmp_path / "m.pth")):
            model, architecture, words = start(weights, asked)
            assert architecture.norm_eps == 1e-3, (asked.model, words)
        assert "not used: classifier.0.weight" in words
    images = torch.rand(1, 3, 64, 96)
    model, _, _ = start(read(tmp_path / "m.pth"), ours)
    with torch.inference_mode():
        found = model.eval().backbone.body(images)["3"]
        expected = network.features.eval()(images)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
