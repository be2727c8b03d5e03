"""``timm:NAME``: every network of timm with a pyramid is a backbone, and its published weights are ours too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model, randomize_norms, train_one_step
from helpers.website import serving
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detect.errors import CheckpointError, UsageError
from detect.inference.load import predictor_from_checkpoint
from detect.models import checkpoint, imagenet
from detect.models.architecture import backbone_architecture
from detect.models.backbones import build_backbone, from_timm
from detect.models.builder import build
from detect.models.freeze import freeze_stages
from detect.models.imagenet import IMAGENET_MEAN
from detect.models.norms import freeze_norms
from detect.models.pretrained import choose, published_weights, start_model
from detect.models.weights import read
from detect.models.zoo import HEADS

timm = pytest.importorskip("timm")

# One of each kind of features_only: a list with and without a map of stride 2, blocks tapped in a mobile network,
# channels last, norms that activate.
LIGHT_ONES = ("resnet10t", "test_convnext", "mobilenetv3_small_050", "test_mambaout", "ese_vovnet19b_slim_dw")
HEAVY_ONES = (
    "resnet18", "ese_vovnet19b_dw", "mobilenetv3_large_100", "convnext_tiny", "hrnet_w18",
    "swin_tiny_patch4_window7_224", "sam2_hiera_tiny",
)  # fmt: skip
HALF = (0.5, 0.5, 0.5)
IMAGES = [make_image((70, 96), 3), make_image((120, 64), 4)]


def slow(*names: str) -> list:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def small(name: str, head: str = "fasterrcnn"):
    """Its Architecture with narrow heads, which are not what is tested."""
    return replace(backbone_architecture(f"timm:{name}", head, 64, 16), box=32, mask=16, proposals=60)


@pytest.mark.parametrize("name", [*LIGHT_ONES, *slow(*HEAVY_ONES)])
def test_a_backbone_gives_four_maps_of_the_channels_and_strides_it_states(name):
    backbone = build_backbone(f"timm:{name}")
    body = backbone.body([stage.layer for stage in backbone.stages]).eval()
    assert [stage.stride for stage in backbone.stages] == [4, 8, 16, 32]
    with torch.inference_mode():
        maps = body(torch.rand(1, 3, 64, 160))
        expected = backbone.module.eval()(torch.rand(1, 3, 64, 160))
    assert list(maps) == ["0", "1", "2", "3"] and len(expected) in (4, 5)
    for stage, one in zip(backbone.stages, maps.values(), strict=True):
        assert one.shape == (1, stage.channels, 64 // stage.stride, 160 // stage.stride)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", [*LIGHT_ONES, *slow(*HEAVY_ONES)])
def test_a_detector_trains_a_step_and_comes_back_from_its_file(name, head, tmp_path):
    architecture = small(name, head)
    saved = as_checkpoint(random_model(architecture), architecture)
    expected = predictor_from_checkpoint(saved, threshold=0)(IMAGES)
    checkpoint.save(saved, tmp_path / "a.safetensors")
    found = predictor_from_checkpoint(checkpoint.load(tmp_path / "a.safetensors"), threshold=0)(IMAGES)
    for before, after in zip(expected, found, strict=True):
        assert len(before) >= 20 and (before.masks is not None) == (head == "maskrcnn")
        assert (before.boxes == after.boxes).all() and (before.scores == after.scores).all()


def test_light_backbones_get_light_heads():
    light = backbone_architecture("timm:resnet10t", "fasterrcnn", 64)
    assert (light.fpn, light.box, light.mask, light.proposals) == (128, 512, 128, 300)
    wide = backbone_architecture("timm:resnet50", "fasterrcnn", 64)
    assert (wide.fpn, wide.box, wide.mask, wide.proposals) == (256, 1024, 256, 1000)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "ese_vovnet19b_slim_dw", "resnet10t"])
def test_freezing_norms_keeps_the_activations_that_timm_puts_into_them(name):
    backbone = build_backbone(f"timm:{name}")
    randomize_norms(backbone.module)
    body = backbone.body([stage.layer for stage in backbone.stages]).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        before = body(images)
        freeze_norms(body)
        after = body(images)
    assert not [m for m in body.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in body.modules() if isinstance(m, FrozenBatchNorm2d)]
    for key, wanted in before.items():
        assert (after[key] - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# Published weights


@pytest.fixture
def hugging_face(tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder whose files are served in its place; what is fetched goes to another, empty one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "site"
    folder.mkdir()
    with serving(folder) as address:
        monkeypatch.setattr(imagenet, "HUGGING_FACE", address)
        yield folder


def publish(name: str, folder: Path) -> tuple[nn.Module, Path]:
    """The whole classifier ``name``, and the file with its weights where timm says that they are."""
    torch.manual_seed(3)
    network = timm.create_model(name, pretrained=False)
    randomize_norms(network)
    path = folder / timm.get_pretrained_cfg(name).hf_hub_id / "resolve" / "main" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(network.state_dict(), path)
    return network.eval(), path


@pytest.mark.parametrize(
    ("name", "mean", "eps"), [("resnet10t", IMAGENET_MEAN, 1e-5), ("tf_mobilenetv3_small_075", HALF, 1e-3)]
)
def test_published_weights_fill_the_backbone_with_their_mean_and_eps(name, mean, eps, hugging_face, capsys):
    theirs, _ = publish(name, hugging_face)
    model, architecture, words = start_model(small(name), CLASSES, choose(f"timm:{name}", "auto"))
    assert f"from ImageNet weights {published_weights(f'timm:{name}').folder} (apache-2.0): " in f"from {words}"
    assert "warning" not in capsys.readouterr().err  # which would name the tensors that are missing
    assert (architecture.mean, architecture.norm, architecture.norm_eps) == (mean, "frozen", eps)
    assert model.transform.image_mean == list(mean)
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(images, intermediates_only=True)[-1]
        found = model.eval().backbone.body(images)["3"]
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "mobilenetv3_small_050"])
def test_a_file_of_a_whole_classifier_of_timms_fills_the_backbone(name, tmp_path, capsys):
    network = timm.create_model(name, pretrained=False, num_classes=5)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    weights = choose(f"timm:{name}", str(tmp_path / "a.safetensors"))
    assert weights.mean == tuple(timm.get_pretrained_cfg(name).mean)
    model, _, words = start_model(small(name), CLASSES, weights)
    assert not capsys.readouterr().err
    body, theirs = model.backbone.body.state_dict(), list(network.state_dict().values())
    assert all(any(torch.equal(t, one) for one in theirs) for t in body.values())
    assert "not used: " in words


def test_another_networks_file_under_the_published_name_is_refused(hugging_face):
    _, path = publish("resnet10t", hugging_face)
    save_file(timm.create_model("test_convnext").state_dict(), path)
    with pytest.raises(CheckpointError, match="does not hold the weights of timm:resnet10t"):
        choose("timm:resnet10t", "auto")


def test_where_nothing_is_published_training_starts_from_scratch(capsys):
    assert choose("timm:ese_vovnet19b_slim_dw", "auto") is None
    assert "no published weights for timm:ese_vovnet19b_slim_dw: training from scratch" in capsys.readouterr().err


def test_a_plain_address_serves_where_timm_names_one(monkeypatch):
    config = SimpleNamespace(hf_hub_id="", url="https://example.org/x-01234567.pth", license=None, mean=HALF, std=HALF)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    found = published_weights("timm:resnet10t")
    assert (found.url, found.folder, found.mean) == (config.url, "", HALF)
    assert found.title == "x-01234567.pth (licence unknown)"


# Freezing


def test_freezing_takes_what_the_first_maps_need():
    model = build(small("resnet10t"), num_rows=3)
    freeze_stages(model, 2)
    frozen = {name.split(".")[3] for name, p in model.named_parameters() if not p.requires_grad}
    learning = {
        name.split(".")[3] for name, p in model.backbone.named_parameters(prefix="backbone") if p.requires_grad
    }
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert {"layer3", "layer4"} <= learning and not frozen & learning
    train_one_step(model)


@pytest.mark.slow
def test_a_backbone_whose_maps_all_come_from_its_end_cannot_be_frozen_in_part():
    model = build(small("hrnet_w18_small"), num_rows=2)
    with pytest.raises(UsageError, match=r"--freeze 1: the first map of this backbone needs .*% of it"):
        freeze_stages(model, 1)
    freeze_stages(model, 4)
    assert not [p for p in model.backbone.body.parameters() if p.requires_grad]


# What cannot be


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", "timm .* has no model 'resnet81': did you mean resnet18 or "),
        ("", "timm .* has no model ''"),
        ("hf-hub:timm/resnet18", "timm .* has no model 'hf-hub:timm/resnet18'"),  # which timm would download
        ("resnet18.nonsense", "timm has no weights 'resnet18.nonsense'; of resnet18 it has resnet18.a1_in1k, "),
        ("test_vit", "timm:test_vit (has maps of stride 16, 16, 16, which make no pyramid|offers no feature maps)"),
        ("efficientvit_m0", "timm:efficientvit_m0 has maps of stride 16, 32, 64, which make no pyramid"),
        ("test_coatnet", "timm:test_coatnet does not take images of any size: "),
    ],
)
def test_what_is_no_backbone_says_why(name, words):
    with pytest.raises(UsageError, match=words):
        backbone_architecture(f"timm:{name}", "fasterrcnn", 64)


def test_maps_that_are_not_where_their_strides_say_are_refused(monkeypatch):
    """As those of inception_v3, whose convolutions cut the border off."""

    class Cut(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.feature_info = network, network.feature_info

        def forward(self, images):
            return [one[..., 1:] for one in self.network(images)]

    create = from_timm._create
    monkeypatch.setattr(from_timm, "_create", lambda name: Cut(create(name)))
    with pytest.raises(UsageError, match="is no pyramid: its map of stride 4 is"):
        build_backbone("timm:test_convnext")


def test_without_timm_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for call in (
        lambda: backbone_architecture("timm:resnet18", "fasterrcnn", 64),
        lambda: published_weights("timm:resnet18"),
    ):
        with pytest.raises(UsageError, match=r"backbones timm:NAME need the package timm: pip install timm"):
            call()
    assert backbone_architecture("mobilenet_v2", "fasterrcnn", 64).model == "mobilenet_v2"


def test_a_checkpoint_of_timms_says_so_without_it(tmp_path, monkeypatch):
    architecture = small("test_convnext")
    checkpoint.save(as_checkpoint(build(architecture, 4), architecture), tmp_path / "a.safetensors")
    assert read(tmp_path / "a.safetensors").is_detector
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        predictor_from_checkpoint(checkpoint.load(tmp_path / "a.safetensors"))


def test_timm_is_imported_for_its_own_backbones_alone():
    """Whoever does not ask for one needs not have it, nor wait for it."""
    code = (
        "import sys; from detect.models import pretrained; "
        "from detect.models.architecture import backbone_architecture as b; "
        "b('mobilenet_v2', 'fasterrcnn', 64); print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
