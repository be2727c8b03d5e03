"""A fake predictor that blocks until a test lets it continue."""

from __future__ import annotations

import threading

import numpy as np

from detect.structures.detections import Detections
from helpers.tiny_models import CLASSES

SCORES = np.array([0.9, 0.5, 0.1], np.float32)


class SlowPredictor:
    """Fake predictor that returns ``count`` detections per image, with scores from SCORES.

    started: released once when a batch starts.
    go: event that a batch waits for; it is set at first.
    batches: sizes (height, width) of the images of each batch.
    thresholds: threshold of each batch.
    threads: thread of each batch.

    An image whose first value is 13 raises RuntimeError, with a path in its message.
    """

    imgsz = 64
    has_masks = False
    tile = None
    class_names = CLASSES
    threshold = 0.5
    class_thresholds = dict.fromkeys(CLASSES.names, threshold)

    def __init__(self, count: int = 3) -> None:
        self.count = count
        self.started, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()
        self.batches: list[list[tuple[int, int]]] = []
        self.thresholds: list[float] = []
        self.threads: list[threading.Thread] = []

    @property
    def num_images(self) -> int:
        return sum(map(len, self.batches))

    def resized_hw(self, image_hw):
        return image_hw

    def predict_batch(self, images, labels=None, threshold=None):
        self.batches.append([image.shape[:2] for image in images])
        self.thresholds.append(threshold)
        self.threads.append(threading.current_thread())
        self.started.release()
        assert self.go.wait(300)
        if any(image[0, 0, 0] == 13 for image in images):
            raise RuntimeError("/secret/place failed")
        boxes = np.tile(np.array([0, 0, 2, 2], np.float32), (self.count, 1))
        scores, labels = SCORES[: self.count], np.ones(self.count, np.int64)
        every = [Detections(image.shape[:2], boxes, scores, labels, class_names=CLASSES) for image in images]
        return [found.filter(threshold) for found in every]
