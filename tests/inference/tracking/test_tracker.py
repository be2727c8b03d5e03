"""The tracker: the same object keeps its number, another object never gets it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import detect
from detect.errors import UsageError
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

HW = (480, 640)
NAMES = ClassNames(("car", "bus", "van"))
SIZE = 40.0  # px of the objects
ROWS = (60.0, 180.0, 300.0, 420.0)  # y of objects that do not touch each other


def seen(
    centers: Sequence[tuple[float, float]], labels: Sequence[int] | None = None, scores: Sequence[float] | None = None
) -> Detections:
    """Return objects of SIZE at ``centers`` (x, y), which are sorted by score."""
    scores = np.float32(scores or np.linspace(0.95, 0.9, len(centers)))
    order = np.argsort(-scores, kind="stable")
    boxes = np.float32([(x - SIZE / 2, y - SIZE / 2, x + SIZE / 2, y + SIZE / 2) for x, y in centers]).reshape(-1, 4)
    labels = np.array(labels or [1] * len(centers), np.int64)
    return Detections(HW, boxes[order], scores[order], labels[order], class_names=NAMES)


def numbers(tracked: Detections, centers: Sequence[tuple[float, float]]) -> list[int | None]:
    """Return the track id of the object at each center, None without one."""
    found = (tracked.boxes[:, :2] + tracked.boxes[:, 2:]) / 2
    near = [np.flatnonzero(np.abs(found - center).max(axis=1) < 0.01) for center in centers]
    return [int(tracked.track_ids[i[0]]) if len(i) else None for i in near]


def on_lines(lines: Sequence[tuple[float, float]], frames: int) -> list[list[tuple[float, float]]]:
    """Return the centers, in each frame, of objects that move from left to right, from one row to another."""
    return [
        [(20 + 600 * frame / frames, start + (end - start) * frame / frames) for start, end in lines]
        for frame in range(frames)
    ]


@given(
    ends=st.permutations(ROWS), frames=st.integers(40, 120), labels=st.lists(st.integers(1, 3), min_size=4, max_size=4)
)
def test_objects_whose_straight_ways_cross_keep_their_numbers(ends, frames, labels):
    tracker = detect.Tracker()
    found = []
    for centers in on_lines(list(zip(ROWS, ends, strict=True)), frames):
        tracked = tracker.update(seen(centers, labels))
        if np.diff(sorted(y for _, y in centers)).min() > 1:  # objects at one place look the same
            found.append(numbers(tracked, centers))
    assert found == [[1, 2, 3, 4]] * len(found)
    assert len(found) > frames / 2


@given(
    velocity=st.tuples(st.floats(-6, 6), st.floats(-4, 4)),
    hidden_from=st.integers(8, 30),
    hidden_for=st.integers(1, 29),
    labels=st.lists(st.integers(1, 3), min_size=2, max_size=2),
)
def test_an_object_that_is_hidden_for_less_than_a_second_keeps_its_number(velocity, hidden_from, hidden_for, labels):
    tracker = detect.Tracker()
    for frame in range(80):
        moving = (320 + velocity[0] * frame, 240 + velocity[1] * frame)
        centers = [moving, (40.0, 40.0)]  # the second one stands still
        is_hidden = hidden_from <= frame < hidden_from + hidden_for
        tracked = tracker.update(seen(centers[is_hidden:], labels[is_hidden:]))
        assert numbers(tracked, centers) == [None if is_hidden else 1, 2]


@given(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=60), st.floats(0, 0.3))
def test_numbers_are_never_used_again(visible, max_lost):
    """Objects appear and disappear at four places at random; equal numbers are always at one place."""
    tracker = detect.Tracker(max_lost=max_lost)
    place_of: dict[int, int] = {}
    last_seen: dict[int, int] = {}
    for frame, places in enumerate(visible):
        centers = [(100.0, ROWS[place]) for place in sorted(places)]
        for place, number in zip(sorted(places), numbers(tracker.update(seen(centers)), centers), strict=True):
            if number is not None:
                assert place_of.setdefault(number, place) == place
                assert (frame - last_seen.get(number, frame) - 1) / 30 <= max_lost + 1e-6
                assert number <= len(place_of)
                last_seen[number] = frame


@pytest.mark.slow
@given(order=st.permutations([1, 2, 3]), seed=st.integers(0, 1000))
def test_numbers_do_not_depend_on_the_order_of_the_classes(order, seed):
    rng = np.random.default_rng(seed)
    trackers = detect.Tracker(), detect.Tracker()
    centers, velocities = rng.uniform(0, 400, (8, 2)), rng.normal(0, 5, (8, 2))
    labels = rng.integers(1, 4, 8)
    for _ in range(25):
        centers = centers + velocities + rng.normal(0, 1, (8, 2))
        kept = rng.random(8) < 0.9
        scores = np.round(rng.uniform(0.3, 1, 8), 4)
        one, other = (
            tracker.update(seen(centers[kept], names[kept].tolist(), scores[kept].tolist()))
            for tracker, names in zip(trackers, (labels, np.array([0, *order])[labels]), strict=True)
        )
        np.testing.assert_array_equal(one.track_ids, other.track_ids)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_low_scores_continue_a_track_and_never_start_one():
    tracker = detect.Tracker(0.5, low_threshold=0.3)
    here, there = (100.0, 100.0), (300.0, 300.0)
    assert numbers(tracker.update(seen([here])), [here]) == [1]
    for score in (0.35, 0.45, 0.3):
        tracked = tracker.update(seen([here, there], scores=[score, 0.49]))
        assert numbers(tracked, [here, there]) == [1, None]
    assert len(tracker.update(seen([here], scores=[0.29]))) == 0


def test_each_class_has_its_own_threshold():
    tracker = detect.Tracker({"car": 0.9, "bus": 0.4, "van": 0.5})
    centers = [(100.0, row) for row in ROWS[:2]]
    tracked = tracker.update(seen(centers, labels=[1, 2], scores=[0.85, 0.45]))
    assert numbers(tracked, centers) == [None, 1]
    with pytest.raises(UsageError, match="bus"):
        detect.Tracker({"car": 0.5}).update(seen(centers, labels=[1, 2]))


def test_a_single_false_positive_gets_no_number():
    tracker = detect.Tracker()
    object_, other = (100.0, 100.0), (400.0, 400.0)
    tracker.update(seen([object_]))
    assert numbers(tracker.update(seen([object_, other])), [object_, other]) == [1, None]
    assert len(tracker.update(seen([object_]))) == 1
    assert numbers(tracker.update(seen([object_, other])), [object_, other]) == [1, None]
    assert numbers(tracker.update(seen([object_, other])), [object_, other]) == [1, 2], "now in two frames"


def test_an_object_of_another_class_at_the_same_place_is_another_object():
    tracker = detect.Tracker()
    here = [(100.0, 100.0)]
    assert tracker.update(seen(here, [1])).track_ids.tolist() == [1]
    assert tracker.update(seen(here, [2])).track_ids.tolist() == []
    assert tracker.update(seen(here, [2])).track_ids.tolist() == [2]


@pytest.mark.parametrize("stride", [2, 3])
def test_with_times_of_the_frames_some_of_them_can_be_left_out(stride):
    tracker = detect.Tracker()
    for frame, centers in enumerate(on_lines([(60, 420), (420, 60)], 120)):
        if frame % stride == 0 and abs(frame - 60) > 2:
            assert numbers(tracker.update(seen(centers), frame / 30), centers) == [1, 2]


def test_objects_keep_their_numbers_when_the_size_of_the_frames_changes():
    tracker = detect.Tracker()
    for frame in range(40):
        found = seen([(100 + 5 * frame, 100), (400 - 5 * frame, 300)])
        if 15 <= frame < 30:
            found = Detections((240, 960), found.boxes * np.float32([1.5, 0.5] * 2), found.scores, found.labels)
        assert tracker.update(found).track_ids.tolist() == [1, 2]


def test_tracked_detections_keep_all_their_parts():
    found = seen([(100.0, row) for row in ROWS])
    rles = [masks.from_bitmap(np.eye(*HW, k=k, dtype=bool)) for k in range(4)]
    found = Detections(HW, found.boxes, found.scores, found.labels, rles, class_names=NAMES)
    tracker = detect.Tracker(0.92)  # two of them are too bad
    tracked = tracker.update(found)
    assert tracked.track_ids.tolist() == [1, 2] and tracked.masks == rles[:2] and tracked.names == ["car"] * 2
    assert len(tracker.update(Detections(HW))) == 0
    np.testing.assert_array_equal(tracker.update(found).track_ids, [1, 2])


def test_invalid_settings_and_times_are_refused():
    for wrong in ({"threshold": 1.5}, {"threshold": {"car": -1}}, {"low_threshold": 2}, {"max_lost": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            detect.Tracker(**wrong)
    with pytest.raises(TypeError, match="max_lost"):
        detect.Tracker(max_lots=1)
    tracker = detect.Tracker()
    tracker.update(seen([]), 1.0)
    with pytest.raises(UsageError, match=r"1\.0"):
        tracker.update(seen([]), 1.0)
