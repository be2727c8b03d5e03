"""``timm:NAME``: timm networks with maps of stride 4 to 32 as backbones, and their published weights."""

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
from detect.models import checkpoint, zoo
from detect.models.architecture import Architecture, backbone_architecture
from detect.models.backbones import build_backbone
from detect.models.builder import build
from detect.models.freeze import freeze_stages
from detect.models.norms import freeze_norms
from detect.models.pretrained import build_from_weights, choose_weights, published_weights
from detect.models.weights import read_weights
from detect.models.zoo import HEADS, IMAGENET_MEAN

timm = pytest.importorskip("timm")

# One network of each kind of ``features_only``: lists with and without a map of stride 2, blocks inside a mobile
# network, channels-last maps, batch norms with activations.
FAST = ("resnet10t", "test_convnext", "mobilenetv3_small_050", "test_mambaout", "ese_vovnet19b_slim_dw")
SLOW = (
    "resnet18", "ese_vovnet19b_dw", "mobilenetv3_large_100", "convnext_tiny", "hrnet_w18",
    "swin_tiny_patch4_window7_224", "sam2_hiera_tiny",
)  # fmt: skip
HALF = (0.5, 0.5, 0.5)
IMAGES = [make_image((70, 96), 3), make_image((120, 64), 4)]


def slow(*names: str) -> list:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def small(name: str, head: str = "fasterrcnn"):
    """Return its Architecture with narrow heads, since heads are not tested here."""
    return replace(
        backbone_architecture(f"timm:{name}", head, 64, 16),
        box_head_channels=32,
        mask_head_channels=16,
        max_proposals=60,
    )


def widths(architecture: Architecture) -> tuple[int | None, ...]:
    a = architecture
    return a.fpn_channels, a.box_head_channels, a.mask_head_channels, a.max_proposals


@pytest.mark.parametrize("name", [*FAST, *slow(*SLOW)])
def test_backbone_gives_four_maps_with_the_stated_channels_and_strides(name):
    backbone = build_backbone(f"timm:{name}")
    body = backbone.body([stage.layer for stage in backbone.stages]).eval()
    assert [stage.stride for stage in backbone.stages] == [4, 8, 16, 32]
    with torch.inference_mode():
        maps = body(torch.rand(1, 3, 64, 160))
        expected = backbone.module.eval()(torch.rand(1, 3, 64, 160))
    assert list(maps) == ["0", "1", "2", "3"] and len(expected) in (4, 5)
    for stage, one in zip(backbone.stages, maps.values(), strict=True):
        assert one.shape == (1, stage.channels, 64 // stage.stride, 160 // stage.stride)


@pytest.mark.parametrize(
    ("name", "head"),
    [(name, head) for name in FAST for head in HEADS]
    + [pytest.param(name, "maskrcnn", marks=pytest.mark.slow) for name in SLOW],
)
def test_detector_trains_and_its_checkpoint_gives_the_same_detections(name, head, tmp_path):
    architecture = small(name, head)
    saved = as_checkpoint(random_model(architecture), architecture)
    expected = predictor_from_checkpoint(saved, threshold=0)(IMAGES)
    checkpoint.save(saved, tmp_path / "a.safetensors")
    found = predictor_from_checkpoint(checkpoint.load(tmp_path / "a.safetensors"), threshold=0)(IMAGES)
    for before, after in zip(expected, found, strict=True):
        assert len(before) >= 20 and (before.masks is not None) == (head == "maskrcnn")
        assert (before.boxes == after.boxes).all() and (before.scores == after.scores).all()


def test_small_backbones_get_narrow_heads():
    narrow = backbone_architecture("timm:resnet10t", "fasterrcnn", 64)
    assert widths(narrow) == (128, 512, 128, 300)
    wide = backbone_architecture("timm:resnet50", "fasterrcnn", 64)
    assert widths(wide) == (256, 1024, 256, 1000)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "ese_vovnet19b_slim_dw", "resnet10t"])
def test_freezing_batch_norms_keeps_their_activations(name):
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
    """The folder that a local web server serves instead of Hugging Face; the download cache is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "site"
    folder.mkdir()
    with serving(folder) as address:
        monkeypatch.setattr(zoo, "HUGGING_FACE", address)
        yield folder


def publish(name: str, folder: Path) -> tuple[nn.Module, Path]:
    """Return the whole classifier ``name`` and the served file with its weights, at the path that timm lists."""
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
def test_published_weights_fill_the_backbone_and_set_mean_and_eps(name, mean, eps, hugging_face, capsys):
    theirs, _ = publish(name, hugging_face)
    model, architecture, used = build_from_weights(small(name), CLASSES, choose_weights(f"timm:{name}", "auto"))
    assert f"from ImageNet weights {published_weights(f'timm:{name}').folder} (apache-2.0), " in f"from {used.line}"
    assert "warning" not in capsys.readouterr().err  # which would name the tensors that are missing
    assert (architecture.mean, architecture.norm, architecture.norm_eps) == (mean, "frozen", eps)
    assert model.transform.image_mean == list(mean)
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(images, intermediates_only=True)[-1]
        found = model.eval().backbone.body(images)["3"]
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "mobilenetv3_small_050"])
def test_timm_classifier_file_fills_the_backbone(name, tmp_path, capsys):
    network = timm.create_model(name, pretrained=False, num_classes=5)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    weights = choose_weights(f"timm:{name}", str(tmp_path / "a.safetensors"))
    assert weights.mean == tuple(timm.get_pretrained_cfg(name).mean)
    model, _, used = build_from_weights(small(name), CLASSES, weights)
    assert not capsys.readouterr().err
    body, theirs = model.backbone.body.state_dict(), list(network.state_dict().values())
    assert all(any(torch.equal(t, one) for one in theirs) for t in body.values())
    assert used.unused


def test_published_file_of_another_network_is_rejected(hugging_face):
    _, path = publish("resnet10t", hugging_face)
    save_file(timm.create_model("test_convnext").state_dict(), path)
    with pytest.raises(CheckpointError, match="does not hold the weights of timm:resnet10t"):
        choose_weights("timm:resnet10t", "auto")


def test_without_published_weights_training_starts_from_scratch(capsys):
    assert choose_weights("timm:ese_vovnet19b_slim_dw", "auto") is None
    assert "no published weights for timm:ese_vovnet19b_slim_dw: training from scratch" in capsys.readouterr().err


def test_weights_at_a_plain_url_are_described(monkeypatch):
    config = SimpleNamespace(hf_hub_id="", url="https://example.org/x-01234567.pth", license=None, mean=HALF, std=HALF)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    found = published_weights("timm:resnet10t")
    assert (found.url, found.folder, found.mean) == (config.url, "", HALF)
    assert found.license == "license unknown"


# Freezing


def test_freezing_stages_freezes_what_their_maps_depend_on():
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
def test_hrnet_can_only_be_frozen_as_a_whole():
    model = build(small("hrnet_w18_small"), num_rows=2)
    with pytest.raises(
        UsageError, match=r"`freeze=1`: the first feature map of this backbone depends on \d+% of its parameters"
    ):
        freeze_stages(model, 1)
    freeze_stages(model, 4)
    assert not [p for p in model.backbone.body.parameters() if p.requires_grad]


# Errors


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", "timm .* has no model 'resnet81': did you mean resnet18 or "),
        ("", "timm .* has no model ''"),
        ("hf-hub:timm/resnet18", "timm .* has no model 'hf-hub:timm/resnet18'"),  # timm would download it
        ("resnet18.nonsense", "timm has no weights 'resnet18.nonsense'; available for resnet18: resnet18.a1_in1k, "),
        ("test_vit", "timm:test_vit (has feature maps of stride 16, 16, 16; an FPN needs|offers no feature maps)"),
        ("efficientvit_m0", "timm:efficientvit_m0 has feature maps of stride 16, 32, 64; an FPN needs"),
        ("test_coatnet", "timm:test_coatnet failed on an image of 96x160 pixels, .* every size: "),
    ],
)
def test_unusable_networks_are_rejected_with_the_reason(name, words):
    with pytest.raises(UsageError, match=words):
        backbone_architecture(f"timm:{name}", "fasterrcnn", 64)


def test_maps_whose_size_contradicts_their_stride_are_rejected(monkeypatch):
    """Convolutions without padding, as in inception_v3, give smaller maps."""

    class Cut(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.feature_info = network, network.feature_info

        def forward(self, images):
            return [one[..., 1:] for one in self.network(images)]

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *arguments, **options: Cut(create(*arguments, **options)))
    with pytest.raises(UsageError, match="cannot be used under an FPN: its map of stride 4 has the shape"):
        build_backbone("timm:test_convnext")


def test_error_without_timm_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for call in (
        lambda: backbone_architecture("timm:resnet18", "fasterrcnn", 64),
        lambda: published_weights("timm:resnet18"),
    ):
        with pytest.raises(UsageError, match=r"backbones timm:NAME need the package timm: pip install timm"):
            call()
    assert backbone_architecture("mobilenet_v2", "fasterrcnn", 64).model == "mobilenet_v2"


def test_loading_a_timm_checkpoint_without_timm_names_the_install_command(tmp_path, monkeypatch):
    architecture = small("test_convnext")
    checkpoint.save(as_checkpoint(build(architecture, 4), architecture), tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors").is_detector
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        predictor_from_checkpoint(checkpoint.load(tmp_path / "a.safetensors"))


@pytest.mark.slow
def test_timm_is_not_imported_for_other_backbones():
    """timm is optional and slow to import."""
    code = (
        "import sys; from detect.models import pretrained; "
        "from detect.models.architecture import Architecture, backbone_architecture as b; "
        "b('mobilenet_v2', 'fasterrcnn', 64); print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
