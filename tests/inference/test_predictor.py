"""The predictor returns torchvision's own results for every batch, threshold, size and kind of input."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_models import CLASSES, as_checkpoint, assert_same_detections, make_image, random_model
from PIL import Image

from detect.errors import MediaError, UsageError
from detect.inference.load import predictor_from_checkpoint
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.media.images import write_image
from detect.models.architecture import backbone_architecture
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

BOXES_ONLY = backbone_architecture("mobilenet_v2", "fasterrcnn", 64)
SIZES = [(90, 120), (64, 96), (45, 60), (90, 120), (120, 64), (40, 160), (90, 121), (64, 96)]


@pytest.fixture(scope="module")
def saved():
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def images():
    return [make_image(hw, seed) for seed, hw in enumerate(SIZES)]


@pytest.fixture
def predictor(saved):
    return predictor_from_checkpoint(saved, threshold=0)


class RecordingRuntime(TorchRuntime):
    """Keeps the batches that it receives."""

    def __init__(self) -> None:
        super().__init__(random_model())
        self.given: list[torch.Tensor] = []

    def detect(self, images: torch.Tensor, limits: Limits) -> RawDetections:
        self.given.append(images)
        return super().detect(images, limits)


@pytest.fixture
def runtime():
    return RecordingRuntime()


def assert_equal(one: Detections, other: Detections) -> None:
    """Exactly the same detections."""
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.masks == other.masks


def state_of(model: torch.nn.Module) -> dict[str, object]:
    """Training flags, thresholds and tensors of every module."""
    flags = {name: (module.training, getattr(module, "score_thresh", None)) for name, module in model.named_modules()}
    return flags | {name: tensor.clone().numpy().tobytes() for name, tensor in model.state_dict().items()}


# Batches, sizes and thresholds


def test_images_of_one_batch_do_not_influence_each_other(predictor, images):
    together = [*predictor.predict_batch(images[:4]), *predictor.predict_batch(images[4:])]
    for image, found in zip(images, together, strict=True):
        assert_same_detections(found, predictor(image), px=0.01, score=1e-4)
        assert found.image_hw == image.shape[:2]


def test_only_images_of_equal_resized_size_share_a_batch_of_at_most_batch_size(runtime, images):
    predictor = Predictor(runtime, CLASSES)
    assert len(predictor([images[1], images[7], images[1], images[2]], batch_size=2)) == 4
    assert [len(batch) for batch in runtime.given] == [2, 1, 1]
    runtime.given.clear()
    predictor([images[1]] * 3)
    assert [len(batch) for batch in runtime.given] == [1, 1, 1]


def test_threshold_equals_filtering_afterwards(saved, predictor, images):
    every = predictor.predict_batch(images[:2])
    middle = float(every[0].scores[len(every[0]) // 2])  # a score equal to the threshold is kept
    of_model = predictor_from_checkpoint(saved, threshold=middle).predict_batch(images[:2])
    of_call = predictor.predict_batch(images[:2], threshold=middle)
    for some, same, all_ in zip(of_model, of_call, every, strict=True):
        kept = all_.filter(middle)
        assert 0 < len(kept) < len(all_)
        # 1e-6 because the mask head runs on another number of boxes
        assert_same_detections(some, kept, px=1e-4, score=1e-6, min_count=1)
        assert some.masks == kept.masks
        assert_equal(some, same)


def test_runtime_receives_resized_rgb_in_0_to_1(runtime, images):
    for image in images:
        size = runtime.input_size.resized_hw(image.shape[:2])
        Predictor(runtime, CLASSES)(image)
        ((given,),) = runtime.given[-1:]
        for channel in range(3):
            expected = torch.from_numpy(image[None, None, :, :, channel]) / 255
            expected = F.interpolate(expected, size, mode="bilinear", align_corners=False)[0, 0]
            assert (given[channel] - expected).abs().max() < 1e-4


def test_classes_are_selected_by_name_id_or_label(predictor, images):
    every = predictor(images[0])
    name = predictor.class_names.name(3)
    birds = predictor(images[0], classes=[name])
    assert 0 < len(birds) == (every.labels == 3).sum() < len(every)
    assert_equal(birds, predictor(images[0], classes=name))
    assert_equal(birds, predictor(images[0], classes=predictor.class_names.category_id(3)))
    assert_equal(birds, predictor.predict_batch(images[:1], labels=[3])[0])
    with pytest.raises(UsageError, match=name):
        predictor(images[0], classes=name + "x")


def test_detections_of_rows_without_a_class_are_dropped(predictor, images):
    """A head of 4 rows for 2 classes, as COCO's has 91 for 80."""
    some = Predictor(predictor.runtime, ClassNames(("kite", "bird")), class_rows=(1, 3), threshold=0)
    every, found = predictor(images[0]), some(images[0])
    kept = every.filter(labels=[1, 3])
    assert len(found) == len(kept) < len(every)
    assert found.labels.tolist() == [{1: 1, 3: 2}[label] for label in kept.labels.tolist()]


def test_size_and_kind_of_the_model_are_public(predictor):
    assert predictor.imgsz == predictor.runtime.model.transform.min_size[0] and predictor.has_masks
    assert predictor.resized_hw((100, 200)) == predictor.runtime.model.transform.resized_hw((100, 200))
    assert not predictor_from_checkpoint(as_checkpoint(random_model(BOXES_ONLY), BOXES_ONLY)).has_masks


# Kinds of input


@pytest.mark.slow
def test_every_kind_of_image_gives_the_same_detections(predictor, images, tmp_path, server):
    image = images[0]
    path = tmp_path / "a.png"
    write_image(path, image)
    server.body = path.read_bytes()
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    read_only = image.copy()
    read_only.flags.writeable = False
    inputs = [
        *(str(path), path, server.url("a.png"), Image.open(path), Image.fromarray(image)),
        *(image, read_only, np.asfortranarray(image), image[:, :, ::-1].copy()[:, :, ::-1]),
        *(tensor, tensor / 255, (tensor / 255).double()),
    ]
    expected = predictor(image)
    assert len(expected) and np.array_equal(expected.image, image) and expected.class_names == predictor.class_names
    for one in inputs:
        assert_equal(predictor(one), expected)
    for several in (inputs, tuple(inputs)):
        results = predictor(several)
        assert isinstance(results, list) and len(results) == len(inputs)
        for one in results:
            assert_equal(one, expected)
    assert predictor([]) == []


def test_orientation_of_a_pil_image_is_applied(predictor, images, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(images[0]).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        found = predictor(image)
    assert found.image_hw == images[0].shape[1::-1]
    assert_equal(found, predictor(tmp_path / "turned.png"))


@pytest.mark.parametrize("image", [None, 3, b"png", {"image": 1}, [[1, 2]], object()])
def test_unsupported_types_are_a_type_error_that_names_the_supported_ones(predictor, image):
    with pytest.raises(TypeError, match=r"path.*URL.*PIL image.*uint8 RGB array \[H, W, 3\].*tensor \[3, H, W\]"):
        predictor(image)


@pytest.mark.parametrize(
    ("image", "described"),
    [
        (np.zeros((9, 8), np.uint8), r"uint8 RGB \[H, W, 3\], not uint8 \[9, 8\]"),
        (np.zeros((9, 8, 3)), r"not float64 \[9, 8, 3\]"),
        (np.zeros((9, 8, 4), np.uint8), r"not uint8 \[9, 8, 4\]"),
        (np.zeros((0, 8, 3), np.uint8), r"not uint8 \[0, 8, 3\]"),
        (torch.zeros(9, 8, 3), r"RGB \[3, H, W\], not float32 \[9, 8, 3\]"),
        (torch.zeros(1, 3, 9, 8), r"not float32 \[1, 3, 9, 8\]"),
        (torch.zeros(3, 9, 8, dtype=torch.int64), r"not int64 \[3, 9, 8\]"),
        (torch.full((3, 9, 8), 2.0), r"0\.\.1, not in 2\.\.2"),
        (torch.full((3, 9, 8), torch.nan), r"0\.\.1"),
        (torch.zeros(3, 0, 8), r"not uint8 \[0, 8, 3\]"),
    ],
)
def test_arrays_and_tensors_of_the_wrong_kind_are_a_usage_error(predictor, image, described):
    with pytest.raises(UsageError, match=described):
        predictor(image)


def test_unreadable_files_and_bad_options_are_refused(predictor, images, tmp_path):
    with pytest.raises(MediaError, match=r"none\.jpg"):
        predictor(tmp_path / "none.jpg")
    for threshold in (-0.1, 1.1, float("nan"), "0.5"):
        with pytest.raises(UsageError, match=r"`threshold=.*0\.\.1"):
            predictor(images[0], threshold=threshold)
    for batch_size in (0, 1.5, "2", None):
        with pytest.raises(UsageError, match="batch_size"):
            predictor(images[0], batch_size=batch_size)


# State and threads


def test_concurrent_calls_with_different_thresholds_equal_serial_calls(predictor, images):
    scores = predictor(images[0]).scores
    thresholds = [float(scores[i]) for i in np.linspace(0, len(scores) - 1, 8).astype(int)]
    assert len(set(thresholds)) > 4
    serial = [predictor(images[0], threshold=threshold) for threshold in thresholds]
    barrier = threading.Barrier(8)

    def detect(threshold: float) -> list[Detections]:
        torch.set_num_threads(1)
        barrier.wait(60)
        return [predictor(images[0], threshold=threshold) for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        concurrent = list(pool.map(detect, thresholds))
    for expected, results in zip(serial, concurrent, strict=True):
        for found in results:
            assert_equal(found, expected)


def test_call_leaves_the_model_unchanged(predictor, images):
    predictor.runtime.model.roi_heads.score_thresh = 0.37
    before = state_of(predictor.runtime.model)
    predictor(images[0], threshold=0.2)
    assert state_of(predictor.runtime.model) == before
    assert predictor.runtime.model.roi_heads.score_thresh == 0.37


def test_failed_call_leaves_the_model_unchanged(predictor, images, monkeypatch):
    before = state_of(predictor.runtime.model)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(predictor.runtime.model.backbone, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        predictor(images[0], threshold=0.2)
    assert state_of(predictor.runtime.model) == before


def test_model_in_training_mode_is_refused(predictor, images):
    predictor.runtime.model.train()
    with pytest.raises(RuntimeError, match="training mode"):
        predictor(images[0])
    predictor.runtime.model.eval()
