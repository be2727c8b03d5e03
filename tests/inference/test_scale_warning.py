"""Images that are shrunk far more than those of the training give one warning per run, which suggests tiles."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.fake_predictor import FakePredictor

from detect.inference.annotate_images import annotate_images
from detect.inference.annotate_video import annotate_video
from detect.inference.image_counters import ShrinkCounter
from detect.media.images import write_image
from detect.media.video_reader import VideoReader


@pytest.mark.parametrize(
    ("image_hw", "imgsz", "training_shrink", "object_side", "warned"),
    [
        ((4000, 6000), 480, 1.0, None, True),
        ((4000, 6000), 480, 4.0, None, True),
        ((4000, 6000), 480, 4.2, None, False),
        ((4000, 6000), 480, 4.2, 60.0, False),
        ((4000, 6000), 480, 4.2, 20.0, True),  # small objects in training
        ((4000, 6000), 480, 8.3, 20.0, False),  # trained on images of that size
        ((4000, 6000), 2048, 1.0, None, False),
        ((960, 960), 480, 1.0, None, False),
        ((970, 970), 480, 1.0, None, True),
        ((970, 970), 480, 0.4, None, True),  # training images were enlarged
        ((500, 500), 480, 0.4, None, False),
        ((1920, 1920), 480, None, None, False),  # unknown
        ((1930, 1930), 480, None, None, True),
        ((400, 8000), 480, 1.0, None, True),  # its long side is limited
        ((200, 300), 480, 1.0, None, False),
    ],
)
def test_images_shrunk_more_than_twice_as_much_as_those_of_training_are_counted(
    image_hw, imgsz, training_shrink, object_side, warned, capsys
):
    predictor = FakePredictor()
    predictor.imgsz, predictor.training_shrink, predictor.training_object_side = imgsz, training_shrink, object_side
    with ShrinkCounter(predictor) as counter:
        for hw in (image_hw, (100, 100), image_hw[::-1]):
            counter.add(hw)
    printed = capsys.readouterr().err
    assert printed.count("\n") == warned
    if warned:
        assert "2 of 3 images" in printed and f"`imgsz={imgsz}`" in printed and "`tile=auto`" in printed


@pytest.mark.parametrize(("tile", "warned"), [("auto", False), (480, False), (900, False), (2000, True)])
def test_images_with_tiles_are_counted_if_the_tiles_are_shrunk_too_much(tile, warned, capsys):
    predictor = FakePredictor()
    predictor.tile = tile
    with ShrinkCounter(predictor) as counter:
        counter.add((4000, 6000))
    assert capsys.readouterr().err.count("`tile`") == warned


def test_image_and_video_runs_warn_once(images, clip, tmp_path, capsys):
    write_image(images / "d.png", np.zeros((400, 500, 3), np.uint8))
    predictor = FakePredictor()
    predictor.imgsz = 32
    list(annotate_images(predictor, sorted(images.iterdir()), tmp_path))
    assert capsys.readouterr().err.count("1 of 4 images") == 1
    predictor.imgsz = 8
    with VideoReader(clip) as video:
        annotate_video(predictor, video, tmp_path / "out.mp4")
    assert "10 of 10 frames" in capsys.readouterr().err
