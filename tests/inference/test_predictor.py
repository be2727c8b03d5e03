"""Image -> Detections: as torchvision's own, whatever the batch, the threshold or the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_models import CLASSES, LIGHT, as_checkpoint, assert_same, make_image, random_model
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detect.errors import CheckpointError, UsageError
from detect.inference.predictor import Predictor, from_checkpoint, load_predictor, paste
from detect.models import checkpoint
from detect.structures import masks

SIZES = [(90, 120), (64, 96), (45, 60), (90, 120), (120, 64), (40, 160), (90, 121), (64, 96)]


@pytest.fixture(scope="module")
def saved():
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def images():
    return [make_image(hw, seed) for seed, hw in enumerate(SIZES)]


@pytest.fixture
def predictor(saved):
    return from_checkpoint(saved, threshold=0)


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


def test_images_do_not_influence_each_other(predictor, images):
    together = [*predictor(images[:4]), *predictor(images[4:])]
    for image, found in zip(images, together, strict=True):
        (alone,) = predictor([image])
        assert_same(found, alone, px=0.01, score=1e-4)
        assert found.image_hw == image.shape[:2]


def test_a_threshold_in_the_model_is_a_filter_afterwards(saved, predictor, images):
    every = predictor(images[:2])
    middle = float(every[0].scores[len(every[0]) // 2])  # a score equal to the threshold counts
    found = from_checkpoint(saved, threshold=middle)(images[:2])
    for some, all_ in zip(found, every, strict=True):
        kept = all_.filter(middle)
        assert 0 < len(kept) < len(all_)
        # 1e-6: the mask head sees another number of boxes
        assert_same(some, kept, px=1e-4, score=1e-6, least=1)
        assert some.masks == kept.masks


def test_the_model_sees_red_green_blue_from_0_to_1(predictor, images, monkeypatch):
    seen = []
    model = predictor.model
    monkeypatch.setattr(type(model), "forward", lambda self, given: seen.extend(given) or [nothing()] * len(given))
    predictor(images[:1])
    size = model.transform.resized_hw(images[0].shape[:2])
    for channel in range(3):
        expected = torch.from_numpy(images[0][None, None, :, :, channel]) / 255
        expected = F.interpolate(expected, size, mode="bilinear", align_corners=False)[0, 0]
        assert (model.transform.resized(seen[0])[channel] - expected).abs().max() < 1e-6


def test_of_large_images_only_what_the_model_looks_at_is_float(predictor, monkeypatch):
    """Several of which would else be in memory four times as large each."""
    seen, normalize = [], GeneralizedRCNNTransform.normalize

    def spy(self, image):
        seen.append((image.dtype, tuple(image.shape[-2:])))
        return normalize(self, image)

    monkeypatch.setattr(GeneralizedRCNNTransform, "normalize", spy)
    predictor([np.zeros((400, 600, 3), np.uint8)] * 2)
    assert seen == [(torch.float32, predictor.model.transform.resized_hw((400, 600)))] * 2 != [(400, 600)] * 2


def nothing() -> dict[str, torch.Tensor]:
    return {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}


def test_labels_choose_classes(predictor, images):
    (every,) = predictor(images[:1])
    (birds,) = predictor(images[:1], labels=[3])
    assert 0 < len(birds) == (every.labels == 3).sum() < len(every)
    assert predictor([]) == []


@pytest.mark.parametrize("training", [True, False])
def test_looking_leaves_the_model_as_it_was(predictor, images, training):
    predictor.model.train(training)
    predictor.model.roi_heads.score_thresh = 0.37
    before = {k: t.clone() for k, t in predictor.model.state_dict().items()}
    predictor(images[:1])
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


@pytest.mark.parametrize("change", [{"fpn": 64}, {"model": "resnet18"}, {"color": "red"}])
def test_a_description_that_does_not_fit_its_weights_is_refused(saved, change):
    saved = checkpoint.Checkpoint(**{**saved.__dict__, "architecture": saved.architecture | change})
    with pytest.raises(CheckpointError, match=r"a\.safetensors does not describe its weights: [^\n]*$"):
        from_checkpoint(saved, source="a.safetensors")


def test_rows_that_belong_to_no_class_are_left_out(saved, predictor, images):
    """A head of 4 rows for 2 classes, as COCO's has 91 for 80."""
    some = Predictor(predictor.model, checkpoint.ClassNames(("kite", "bird")), class_rows=(1, 3), threshold=0)
    (every,), (found,) = predictor(images[:1]), some(images[:1])
    kept = every.filter(labels=[1, 3])
    assert len(found) == len(kept) < len(every)
    assert found.labels.tolist() == [{1: 1, 3: 2}[label] for label in kept.labels.tolist()]
