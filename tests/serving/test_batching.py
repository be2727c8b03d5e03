"""The queue in front of the models: bounded, fair, in batches of equal size, and nobody's image spoils another's."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from types import SimpleNamespace

import numpy as np
import pytest

from detect.serving.batching import Batcher, BusyError
from detect.structures.detections import Detections

SCORES = np.array([0.9, 0.5, 0.1], np.float32)


class FakePredictor:
    """Looks at nothing; waits until it may go on. An image whose first pixel is 13 breaks what it is in."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(transform=SimpleNamespace(resized_hw=lambda hw: hw))
        self.batches: list[list[tuple[int, ...]]] = []
        self.thresholds: list[float] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()

    def __call__(self, images, labels=None, threshold=None):
        self.batches.append([image.shape for image in images])
        self.thresholds.append(threshold)
        self.begun.release()
        assert self.go.wait(20)
        if any(image[0, 0, 0] == 13 for image in images):
            raise RuntimeError("thirteen")
        boxes = np.tile(np.array([0, 0, 2, 2], np.float32), (3, 1))
        every = [Detections(image.shape[:2], boxes, SCORES, np.ones(3, np.int64)) for image in images]
        return [found.filter(threshold) for found in every]


def make_image(height: int = 4, first: int = 0) -> np.ndarray:
    image = np.zeros((height, 6, 3), np.uint8)
    image[0, 0, 0] = first
    return image


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture
def batcher():
    batcher = Batcher(most_waiting=6, most_together=3)
    yield batcher
    batcher.close()


def held(batcher: Batcher, predictor: FakePredictor) -> None:
    """Have the thread busy with an image of its own until ``predictor.go`` is set."""
    predictor.go.clear()
    batcher.submit(predictor, [make_image(99)], 0.5, 60)
    assert predictor.begun.acquire(timeout=20)


def test_those_of_equal_size_share_a_batch_and_the_first_is_never_passed_by(batcher, predictor):
    held(batcher, predictor)
    answers = [batcher.submit(predictor, [make_image(h)], 0.5, 60)[0] for h in (4, 5, 4, 4, 4)]
    predictor.go.set()
    wait(answers, 20)
    assert [[shape[0] for shape in batch] for batch in predictor.batches] == [[99], [4, 4, 4], [5], [4]]
    assert [answer.result().image_hw for answer in answers] == [(4, 6), (5, 6), (4, 6), (4, 6), (4, 6)]


def test_models_do_not_share_a_batch(batcher, predictor):
    held(batcher, predictor)
    other = FakePredictor()
    answers = [batcher.submit(one, [make_image()], 0.5, 60)[0] for one in (predictor, other, predictor)]
    predictor.go.set()
    wait(answers, 20)
    assert len(predictor.batches) == 2 and len(other.batches) == 1


def test_each_gets_what_scores_as_much_as_it_asked_for(batcher, predictor):
    held(batcher, predictor)
    asked = [batcher.submit(predictor, [make_image()], threshold, 60)[0] for threshold in (0.6, 0.05, 0.5)]
    predictor.go.set()
    assert [len(answer.result(20)) for answer in asked] == [1, 3, 2]
    assert predictor.thresholds == [0.5, 0.05]


def test_what_finds_no_room_is_refused_whole_and_told_when_to_come_again(batcher, predictor):
    held(batcher, predictor)
    answers = batcher.submit(predictor, [make_image() for _ in range(5)], 0.5, 60)
    with pytest.raises(BusyError, match="try again in") as refused:
        batcher.submit(predictor, [make_image(), make_image()], 0.5, 60)
    assert refused.value.seconds >= 1 and len(batcher) == 5
    answers += batcher.submit(predictor, [make_image()], 0.5, 60)
    predictor.go.set()
    assert len([answer.result(20) for answer in answers]) == 6


def test_an_image_that_breaks_its_batch_breaks_nobody_elses(batcher, predictor):
    held(batcher, predictor)
    good, bad, other = (batcher.submit(predictor, [make_image(first=n)], 0.5, 60)[0] for n in (1, 13, 2))
    predictor.go.set()
    assert len(good.result(20)) == len(other.result(20)) == 2
    with pytest.raises(RuntimeError, match="thirteen"):
        bad.result(20)


def test_what_is_cancelled_or_too_late_is_not_looked_at(batcher, predictor):
    held(batcher, predictor)
    (late,), (gone,), (wanted,) = (
        batcher.submit(predictor, [make_image(n)], 0.5, t) for n, t in ((1, 0), (2, 60), (3, 60))
    )
    assert gone.cancel()
    predictor.go.set()
    assert wanted.result(20).image_hw == (3, 6)
    with pytest.raises(TimeoutError, match="waited too long"):
        late.result(20)
    assert [batch[0][0] for batch in predictor.batches] == [99, 3]


def test_what_waits_is_answered_before_it_closes_and_nothing_is_let_in(predictor):
    seen = []
    batcher = Batcher(9, 2, lambda count, seconds: seen.append(count))
    held(batcher, predictor)
    answers = batcher.submit(predictor, [make_image() for _ in range(3)], 0.5, 60)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher._stopping:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(predictor, [make_image()], 0.5, 60)
    predictor.go.set()
    closing.join(20)
    assert all(answer.done() for answer in answers) and not batcher.is_alive and seen == [1, 2, 1]


def test_calls_are_made_in_the_thread_in_which_the_models_look(predictor):
    """Where a model has to be loaded, too: torch's threads would else be as many again."""
    batcher, looked_in = Batcher(most_waiting=1, most_together=1), []

    def look(images, threshold):
        looked_in.append(threading.current_thread())
        return predictor(images, threshold=threshold)

    look.model = predictor.model
    (answer,) = batcher.submit(look, [make_image()], 0.2, 20)
    assert len(answer.result(20)) == 2
    assert [batcher.call(threading.current_thread)] == looked_in != [threading.current_thread()]
    with pytest.raises(ZeroDivisionError):
        batcher.call(lambda: 1 // 0)
    assert batcher.is_alive
    batcher.close()
    with pytest.raises(RuntimeError, match="closed"):
        batcher.call(threading.current_thread)
