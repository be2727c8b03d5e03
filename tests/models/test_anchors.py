"""Anchor sizes, and the fraction of objects that anchors reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE

from detect.models.anchors import AnchorGrid, anchor_recall, anchor_sizes
from detect.models.architecture import detector_architecture
from detect.models.builder import build
from detect.structures.image_record import ImageRecord


def test_anchor_sizes_scale_with_the_image_in_half_octaves():
    assert anchor_sizes(800) == ((32, 45), (64, 91), (128, 181), (256, 362), (512, 724))
    assert anchor_sizes(400)[0] == (16, 23)


def test_anchor_recall_is_the_fraction_of_overlapped_objects():
    model = build(TINY_ARCHITECTURE, 1 + len(CLASSES))

    def recall(boxes: np.ndarray, **options) -> float:
        return anchor_recall(
            AnchorGrid.of(model), [record_of(boxes.astype(np.float32), (64, 96))], imgsz=64, **options
        )

    generator = model.rpn.anchor_generator
    inside = np.array([anchor + np.array([32, 32] * 2) for anchor in generator.cell_anchors[2].numpy()])
    far_too_large = np.array([[0, 0, 64 * 40, 64 * 40]])
    assert recall(inside, iou=0.999) == 1.0
    assert recall(far_too_large) == 0.0
    assert recall(np.concatenate([inside, far_too_large])) == len(inside) / (len(inside) + 1)
    assert recall(np.zeros((0, 4))) == 1.0


def test_anchor_recall_uses_the_strides_of_the_model():
    """mobilenet has anchors of every size on each map, two of stride 32; RetinaNet starts at stride 8."""
    for name in ("mobilenet", "retinanet"):
        model = build(detector_architecture(name, 320), 2)
        generator = model.rpn.anchor_generator if name == "mobilenet" else model.anchor_generator
        stride, level = (32, 0) if name == "mobilenet" else (16, 1)
        boxes = generator.cell_anchors[level] + torch.tensor([5 * stride, 4 * stride] * 2)
        inside = boxes[(boxes >= 0).all(dim=1) & (boxes[:, 2] < 480) & (boxes[:, 3] < 320)].numpy()
        assert len(inside) >= 3
        grid = AnchorGrid.of(model)
        assert anchor_recall(grid, [record_of(inside, (320, 480))], imgsz=320, iou=0.99) == 1.0, name
        assert (
            anchor_recall(AnchorGrid.of(model), [record_of(inside + stride / 2, (320, 480))], imgsz=320, iou=0.99)
            == 0.0
        ), name
        assert model.training


def record_of(boxes: np.ndarray, image_hw: tuple[int, int]) -> ImageRecord:
    n = len(boxes)
    return ImageRecord(
        path=Path("x.jpg"),
        image_hw=image_hw,
        image_id=1,
        boxes=boxes,
        labels=np.ones(n, np.int64),
        areas=np.ones(n),
        iscrowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )
