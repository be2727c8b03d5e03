"""Image -> Detections: as torchvision's own, whatever the batch, the threshold or the size."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torchvision
from tiny import CLASSES, LIGHT, as_checkpoint, assert_same, picture, random_model, train_a_step
from torchvision.models.detection.roi_heads import paste_masks_in_image

from detect import checkpoint, masks
from detect.errors import CheckpointError, UsageError
from detect.models import pretrained
from detect.models.zoo import DETECTORS
from detect.predictor import Predictor, from_checkpoint, load_predictor, paste

SIZES = [(90, 120), (64, 96), (45, 60), (90, 120), (120, 64), (40, 160), (90, 121), (64, 96)]


@pytest.fixture(scope="module")
def saved():
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def pictures():
    return [picture(hw, seed) for seed, hw in enumerate(SIZES)]


@pytest.fixture
def predictor(saved):
    return from_checkpoint(saved, threshold=0)


# Published COCO weights, with random numbers in the place of the published


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As torchvision's v1 files are: names from before 0.13, no counters of batches."""
    renamed = {}
    for key, tensor in state.items():
        key = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", key)
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        if not key.endswith("num_batches_tracked"):
            renamed[key] = tensor
    return renamed


@pytest.mark.parametrize("name", [n if n == "v1" else pytest.param(n, marks=pytest.mark.slow) for n in DETECTORS])
def test_a_coco_model_finds_what_torchvisions_own_finds(name, monkeypatch, tmp_path):
    torch.manual_seed(0)
    builder = getattr(torchvision.models.detection, DETECTORS[name].builder)
    network = builder(weights=None, weights_backbone=None, num_classes=91, min_size=64, max_size=106)
    train_a_step(network)
    scores = network.roi_heads.box_predictor.cls_score
    scores.weight.data *= 8  # spread them
    network.roi_heads.score_thresh = 0.0
    likely = network.eval()([torch.rand(3, 90, 120)])[0]["labels"].mode().values
    scores.weight.data[12] = scores.weight.data[likely]  # so that a row of no class ("N/A") is found too
    state = network.state_dict() if name.endswith("v2") else old_names(network.state_dict())
    torch.save(state, tmp_path / "coco.pth")
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: dict(state))
    theirs = builder(weights="COCO_V1", min_size=64, max_size=106, box_score_thresh=0.01).eval()

    monkeypatch.setattr(pretrained, "fetch", lambda *_, **__: tmp_path / "coco.pth")
    ours = load_predictor(name, device="cpu", imgsz=64, threshold=0.01)
    names = torchvision.models.get_weight(DETECTORS[name].weights).meta["categories"]
    dropped = 0
    for image in (picture((90, 120), 1), picture((50, 200), 2)):
        with torch.inference_mode():
            (expected,) = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255])
        rows = expected["labels"].tolist()
        keep = [i for i, row in enumerate(rows) if names[row] != "N/A"]
        dropped += len(rows) - len(keep)
        (found,) = ours([image])
        assert len(found) == len(keep) >= 20
        assert np.abs(found.boxes - expected["boxes"][keep].numpy()).max() <= 1e-3
        assert np.abs(found.scores - expected["scores"][keep].numpy()).max() <= 1e-5
        assert [ours.class_names.name(label) for label in found.labels] == [names[rows[i]] for i in keep]
        assert [ours.class_names.category_id(label) for label in found.labels] == [rows[i] for i in keep]
        if "masks" in expected:
            assert found.masks is not None
            bitmaps = np.stack([masks.to_bitmap(m) for m in found.masks])
            assert np.array_equal(bitmaps, (expected["masks"][keep, 0] > 0.5).numpy())
    assert dropped  # else the picture does not show that rows of no class are left out
    assert len(ours.class_names) == 80


def test_coco_models_look_at_pictures_in_torchvisions_size(monkeypatch, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), tmp_path / "coco.pth")
    monkeypatch.setattr(pretrained, "fetch", lambda *_, **__: tmp_path / "coco.pth")
    ours = load_predictor("v1", device="cpu").model.transform
    assert (tuple(ours.min_size), ours.max_size) == (tuple(network.transform.min_size), network.transform.max_size)
    assert (ours.image_mean, ours.image_std) == (network.transform.image_mean, network.transform.image_std)


# Masks


@pytest.mark.parametrize("seed", range(3))
def test_paste_is_torchvisions_paste_thresholded(seed):
    rng = np.random.default_rng(seed)
    height, width = 60, 83
    corners = rng.uniform((0, 0), (width, height), (30, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    boxes[:6] = [
        [0, 0, width, height], [0, 10, 20, height], [width - 9.5, 0, width, 8],
        [5.2, height - 3.1, 40, height], [0, 0, 0.4, 0.4], [width - 0.3, height - 0.3, width, height],
    ]  # fmt: skip
    boxes = torch.tensor(boxes, dtype=torch.float32)
    probabilities = torch.from_numpy(rng.random((len(boxes), 1, 28, 28), dtype=np.float32))
    expected = paste_masks_in_image(probabilities, boxes, (height, width)) > 0.5
    for one, box, bitmap in zip(probabilities, boxes, expected, strict=True):
        assert np.array_equal(masks.to_bitmap(paste(one[0], box, (height, width))), bitmap[0].numpy())


# Batches, sizes, thresholds


def test_pictures_do_not_influence_each_other(predictor, pictures):
    together = [*predictor(pictures[:4]), *predictor(pictures[4:])]
    for image, found in zip(pictures, together, strict=True):
        (alone,) = predictor([image])
        assert_same(found, alone, px=0.01, score=1e-4)
        assert found.image_hw == image.shape[:2]


def test_a_threshold_in_the_model_is_a_filter_afterwards(saved, predictor, pictures):
    every = predictor(pictures[:2])
    middle = float(every[0].scores[len(every[0]) // 2])  # a score equal to the threshold counts
    found = from_checkpoint(saved, threshold=middle)(pictures[:2])
    for some, all_ in zip(found, every, strict=True):
        kept = all_.filter(middle)
        assert 0 < len(kept) < len(all_)
        # 1e-6: the mask head sees another number of boxes
        assert_same(some, kept, px=1e-4, score=1e-6, least=1)
        assert some.masks == kept.masks


def test_the_model_sees_red_green_blue_from_0_to_1(predictor, pictures, monkeypatch):
    seen = []
    model = predictor.model
    monkeypatch.setattr(type(model), "forward", lambda self, images: seen.extend(images) or [nothing()] * len(images))
    predictor(pictures[:1])
    expected = pictures[0].astype(np.float32) / 255
    for channel in range(3):
        assert np.abs(seen[0][channel].numpy() - expected[:, :, channel]).max() < 1e-6


def nothing() -> dict[str, torch.Tensor]:
    return {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}


def test_labels_choose_classes(predictor, pictures):
    (every,) = predictor(pictures[:1])
    (birds,) = predictor(pictures[:1], labels=[3])
    assert 0 < len(birds) == (every.labels == 3).sum() < len(every)
    assert predictor([]) == []


@pytest.mark.parametrize("training", [True, False])
def test_looking_leaves_the_model_as_it_was(predictor, pictures, training):
    predictor.model.train(training)
    predictor.model.roi_heads.score_thresh = 0.37
    before = {k: t.clone() for k, t in predictor.model.state_dict().items()}
    predictor(pictures[:1])
    assert predictor.model.training == training and predictor.model.backbone.training == training
    assert predictor.model.roi_heads.score_thresh == 0.37
    assert all(torch.equal(t, before[k]) for k, t in predictor.model.state_dict().items())


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8)])
def test_other_arrays_than_rgb_bytes_are_refused(predictor, image):
    with pytest.raises(ValueError, match=r"image 0 is .* not uint8 RGB \[H, W, 3\]"):
        predictor([image])


# Loading


def test_a_checkpoint_brings_classes_size_and_threshold(saved, tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(saved, path)
    plain = load_predictor(str(path), device="cpu")
    assert plain.class_names == CLASSES and plain.threshold == saved.threshold
    assert plain.model.transform.min_size == (LIGHT.min_size,)
    other = load_predictor(str(path), device="cpu", imgsz=160, threshold=0.0)
    assert (other.threshold, other.model.transform.min_size, other.model.transform.max_size) == (0.0, (160,), 266)


def test_an_unknown_model_is_told_with_its_neighbours():
    with pytest.raises(UsageError, match=r"unknown model 'maskrcn': did you mean maskrcnn.*, or a checkpoint file"):
        load_predictor("maskrcn")
    with pytest.raises(CheckpointError, match=r"no such checkpoint: runs/none\.safetensors"):
        load_predictor("runs/none.safetensors")


@pytest.mark.parametrize("change", [{"fpn": 64}, {"model": "resnet18"}, {"colour": "red"}])
def test_a_description_that_does_not_fit_its_weights_is_refused(saved, change):
    saved = checkpoint.Checkpoint(**{**saved.__dict__, "architecture": saved.architecture | change})
    with pytest.raises(CheckpointError, match=r"a\.safetensors does not describe its weights: [^\n]*$"):
        from_checkpoint(saved, source="a.safetensors")


def test_rows_that_belong_to_no_class_are_left_out(saved, predictor, pictures):
    """A head of 4 rows for 2 classes, as COCO's has 91 for 80."""
    some = Predictor(predictor.model, checkpoint.ClassNames(("kite", "bird")), class_rows=(1, 3), threshold=0)
    (every,), (found,) = predictor(pictures[:1]), some(pictures[:1])
    kept = every.filter(labels=[1, 3])
    assert len(found) == len(kept) < len(every)
    assert found.labels.tolist() == [{1: 1, 3: 2}[label] for label in kept.labels.tolist()]
