"""Near-duplicates: copies are grouped, and different images are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.folders import SHARED

from detect.data.near_duplicates import group_near_duplicates, nearest, signatures
from detect.media.fingerprint import SIDE, fingerprint_image
from detect.media.images import read_image

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 30]
DATA = SHARED / "data"


def thumbnails(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def test_brighter_copies_are_grouped_and_other_images_are_not():
    images = thumbnails(5)
    brighter = np.clip(images[:2].astype(int) * 0.8 + 30, 0, 255).astype(np.uint8)
    groups, threshold = group_near_duplicates(signatures(np.concatenate([images, brighter])), max_fraction=0.5)
    assert threshold == 0.95
    assert groups[5] == groups[0] and groups[6] == groups[1] and len(set(groups.tolist())) == 5
    every = signatures(np.concatenate([images, brighter]))
    best, score = nearest(every)
    assert best[5:].tolist() == [0, 1] and score[5:].min() > 0.99 and best[0] == -1
    assert score[:5].max() < 0.5
    best, score = nearest(every[5:], every[:5])
    assert best.tolist() == [0, 1] and score.min() > 0.99
    assert nearest(every, every[:0])[0].tolist() == [-1] * 7


def test_images_of_one_color_are_not_near_duplicates():
    plain = np.full((3, 16, 16, 3), [[[[5]]], [[[5]]], [[[200]]]], np.uint8)
    assert len(set(group_near_duplicates(signatures(plain))[0].tolist())) == 3


def test_frames_of_a_fixed_camera_need_a_higher_similarity():
    """All frames are similar, so that only almost equal ones may be grouped."""
    rng = np.random.default_rng(1)
    still = rng.integers(0, 256, (16, 16, 3)).astype(float)
    frames = np.repeat(still[None], 20, axis=0)
    for i in range(20):
        frames[i, :4, :4] = rng.integers(0, 256, (4, 4, 3))
    frames[1] = frames[0] + 1
    groups, threshold = group_near_duplicates(signatures(frames.clip(0, 255).astype(np.uint8)))
    assert threshold > 0.95 and groups[0] == groups[1] and len(set(groups.tolist())) >= 15


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real datasets are not there")
def test_copies_of_real_photographs_are_found_and_other_photographs_are_not():
    """Two images of BCCD show the same cells and are near-duplicates."""
    patterns = ("bccd/BCCD/JPEGImages/*.jpg", "balloon/*/*.jpg", "coco_tiny80/*2017/*.jpg")
    paths = [path for pattern in patterns for path in sorted(DATA.glob(pattern))]
    noise = np.random.default_rng(0)
    copies: dict[str, list[np.ndarray]] = {"again": [], "half": [], "brighter": [], "noisy": []}
    for path in paths:
        pixels = read_image(path)
        again = cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], QUALITY)[1], cv2.IMREAD_COLOR)[..., ::-1]
        half = cv2.resize(pixels, None, fx=0.5, fy=0.5)
        noisy = pixels + noise.normal(0, 10, pixels.shape)
        for name, made in (("again", again), ("half", half), ("brighter", pixels * 1.2), ("noisy", noisy)):
            small = cv2.resize(np.clip(made, 0, 255).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            copies[name].append(small)
    sketches = signatures(np.stack([fingerprint_image(path).thumbnail for path in paths]))
    similarity = np.concatenate([(sketches * signatures(np.stack(made))).sum(axis=1) for made in copies.values()])
    assert len(paths) == 598 and similarity.min() >= 0.952 and (similarity < 0.98).sum() <= 5
    best, score = nearest(sketches)
    (same,) = np.flatnonzero(score > 0.835)
    assert {paths[same].stem, paths[best[same]].stem} == {"BloodImage_00037", "BloodImage_00038"}
