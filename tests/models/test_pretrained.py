"""Starting weights: files, URLs, published and bundled weights, and their image normalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, random_model
from helpers.website import serving
from safetensors.torch import save_file

from detect.errors import CheckpointError, FetchError, UsageError
from detect.models import checkpoint, pretrained, zoo
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone
from detect.models.pretrained import build_from_weights, choose_weights, published_weights
from detect.models.weights import read_weights
from detect.models.zoo import BACKBONES, IMAGENET_MEAN, IMAGENET_STD
from detect.structures.class_names import ClassNames

HALF = (0.5, 0.5, 0.5)
OTHER = (0.1, 0.2, 0.3)


@pytest.fixture(scope="module")
def trained():
    """Checkpoint of a model after one step."""
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def mobilenet():
    return torchvision.models.mobilenet_v2(weights=None).state_dict()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[tuple[str, Path]]:
    """Address of a web server and the folder that it serves; the download cache is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "site"
    folder.mkdir()
    with serving(folder) as address:
        yield address, folder


def start(weights, architecture=TINY_ARCHITECTURE, classes=CLASSES):
    return build_from_weights(architecture, classes, weights)


def test_nested_state_dicts_and_module_prefixes_are_unwrapped(tmp_path):
    state = {"module.features.0.0.weight": torch.ones(32, 3, 3, 3)}
    torch.save({"epoch": 3, "model": {"state_dict": state}}, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth").state) == ["features.0.0.weight"]


def test_missing_and_invalid_weight_files_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"`pretrained`: no such file: .*none\.pth; expected auto, none, balloon"):
        choose_weights("mobilenet_v2", str(tmp_path / "none.pth"))
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"junk" * 20)
        with pytest.raises(CheckpointError, match=rf"{name} .*a text file; expected \.safetensors"):
            read_weights(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds no dictionary of tensors"):
        read_weights(tmp_path / "a.pth")


def test_none_means_random_weights_and_missing_published_weights_give_a_warning(capsys):
    assert choose_weights("mobilenet_v2", "none") is None
    assert not capsys.readouterr().err
    assert choose_weights("vovnet19", "auto") is None
    assert "no published weights for vovnet19: training from scratch" in capsys.readouterr().err


@pytest.fixture
def offline(monkeypatch):
    def fetch(url, **_):
        raise FetchError("cannot download it")

    monkeypatch.setattr(pretrained, "fetch", fetch)


def test_offline_mobilenet_v2_starts_from_the_bundled_backbone(offline, trained, tmp_path, monkeypatch, capsys):
    checkpoint.save(trained, tmp_path / "b.safetensors")
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "b.safetensors")
    model, architecture, used = start(choose_weights("mobilenet_v2", "auto"), classes=CLASSES)
    assert (
        "warning: cannot download it. Continuing with the backbone of the bundled balloon model"
        in capsys.readouterr().err
    )
    state = model.state_dict()
    same = {k for k in state if torch.equal(state[k], trained.state[k]) and state[k].ndim > 1}
    assert same == {k for k in state if k.startswith("backbone.body.") and state[k].ndim > 1}
    assert used.line.startswith("the backbone of ") and architecture.norm == "frozen"


def test_bundled_model_can_be_named_and_new_classes_are_reported(trained, tmp_path, monkeypatch):
    checkpoint.save(trained, tmp_path / "b.safetensors")
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "b.safetensors")
    weights = choose_weights("mobilenet_v2", "balloon")
    *_, same = start(weights, classes=trained.class_names)
    assert "newly initialized" not in same.line
    *_, more = start(weights, classes=ClassNames((*trained.class_names.names, "zebra")))
    assert more.line.endswith("; newly initialized: the head for zebra")


@pytest.mark.parametrize("name", ["resnet50", "v1", "maskrcnn_v2"])
def test_offline_other_models_raise(offline, name):
    with pytest.raises(FetchError):
        choose_weights(name, "auto")


def test_offline_without_a_bundled_model_is_an_error(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "none")
    with pytest.raises(FetchError):
        choose_weights("mobilenet_v2", "auto")


def test_published_weights_are_fetched_with_a_hint_for_offline_use(monkeypatch, mobilenet, tmp_path):
    asked = {}

    def fetch(url, *, folder, hint):
        asked.update(url=url, folder=folder, hint=hint)
        torch.save(mobilenet, tmp_path / "m.pth")
        return tmp_path / "m.pth"

    monkeypatch.setattr(pretrained, "fetch", fetch)
    weights = choose_weights("mobilenet_v2", "auto")
    assert weights is not None and not weights.is_detector
    assert asked["url"].endswith("/mobilenet_v2-b0353104.pth")
    assert asked["folder"].parts[-2:] == ("hub", "checkpoints")
    assert "`pretrained='none'`" in asked["hint"]


def test_web_address_is_fetched_and_read_like_a_file(site, mobilenet):
    address, folder = site
    torch.save(mobilenet, folder / "m.pth")
    model, _, used = start(choose_weights("mobilenet_v2", f"{address}/m.pth"))
    assert torch.equal(model.backbone.body.state_dict()["0.0.weight"], mobilenet["features.0.0.weight"])
    assert "m.pth, 312 of 314 tensors; newly initialized: all but the backbone" in used.line
    with pytest.raises(FetchError, match="404"):
        choose_weights("mobilenet_v2", f"{address}/n.pth")
    with pytest.raises(UsageError, match=r"m\.zip"):
        choose_weights("mobilenet_v2", f"{address}/m.zip")


# Image normalization


def test_mean_and_std_of_published_weights_reach_model_and_checkpoint(site, tmp_path, monkeypatch):
    """vovnet57 was not trained with the usual ImageNet values."""
    line = BACKBONES["vovnet57"].weights
    assert (line.mean, line.std) == (HALF, HALF)
    address, folder = site
    theirs = build_backbone("vovnet57").module.state_dict() | {"head.fc.weight": torch.zeros(3, 1024)}
    place = folder / "timm" / line.folder / "resolve" / "main"
    place.mkdir(parents=True)
    save_file(theirs, place / "model.safetensors")
    served = replace(line, url=line.url.replace(zoo.HUGGING_FACE, address))
    monkeypatch.setitem(BACKBONES, "vovnet57", replace(BACKBONES["vovnet57"], weights=served))

    asked = backbone_architecture("vovnet57", "fasterrcnn", 64, fpn_channels=8)
    assert (asked.mean, asked.std) == (IMAGENET_MEAN, IMAGENET_STD)
    model, architecture, used = start(choose_weights("vovnet57", "auto"), replace(asked, box_head_channels=16))
    assert "ImageNet weights ese_vovnet57b.ra4_e3600_r256_in1k (Apache-2.0)" in used.line
    assert used.unused == ("head.fc.weight",)
    assert (architecture.mean, architecture.std, architecture.norm) == (HALF, HALF, "frozen")
    assert (model.transform.image_mean, model.transform.image_std) == (list(HALF), list(HALF))
    assert torch.equal(model.backbone.body.stem[0].conv.weight, theirs["stem.0.conv.weight"])

    checkpoint.save(as_checkpoint(model, architecture), tmp_path / "a.safetensors")
    back = read_weights(tmp_path / "a.safetensors")
    assert (back.mean, back.std) == (HALF, HALF)
    assert Architecture.from_json(checkpoint.load(tmp_path / "a.safetensors").architecture) == architecture


def test_random_weights_have_imagenet_mean_and_std():
    _, architecture, _ = start(None, backbone_architecture("vovnet57", "fasterrcnn", 64, fpn_channels=8))
    assert (architecture.mean, architecture.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_mean_and_std_of_a_checkpoint_are_kept(trained, tmp_path):
    saved = replace(trained, architecture=trained.architecture | {"mean": OTHER, "std": HALF})
    checkpoint.save(saved, tmp_path / "a.safetensors")
    model, architecture, _ = start(choose_weights("mobilenet_v2", str(tmp_path / "a.safetensors")))
    assert (architecture.mean, architecture.std) == (OTHER, HALF)
    assert model.transform.image_mean == list(OTHER)


def test_mean_and_std_of_the_bundled_fallback_are_kept(offline, trained, tmp_path, monkeypatch, capsys):
    saved = replace(trained, architecture=trained.architecture | {"mean": OTHER, "std": HALF, "norm_eps": 0.25})
    checkpoint.save(saved, tmp_path / "b.safetensors")
    monkeypatch.setattr(pretrained, "bundled", lambda name: tmp_path / "b.safetensors")
    _, architecture, _ = start(choose_weights("mobilenet_v2", "auto"))
    assert (architecture.mean, architecture.std, architecture.norm_eps) == (OTHER, HALF, 0.25)
    assert "backbone of the bundled" in capsys.readouterr().err


def test_bare_backbone_file_gets_mean_and_std_of_the_published_weights(tmp_path, mobilenet):
    save_file({"stem.0.conv.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "v.safetensors")
    for name, mean in (("vovnet57", HALF), ("vovnet39", IMAGENET_MEAN), ("vovnet19", None)):
        assert choose_weights(name, str(tmp_path / "v.safetensors")).mean == mean
    torch.save({f"backbone.body.{k}": t for k, t in mobilenet.items()}, tmp_path / "d.pth")
    assert choose_weights("vovnet57", str(tmp_path / "d.pth")).mean is None  # a trained detector


@pytest.mark.parametrize("name", BACKBONES)
def test_published_weights_come_from_the_table(name):
    assert published_weights(name) is BACKBONES[name].weights


def test_mobilenet_v3_keeps_its_norm_eps_as_backbone_and_in_a_detector(tmp_path):
    """torchvision's is 0.001; with the default eps the published weights would give other outputs."""
    network = torchvision.models.mobilenet_v3_large(weights=None)
    torch.save(network.state_dict(), tmp_path / "m.pth")
    ours = backbone_architecture("mobilenet_v3_large", "fasterrcnn", 64)
    theirs = detector_architecture("mobilenet", 64)
    for asked in (ours, theirs):
        for weights in (None, read_weights(tmp_path / "m.pth")):
            model, architecture, used = start(weights, asked)
            assert architecture.norm_eps == 1e-3, (asked.model, used)
        assert "classifier.0.weight" in used.unused
    images = torch.rand(1, 3, 64, 96)
    model, _, _ = start(read_weights(tmp_path / "m.pth"), ours)
    with torch.inference_mode():
        found = model.eval().backbone.body(images)["3"]
        expected = network.features.eval()(images)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
