"""The files of the tracks of a video."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from detect.errors import UsageError
from detect.inference.tracking.count_line import CountLine
from detect.inference.tracking.overlay import TrackOverlay
from detect.inference.tracking.track_table import TrackTable
from detect.inference.writers.base import Source
from detect.media.palette import color
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

HW = (100, 200)
NAMES = ClassNames(("balloon", 'кот, "x"'), (7, 9))
LINE = CountLine.parse("0,50,200,50")


def add(table: TrackTable | TrackOverlay, frame: int, tops: dict[int, float], hw=HW, detected=True) -> np.ndarray:
    """Add a frame with a box of 20 x 20 pixels, at x = 30 times its number, for each track id -> top."""
    boxes = np.float32([[30 * i, top, 30 * i + 20, top + 20] for i, top in tops.items()]).reshape(-1, 4)
    ids = np.array(list(tops), np.int64)
    scores = np.linspace(0.9, 0.8, len(ids), dtype=np.float32)
    found = Detections(hw, boxes, scores, 1 + ids % 2, track_ids=ids)
    canvas = np.zeros((*hw, 3), np.uint8)
    source = Source("clip", canvas, frame, frame / 10, detected)
    table.add(source, found) if isinstance(table, TrackTable) else table(canvas, source, found)
    return canvas


def saved(table: TrackTable, folder: Path) -> tuple[dict, list[dict[str, str]]]:
    table.save(folder, "clip")
    with (folder / "clip_tracks.csv").open(encoding="utf-8", newline="") as file:
        return json.loads((folder / "clip_tracks.json").read_text("utf-8")), list(csv.DictReader(file))


def test_each_track_has_a_row_with_its_first_and_last_frame(tmp_path):
    table = TrackTable(NAMES, None, HW)
    for frame, tops in enumerate([{1: 0}, {1: 10, 3: 5}, {3: 6}, {1: 20}]):
        add(table, frame, tops)
    document, rows = saved(table, tmp_path)
    first, second = document["tracks"]
    assert (first["track_id"], first["name"], first["category_id"]) == (1, 'кот, "x"', 9)
    assert (first["detections"], first["first_frame"], first["last_frame"]) == (3, 0, 3)
    assert (first["first_time"], first["last_time"]) == (0.0, 0.3)
    assert (first["first_box_xyxy"], first["last_box_xyxy"]) == ([30, 0, 50, 20], [30, 20, 50, 40])
    assert second["mean_score"] == pytest.approx(0.85) and second["max_score"] == pytest.approx(0.9)
    assert document["count_line"] is None and first["crossings"] == []
    for row, track in zip(rows, document["tracks"], strict=True):
        assert {name: str(track[name]) for name in row} == row
    assert len(table) == 2 and table.frames == 4


def test_crossings_are_counted_per_class_and_direction(tmp_path):
    table = TrackTable(NAMES, LINE, HW)
    for frame, top in enumerate((0, 20, 60, 70, 5)):
        add(table, frame, {1: top, 2: 80 - top, 3: 0, 4: top})
    down_and_up = {"down": 1, "up": 1}
    document, rows = saved(table, tmp_path)
    assert (
        table.counts
        == document["count_line"]["counts"]
        == {NAMES.names[1]: down_and_up, "balloon": {"down": 2, "up": 2}}
    )
    assert document["count_line"]["xyxy"] == [0, 50, 200, 50]
    assert document["tracks"][0]["crossings"] == [
        {"direction": "down", "frame": 2, "time": 0.2},
        {"direction": "up", "frame": 4, "time": 0.4},
    ]
    for direction in ("down", "up"):
        assert [int(row[direction]) for row in rows] == [1, 1, 0, 1]
    assert table.counts_in_words()[1] == "balloon: 2 down, 2 up"


def test_the_line_stays_at_its_place_when_the_size_of_the_frames_changes():
    table = TrackTable(NAMES, LINE, HW)
    add(table, 0, {2: 0})
    add(table, 1, {2: 30}, hw=(50, 100))  # in the lower half of a smaller frame
    assert table.counts["balloon"] == {"down": 1, "up": 0}


def test_a_line_outside_of_the_frames_is_refused():
    with pytest.raises(UsageError, match="200x100"):
        TrackTable(NAMES, CountLine.parse("0,300,200,300"), HW)


def test_trails_have_the_color_of_their_track_and_follow_its_way():
    overlay = TrackOverlay(TrackTable(NAMES, None, HW))
    for frame in range(8):
        canvas = add(overlay, frame, {2: 10 * frame})
    assert (canvas[20:80, 70] == color(1)).all() and not canvas[85:].any() and not canvas[:, 80:].any()
    canvas = add(overlay, 8, {2: 70}, detected=False)
    assert (canvas[20:80, 70] == color(1)).all(), "also where detections are repeated"
    for frame in range(9, 40):
        canvas = add(overlay, frame, {2: 70})
    assert not canvas[:70].any(), "a trail is two seconds long"


def test_repeated_detections_are_counted_once():
    table = TrackTable(NAMES, LINE, HW)
    overlay = TrackOverlay(table)
    for frame in range(6):
        add(overlay, frame, {2: 0 if frame < 3 else 80}, detected=frame % 3 == 0)
    assert table.frames == 2 and table.counts["balloon"] == {"down": 1, "up": 0}


def test_the_line_and_its_counts_are_drawn():
    overlay = TrackOverlay(TrackTable(NAMES, LINE, HW))
    before = add(overlay, 0, {2: 0})
    after = add(overlay, 1, {2: 75})
    assert (before[50, 100:190] > 200).all() and (after[50, 100:190] > 200).all()
    assert (before[:12] != after[:12]).any(), "the text changes"
