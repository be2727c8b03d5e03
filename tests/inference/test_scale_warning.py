"""Images that are shrunk far more than those of the training give one warning per run."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.fake_predictor import FakePredictor

from detect.inference.annotate import annotate_images, annotate_video
from detect.inference.image_counters import ShrinkCounter
from detect.media.images import write_image
from detect.media.video_reader import VideoReader


@pytest.mark.parametrize(
    ("image_hw", "imgsz", "training_shrink", "warned"),
    [
        ((4000, 6000), 480, 1.0, True),
        ((4000, 6000), 480, 2.0, True),
        ((4000, 6000), 480, 2.2, False),
        ((4000, 6000), 480, 8.3, False),  # trained on images of that size
        ((4000, 6000), 1024, 1.0, False),
        ((1920, 1920), 480, 1.0, False),
        ((1930, 1930), 480, 1.0, True),
        ((1930, 1930), 480, 0.4, True),  # training images were enlarged
        ((1000, 1000), 480, 0.4, False),
        ((400, 8000), 480, 1.0, True),  # its long side is limited
        ((200, 300), 480, 1.0, False),
    ],
)
def test_images_shrunk_more_than_four_times_those_of_training_are_counted(
    image_hw, imgsz, training_shrink, warned, capsys
):
    predictor = FakePredictor()
    predictor.imgsz, predictor.training_shrink = imgsz, training_shrink
    with ShrinkCounter(predictor) as counter:
        for hw in (image_hw, (100, 100), image_hw[::-1]):
            counter.add(hw)
    printed = capsys.readouterr().err
    assert printed.count("\n") == warned
    if warned:
        assert "2 of 3 images" in printed and f"`imgsz={imgsz}`" in printed


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
