"""The ideas that benchmark.py tries change what their titles say, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.tiny_models import TINY_ARCHITECTURE, make_image, random_model
from torch import Tensor
from torchvision.models.detection import roi_heads
from torchvision.models.detection import rpn as torchvision_rpn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import complete_box_iou_loss, generalized_box_iou_loss

from benchmarks import ideas
from benchmarks.settings import IdeasSettings
from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.errors import UsageError
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models import builder
from detect.models.architecture import backbone_architecture
from detect.models.builder import build
from detect.models.cpu import rpn as cpu_rpn
from detect.models.cpu.optimize import optimize_for_cpu
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.structures.class_names import ClassNames
from detect.training import setup


def head_outputs(seed: int = 0) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.tensor([0, 1, 2, 0]), torch.tensor([2, 0, 0, 0])]
    targets = [torch.randn(4, 4, generator=generator) for _ in labels]
    return torch.randn(8, 3, generator=generator), torch.randn(8, 12, generator=generator), labels, targets


def losses(patch, outputs) -> tuple[Tensor, Tensor]:
    with patch(1):
        return roi_heads.fastrcnn_loss(*outputs)


def test_the_losses_of_all_rois_are_those_of_torchvision():
    outputs = head_outputs()
    torch.testing.assert_close(losses(ideas._head_loss(), outputs), roi_heads.fastrcnn_loss(*outputs))


def test_ohem_counts_the_rois_with_the_highest_loss():
    logits, offsets, labels, targets = head_outputs()
    each = torch.nn.functional.cross_entropy(logits, torch.cat(labels), reduction="none")
    classification, _ = losses(ideas._head_loss(hardest=0.5), (logits, offsets, labels, targets))
    assert classification == pytest.approx(each.sort(descending=True).values[:4].mean().item())


@pytest.mark.parametrize("box_loss", [generalized_box_iou_loss, complete_box_iou_loss])
def test_iou_losses_compare_boxes_in_pixels(monkeypatch, box_loss):
    logits, offsets, labels, targets = head_outputs()
    label, target = torch.cat(labels), torch.cat(targets)
    corners = torch.rand(8, 2, generator=torch.Generator().manual_seed(1)) * 100
    rois = torch.cat([corners, corners + torch.tensor([50.0, 20.0])], 1)
    sampled = [rois[:4], rois[4:]], None, labels, targets
    monkeypatch.setattr(RoIHeads, "select_training_samples", lambda *arguments: sampled)
    perfect = offsets.unflatten(1, (3, 4)).clone()
    perfect[torch.arange(8), label] = target
    with ideas._head_loss(lambda a, b: box_loss(a, b, reduction="sum"))(1):
        RoIHeads.select_training_samples(None, [], [])
        _, found = roi_heads.fastrcnn_loss(logits, offsets, labels, targets)
        _, without_error = roi_heads.fastrcnn_loss(logits, perfect.flatten(1), labels, targets)
    positive = label > 0
    own = offsets.unflatten(1, (3, 4))[positive, label[positive]]
    boxes = [ideas._BOX_CODER.decode_single(one, rois[positive]) for one in (own, target[positive])]
    torch.testing.assert_close(found, box_loss(*boxes, reduction="sum") / 8)
    assert without_error == pytest.approx(0, abs=1e-4) and found > 0.1


@pytest.mark.parametrize(
    ("idea", "changed"),
    [
        ("giou", {"loss_box_reg"}),
        ("ciou", {"loss_box_reg"}),
        ("ohem", {"loss_classifier", "loss_box_reg"}),
        ("focal_rpn", {"loss_objectness"}),
    ],
)
@pytest.mark.parametrize("on_cpu", [True, False])
def test_an_idea_changes_its_own_losses_only(idea, changed, on_cpu):
    model = random_model(TINY_ARCHITECTURE)
    if on_cpu:
        optimize_for_cpu(model)
    images = [torch.from_numpy(make_image((64, 96), 0)).permute(2, 0, 1) / 255]
    boxes = torch.tensor([[10.0, 10, 50, 40], [30, 20, 80, 60]])
    masks = torch.zeros(2, 64, 96, dtype=torch.uint8)
    masks[:, 20:40, 30:50] = 1
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks}]

    def all_losses() -> dict[str, float]:
        torch.manual_seed(0)
        return {name: value.item() for name, value in model.train()(images, targets).items()}

    before = all_losses()
    with ideas.IDEAS[idea].patch(1):
        assert {name for name, value in all_losses().items() if value != before[name]} == changed
    assert all_losses() == before


def test_the_focal_loss_of_the_anchors_is_divided_by_the_objects():
    logits, targets = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 1.0])
    with ideas.IDEAS["focal_rpn"].patch(1):
        found = cpu_rpn.F.binary_cross_entropy_with_logits(logits, targets)
        assert torch.equal(found, torchvision_rpn.F.binary_cross_entropy_with_logits(logits, targets))
    probability = torch.where(targets > 0, logits.sigmoid(), 1 - logits.sigmoid())
    factor = torch.where(targets > 0, 0.25, 0.75)
    expected = -(factor * (1 - probability) ** 2 * probability.log()).sum() / 2  # RetinaNet, equation 5
    torch.testing.assert_close(found, expected)


def test_a_shared_box_layer_gives_all_classes_the_same_boxes():
    with ideas.IDEAS["agnostic"].patch(1):
        model = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), 4)
    layer = model.roi_heads.box_predictor.bbox_pred
    offsets = layer(torch.randn(5, layer.in_features)).unflatten(1, (4, 4))
    assert layer.weight.shape == (16, layer.in_features)
    assert ideas._BOX_CODER.weights == model.roi_heads.box_coder.weights
    torch.nn.init.constant_(layer.weight, 1.0)
    torch.nn.init.zeros_(layer.bias)
    assert layer(torch.ones(1, layer.in_features))[0, 0] == 2 * layer.in_features  # 4 rows / the square root of 4
    assert all(torch.equal(offsets[:, 0], offsets[:, i]) for i in range(4))


def test_models_are_built_with_other_proposals_and_rois():
    architecture, built = backbone_architecture("mobilenet_v2", "fasterrcnn", 64), builder._build_on_backbone
    with ideas.IDEAS["proposals_2000"].patch(1):
        assert build(architecture, 2).rpn._post_nms_top_n["training"] == 2000
    with ideas.IDEAS["rois_128"].patch(1):
        assert build(architecture, 2).roi_heads.fg_bg_sampler.batch_size_per_image == 128
    assert builder._build_on_backbone is built


def test_validation_detects_in_mirror_images_too():
    model = random_model(TINY_ARCHITECTURE).eval()
    predictor = Predictor(TorchRuntime(model), ClassNames(("a", "b", "c")), threshold=0.3)
    images = [make_image((64, 96), seed) for seed in range(2)]
    alone, of_mirrored = (predictor.predict_batch(some) for some in (images, [one[:, ::-1].copy() for one in images]))
    with ideas.IDEAS["flip"].patch(1):
        merged = predictor.predict_batch(images)
    for one, other, both in zip(alone, of_mirrored, merged, strict=True):
        assert 0 < len(both) <= len(one) + len(other)
        assert both.scores[0] == max(one.scores[0], other.scores[0])
    mirrored = np.concatenate([96 - of_mirrored[0].boxes[:, [2]], 96 - of_mirrored[0].boxes[:, [0]]], axis=1)
    pairs = np.concatenate([alone[0].boxes[:, [0, 2]], mirrored])
    distances = np.abs(merged[0].boxes[:, None, [0, 2]] - pairs).max(axis=2).min(axis=1)
    assert distances.max() < 0.01  # each box is that of an image or of its mirror image


def test_boxes_and_masks_of_a_mirror_image_are_mirrored_back():
    def found(*boxes: list[float]) -> RawDetections:
        count = len(boxes)
        masks = torch.arange(4.0).view(1, 2, 2).repeat(count, 1, 1)
        return RawDetections(
            torch.zeros(count).long(),
            torch.tensor(boxes),
            0.9 - 0.1 * torch.arange(count),
            torch.ones(count).long(),
            masks,
        )

    images, limits = torch.zeros(1, 3, 60, 96), Limits(0.0, 10, nms_iou=0.5)
    merged = ideas._merge(found([0.0, 5, 10, 20]), found([86.0, 5, 96, 20], [0.0, 30, 40, 50]), images, limits)
    assert merged.boxes.tolist() == [[0, 5, 10, 20], [56, 30, 96, 50]]
    assert merged.masks is not None and merged.masks.tolist() == [[[0, 1], [2, 3]], [[1, 0], [3, 2]]]


def test_late_steps_count_most_in_the_mean_of_the_weights():
    weight, with_average = torch.nn.Linear(1, 1, bias=False), ideas.IDEAS["swa"]
    with with_average.patch(1):
        average = setup.build_ema(weight, with_average.settings["ema"])
    values = torch.arange(1000.0)
    for value in values:
        torch.nn.init.constant_(weight.weight, float(value))
        average.update_parameters(weight)
    expected = (values * (values + 1) ** 3).sum() / ((values + 1) ** 3).sum()
    assert average.module.weight.item() == pytest.approx(expected.item(), rel=0.005)


def test_training_images_are_small_in_the_first_two_thirds_of_the_epochs():
    def sizes(transform: TrainTransform, epoch: int) -> list[tuple[int, int]]:
        return [transform.size_hw((600, 800), np.random.default_rng(seed), epoch) for seed in range(20)]

    small, large = (TrainTransform(side, Augmentation("default")) for side in (ideas.SMALL, ideas.LARGE))
    expected = [sizes(small, 0), sizes(large, 0)]
    validation = TrainTransform(ideas.LARGE, Augmentation("none"))
    with ideas.IDEAS["late_large"].patch(6):
        found = [sizes(large, epoch) for epoch in range(6)]
        assert min(validation.size_hw((600, 800), np.random.default_rng(0), 0)) == ideas.LARGE
    assert found == [expected[0]] * 4 + [expected[1]] * 2


def test_the_table_has_differences_to_the_default_of_the_same_seed():
    records = {
        f"{data}_{idea}_{seed}": {"AP": 0.5 + 0.1 * seed + gain, "AP50": 0.8}
        for data in ideas.EPOCHS
        for idea, gain in ((ideas.BASE, 0.0), ("giou", 0.02))
        for seed in range(2)
    }
    base, giou = ideas.table(records).splitlines()[2:]
    assert base.startswith("| default recipe | 2 | 55.0 ± 5.0 | 80.0 ± 0.0 |")
    assert giou.startswith("| GIoU box loss | 2 | +2.0 ± 0.0 | +0.0 ± 0.0 |")


def test_finished_runs_are_not_trained_again(tmp_path):
    for data in ideas.EPOCHS:
        (tmp_path / f"{data}_{ideas.BASE}_0.json").write_text(json.dumps({"AP": 0.5, "AP50": 0.75, "machine": "M"}))
    text, _ = ideas.run(IdeasSettings(ideas=[], records=tmp_path))
    assert "Trained on M." in text and "| default recipe | 1 | 50.0 | 75.0 | 50.0 | 75.0 |" in text


def test_runs_of_another_machine_or_from_other_weights_are_not_mixed(tmp_path, monkeypatch):
    (tmp_path / "bccd_giou_0.json").write_text(json.dumps({"machine": "M", "pretrained": "a.pth"}))
    for machine, pretrained, difference in (("N", "a.pth", "M, not N"), ("M", "b.pth", "a.pth, not b.pth")):
        monkeypatch.setattr(ideas.report, "machine", lambda device, name=machine: name)
        with pytest.raises(UsageError, match=f"bccd_giou_0.json was measured with {difference}; give"):
            ideas.run(IdeasSettings(ideas=[], records=tmp_path, pretrained=pretrained))


def test_an_unknown_idea_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="giou"):
        ideas.run(IdeasSettings(ideas=["gio"], records=tmp_path))
