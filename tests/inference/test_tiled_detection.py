"""Detection in tiles: each object is found once, at its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model
from torch.overrides import TorchFunctionMode

import detect
from detect.errors import UsageError
from detect.inference.load import predictor_from_checkpoint
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.inference.tile_merging import merge
from detect.inference.tiling import Tile, Tiling
from detect.models.architecture import detector_architecture
from detect.models.builder import build
from detect.models.prediction.raw_detections import ONE_STAGE_LIMITS, Limits, RawDetections
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_size import InputSize

COLORS = ((255, 0, 0), (0, 255, 0))  # of the objects of each class, on black
HW = (600, 900)


class RectangleRuntime:
    """Detects rectangles of COLORS on black, the parts of them that are in the image. Masks are the left half of the
    box, keypoints its corners. A part of a rectangle at a border scores higher, 0.9, than a whole one.

    min_side: rectangles that are smaller in the resized image are not detected.
    whole_score: score of a whole rectangle.
    """

    name, precision, device = "rectangles", "fp32", torch.device("cpu")
    max_detections, nms_iou, proposals, has_masks, num_parameters = 100, 0.5, None, True, 0
    applied_limits = ONE_STAGE_LIMITS
    input_size = InputSize(200, 300)

    def __init__(self, min_side: int = 10, whole_score: float = 0.8) -> None:
        self.min_side, self.whole_score = min_side, whole_score
        self.batches: list[tuple[int, ...]] = []

    def why_fixed(self, limit: str) -> str:
        return f"this library has its own {limit}"

    def anchor_grid(self) -> None:
        return None

    def detect(self, images: torch.Tensor, limits: Limits) -> RawDetections:
        self.batches.append(tuple(images.shape))
        rows = []
        for number, image in enumerate(images):
            height, width = image.shape[1:]
            for label, color in enumerate(COLORS, start=1):
                channel = image[int(np.argmax(color))].numpy() > 0.5
                for x0, y0, x1, y1 in components(channel):
                    if min(x1 - x0, y1 - y0) >= self.min_side:
                        at_border = x0 == 0 or y0 == 0 or x1 == width or y1 == height
                        rows.append((number, 0.9 if at_border else self.whole_score, label, x0, y0, x1, y1))
        rows.sort(key=lambda row: (row[0], -row[1]))
        rows = [row for row in rows if row[1] >= limits.threshold]
        table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)
        boxes = table[:, 3:].contiguous()
        half = torch.zeros(len(rows), 28, 28)
        half[:, :, :14] = 1
        corners = torch.cat([boxes.reshape(-1, 2, 2), torch.ones(len(rows), 2, 1)], dim=2)
        return RawDetections(table[:, 0].long(), boxes, table[:, 1], table[:, 2].long(), half, corners)


def components(bitmap: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return the boxes of the connected parts, xyxy."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(bitmap.astype(np.uint8))
    return [(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, _ in stats[1:]]


def drawn(*boxes: tuple[int, int, int, int], label: int = 1, image: np.ndarray | None = None) -> np.ndarray:
    image = np.zeros((*HW, 3), np.uint8) if image is None else image
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = COLORS[label - 1]
    return image


def predictor_of(runtime: RectangleRuntime, **settings) -> Predictor:
    return Predictor(runtime, ClassNames(("red", "green")), threshold=0.5, **settings)


def assert_boxes(found: Detections, *boxes: tuple[int, int, int, int], px: float = 4.0) -> None:
    """Each of the boxes is found once, in any order, with coordinates that differ by at most ``px``."""
    expected = np.array(boxes, np.float32).reshape(-1, 4)
    assert len(found) == len(expected), found.boxes
    differences = np.abs(found.boxes[:, None] - expected[None]).max(axis=2)  # [found, expected]
    assert sorted(differences.argmin(axis=1)) == list(range(len(expected))), found.boxes
    assert differences.min(axis=1).max() <= px, found.boxes


# Objects


@pytest.mark.parametrize("tile", [100, 200, 300])
def test_small_objects_are_found_in_tiles_only(tile):
    boxes = [(x, y, x + 24, y + 20) for x in range(10, 860, 70) for y in range(15, 560, 90)]
    image = drawn(*boxes)
    assert len(predictor_of(RectangleRuntime())(image)) == 0
    assert_boxes(predictor_of(RectangleRuntime(), tile=tile)(image), *boxes)


def test_an_object_at_the_border_of_a_tile_is_returned_once_and_whole():
    """Wherever it is, also where parts of it are detected with a higher score in other tiles."""
    for x in range(60, 300, 17):
        box = (x, 190 + x // 3, x + 45, 240 + x // 3)
        assert_boxes(predictor_of(RectangleRuntime(), tile=200)(drawn(box)), box)


@pytest.mark.parametrize("whole_score", [0.8, 0.46, 0.3, 0.02])
def test_an_object_does_not_vanish_with_its_parts(whole_score):
    """Whether a threshold is applied before or after the merging, as for classes with thresholds, tracks and AP."""
    image, box = drawn((130, 190, 190, 240)), (130, 190, 190, 240)  # a tile begins at x = 140
    runtime = RectangleRuntime(whole_score=whole_score)
    thresholds = {"red": 0.5, "green": 0.01}
    predictor = Predictor(runtime, ClassNames(("red", "green")), class_thresholds=thresholds, tile=200)
    for found in (predictor(image), predictor(image, threshold=0.01).filter(thresholds)):
        assert len(found) > 0 and (found.scores >= 0.5).all()
        if whole_score > 0.45:  # else it is less credible than its part
            assert_boxes(found, box)
            assert found.scores[0] == pytest.approx(0.9)


def test_an_object_larger_than_a_tile_is_that_of_the_whole_image():
    box = (100, 80, 700, 500)
    assert_boxes(predictor_of(RectangleRuntime(), tile=150)(drawn(box)), box)


def test_a_part_stays_if_nothing_covers_it():
    """A part of an object counts more than nothing."""
    box = (30, 310, 150, 325)  # too thin in the whole image, and longer than the part that two tiles share
    found = predictor_of(RectangleRuntime(), tile=100)(drawn(box))
    assert len(found) > 0 and np.ptp(found.boxes[:, [0, 2]]) > 115


def test_a_part_that_spans_a_tile_is_dropped():
    """It has no end by which the model could recognize it. Only the whole image shows the object."""
    assert len(predictor_of(RectangleRuntime(), tile=150)(drawn((0, 300, 900, 315)))) == 0
    assert_boxes(predictor_of(RectangleRuntime(), tile=150)(drawn((0, 300, 900, 350))), (0, 300, 900, 350))


def test_objects_of_two_classes_at_one_place_stay_unless_there_is_one_label_per_object():
    image = drawn((300, 200, 340, 240))
    image[200:240, 300:340] = (255, 255, 0)  # red and green
    assert sorted(predictor_of(RectangleRuntime(), tile=200)(image).labels) == [1, 2]
    assert len(predictor_of(RectangleRuntime(), tile=200, one_label_per_object=True)(image)) == 1


def test_masks_and_keypoints_are_at_the_place_of_their_object():
    boxes = [(310, 220, 350, 252), (620, 410, 652, 450)]
    found = predictor_of(RectangleRuntime(), tile=200)(drawn(*boxes))
    assert_boxes(found, *boxes)
    for mask, box, points in zip(found.masks, found.boxes, found.keypoints, strict=True):
        x0, y0, x1, y1 = box
        assert tuple(mask["size"]) == HW
        np.testing.assert_allclose(masks.box(mask), [x0, y0, (x0 + x1) / 2, y1], atol=3)
        np.testing.assert_allclose(points[:, :2].reshape(4), box, atol=1e-3)


def test_the_limit_holds_for_each_tile():
    boxes = [(x, 20, x + 24, 40) for x in range(10, 860, 40)]
    runtime = RectangleRuntime()
    found = predictor_of(runtime, tile=200)(drawn(*boxes))
    assert len(found) == len(boxes) and not found.limit_reached
    runtime.max_detections = 4
    assert predictor_of(runtime, tile=200)(drawn(*boxes)).limit_reached


def test_tiles_of_several_images_share_forward_passes():
    runtime = RectangleRuntime()
    images = [drawn((10 + 50 * n, 20, 40 + 50 * n, 50)) for n in range(3)]
    found = predictor_of(runtime, tile=300).predict_batch(images)
    for number, one in enumerate(found):
        assert_boxes(one, (10 + 50 * number, 20, 40 + 50 * number, 50))
    tiles = 3 * len(Tiling(300, runtime.input_size, None).tiles(HW)[1:])
    assert sum(batch[0] for batch in runtime.batches) == 3 + tiles and len(runtime.batches) <= 2 + tiles / 3


# Equality with detection without tiles


def test_an_image_that_fits_one_tile_gives_the_same_detections():
    saved = as_checkpoint(random_model())
    image = make_image((90, 120), 0)
    plain, tiled, automatic = (
        predictor_from_checkpoint(saved, threshold=0, tile=tile)(image) for tile in (None, 120, "auto")
    )
    assert len(plain) > 0
    for other in (tiled, automatic):
        np.testing.assert_array_equal(other.boxes, plain.boxes)
        np.testing.assert_array_equal(other.scores, plain.scores)
        assert other.masks == plain.masks


def test_merging_the_detections_of_the_whole_image_alone_changes_nothing():
    saved = as_checkpoint(random_model())
    predictor = predictor_from_checkpoint(saved, threshold=0)
    tensor = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    found = predictor.runtime.detect(tensor, Limits(0.0, 50))
    assert len(found.scores) > 1
    merged = merge([found], [Tile(0, 0, 80, 64)], (64, 80), predictor.nms, False)
    for name in ("boxes", "scores", "rows", "masks"):
        assert torch.equal(getattr(merged, name), getattr(found, name))


def cut_boxes(count: int) -> tuple[list[RawDetections], list[Tile]]:
    """Return boxes in four tiles of an image of 1000 x 1000 pixels, half of which end at the border of their tile."""
    tiles = [Tile(x, y, x + 600, y + 600) for y in (0, 400) for x in (0, 400)]
    rng, found = np.random.default_rng(0), []
    for tile in tiles:
        corners = rng.uniform(20, 540, (count // 4, 2))
        corners[::2, 0] = 560 if tile.left == 0 else 0
        boxes = torch.from_numpy(np.hstack([corners, corners + 40]) + [tile.left, tile.top] * 2).float()
        label = torch.zeros(len(boxes), dtype=torch.long)
        found.append(RawDetections(label, boxes, torch.linspace(0.9, 0.5, len(boxes)), label + 1))
    return found, tiles


def test_memory_is_proportional_to_the_number_of_detections():
    class Largest(TorchFunctionMode):
        numel = 0

        def __torch_function__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor):
                self.numel = max(self.numel, result.numel())
            return result

    with Largest() as largest:
        assert 0 < len(merge(*cut_boxes(400), (1000, 1000), 0.5, False).scores) < 400
    assert largest.numel <= 4 * 400


# NMS


def overlapping(found: Detections, same_label: bool) -> float:
    """Return the highest IoU of two boxes."""
    from torchvision.ops import box_iou

    ious = box_iou(torch.from_numpy(found.boxes), torch.from_numpy(found.boxes)).numpy()
    np.fill_diagonal(ious, 0)
    return float(ious[found.labels[:, None] == found.labels].max()) if same_label else float(ious.max())


@pytest.mark.parametrize("kind", ["two-stage", "one-stage"])
@pytest.mark.parametrize("nms", [0.1, 0.3, 0.9])
def test_boxes_of_a_class_overlap_at_most_by_the_iou_of_nms(kind, nms):
    torch.manual_seed(0)
    model = random_model() if kind == "two-stage" else build(detector_architecture("ssdlite"), 1 + len(CLASSES))
    runtime, image = TorchRuntime(model), make_image((90, 120), 0)
    found = Predictor(runtime, CLASSES, threshold=0, nms=nms)(image)
    assert len(found) > 10 and overlapping(found, same_label=True) <= nms
    single = Predictor(runtime, CLASSES, threshold=0, nms=nms, one_label_per_object=True)(image)
    assert len(single) > 5 and overlapping(single, same_label=False) <= nms


@pytest.mark.parametrize("nms", [2, -0.1, "0.5", float("nan")])
def test_an_invalid_iou_is_a_mistake_of_the_user(nms):
    with pytest.raises(UsageError, match="nms"):
        predictor_of(RectangleRuntime(), nms=nms)
    with pytest.raises(UsageError, match="tile"):
        detect.load_model("balloon", tile=10)


def test_a_runtime_with_nms_inside_takes_no_other_nms():
    runtime = RectangleRuntime()
    runtime.applied_limits = frozenset()
    assert predictor_of(runtime, nms=0.5).nms == 0.5  # that of the model
    for settings in ({"nms": 0.4}, {"one_label_per_object": True}):
        with pytest.raises(UsageError, match=f"{next(iter(settings))}.*this library has its own"):
            predictor_of(runtime, **settings)
