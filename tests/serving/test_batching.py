"""The queue of images is bounded and fair, and batches have images of equal size that do not affect each other."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import numpy as np
import pytest
from helpers.api_server import wait_until
from helpers.slow_predictor import SlowPredictor

from detect.serving.batching import Batcher
from detect.serving.errors import ServerBusyError


def make_image(height: int = 4, first: int = 0) -> np.ndarray:
    image = np.zeros((height, 6, 3), np.uint8)
    image[0, 0, 0] = first
    return image


@pytest.fixture
def predictor() -> SlowPredictor:
    return SlowPredictor()


@pytest.fixture
def batcher():
    batcher = Batcher(max_queued=6, max_batch_size=3)
    yield batcher
    batcher.close()


def block(batcher: Batcher, predictor: SlowPredictor) -> None:
    """Keep the thread busy with an image of height 99 until ``predictor.go`` is set."""
    predictor.go.clear()
    batcher.submit(predictor, [make_image(99)], 0.5, 60)
    assert predictor.started.acquire(timeout=300)


def test_images_of_equal_size_share_a_batch_and_the_oldest_image_comes_first(batcher, predictor):
    block(batcher, predictor)
    results = [batcher.submit(predictor, [make_image(h)], 0.5, 60)[0] for h in (4, 5, 4, 4, 4)]
    predictor.go.set()
    wait(results, 300)
    assert [[height for height, _ in batch] for batch in predictor.batches] == [[99], [4, 4, 4], [5], [4]]
    assert [result.result().image_hw for result in results] == [(4, 6), (5, 6), (4, 6), (4, 6), (4, 6)]


def test_different_models_do_not_share_a_batch(batcher, predictor):
    block(batcher, predictor)
    other = SlowPredictor()
    results = [batcher.submit(one, [make_image()], 0.5, 60)[0] for one in (predictor, other, predictor)]
    predictor.go.set()
    wait(results, 300)
    assert len(predictor.batches) == 2 and len(other.batches) == 1


def test_each_image_of_a_batch_has_its_own_threshold(batcher, predictor):
    block(batcher, predictor)
    results = [batcher.submit(predictor, [make_image()], threshold, 60)[0] for threshold in (0.6, 0.05, 0.5)]
    predictor.go.set()
    assert [len(result.result(300)) for result in results] == [1, 3, 2]
    assert predictor.thresholds == [0.5, 0.05]


def test_images_without_a_threshold_have_those_of_the_model(batcher, predictor):
    block(batcher, predictor)
    predictor.class_thresholds = {"kite": 0.9, "balloon": 0.1, "bird": 0.1}  # all detections are kites
    predictor.threshold = 0.1
    requests = [(None, None), (0.5, None), (None, [2])]
    results = [batcher.submit(predictor, [make_image()], threshold, 60, labels)[0] for threshold, labels in requests]
    predictor.go.set()
    assert [len(result.result(300)) for result in results] == [1, 2, 0]
    assert predictor.thresholds == [0.5, 0.1]


def test_images_that_do_not_all_fit_into_the_queue_are_refused(batcher, predictor):
    block(batcher, predictor)
    results = batcher.submit(predictor, [make_image() for _ in range(5)], 0.5, 60)
    with pytest.raises(ServerBusyError, match=r"try again in \d+ s"):
        batcher.submit(predictor, [make_image(), make_image()], 0.5, 60)
    assert len(batcher) == 5
    results += batcher.submit(predictor, [make_image()], 0.5, 60)
    predictor.go.set()
    assert len([result.result(300) for result in results]) == 6


def test_an_image_that_fails_does_not_fail_the_others_of_its_batch(batcher, predictor):
    block(batcher, predictor)
    good, bad, other = (batcher.submit(predictor, [make_image(first=n)], 0.5, 60)[0] for n in (1, 13, 2))
    predictor.go.set()
    assert len(good.result(300)) == len(other.result(300)) == 2
    with pytest.raises(RuntimeError, match="/secret/place"):
        bad.result(300)


def test_cancelled_and_expired_images_are_not_processed(batcher, predictor):
    block(batcher, predictor)
    (expired,), (cancelled,), (wanted,) = (
        batcher.submit(predictor, [make_image(n)], 0.5, t) for n, t in ((1, 0), (2, 60), (3, 60))
    )
    assert cancelled.cancel()
    predictor.go.set()
    assert wanted.result(300).image_hw == (3, 6)
    with pytest.raises(TimeoutError):
        expired.result(300)
    assert [batch[0][0] for batch in predictor.batches] == [99, 3]


def test_closing_processes_waiting_images_and_refuses_new_ones(predictor):
    sizes = []
    batcher = Batcher(9, 2, lambda size, seconds: sizes.append(size))
    block(batcher, predictor)
    results = batcher.submit(predictor, [make_image() for _ in range(3)], 0.5, 60)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    wait_until(lambda: batcher.is_closed)
    with pytest.raises(RuntimeError, match="shutting down"):
        batcher.submit(predictor, [make_image()], 0.5, 60)
    predictor.go.set()
    closing.join(300)
    assert all(result.done() for result in results) and sizes == [1, 2, 1]


def test_functions_run_in_the_thread_of_the_models(predictor):
    """A model is loaded there too, because each thread that uses torch has its own team of OpenMP threads."""
    batcher = Batcher(max_queued=1, max_batch_size=1)
    (result,) = batcher.submit(predictor, [make_image()], 0.2, 300)
    assert len(result.result(300)) == 2
    assert [batcher.run(threading.current_thread)] == predictor.threads != [threading.current_thread()]
    with pytest.raises(ZeroDivisionError):
        batcher.run(lambda: 1 // 0)
    assert not batcher.is_closed
    batcher.close()
    with pytest.raises(RuntimeError, match="shutting down"):
        batcher.run(threading.current_thread)
