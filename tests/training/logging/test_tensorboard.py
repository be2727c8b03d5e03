"""TensorBoard shows what metrics.jsonl holds, each step once, and costs no run."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detect.training.logging import tensorboard
from detect.training.logging.tensorboard import EVERY, MOST_CLASSES, Board


def reader(folder: Path, line: str) -> EventAccumulator:
    """What TensorBoard reads of one of the three."""
    events = EventAccumulator(str(folder / line), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def points(folder: Path, line: str, tag: str) -> dict[int, float]:
    found = reader(folder, line).Scalars(tag)
    assert len({point.step for point in found}) == len(found), "a step twice"
    return {point.step: round(point.value, 4) for point in found}


def row(epoch: int, loss: float = 1.0, classes: int = 2, **more) -> dict:
    bbox = {"AP": epoch / 10, "AP50": 0.8, "AP75": None, "AR100": 0.6}
    of_class = {f"class {i}": {"bbox": bbox} for i in range(classes)}
    losses = {"loss_classifier": loss / 2, "loss_mask": loss / 2, "loss": loss}
    return {
        "epoch": epoch,
        "lr": 0.02,
        "seconds": 5,
        "losses": losses,
        "val": {"bbox": bbox, "classes": of_class},
    } | more


def train(shown: Board, epochs: range, loss: float = 1.0, steps: int = 30) -> None:
    for epoch in epochs:
        for step in range(1, steps + 1):
            shown.step((epoch - 1) * steps + step, {"loss": loss}, 0.02)
        shown.epoch(row(epoch, loss))
        shown.images(epoch, {"1 kite.jpg": np.full((8, 12, 3), epoch, np.uint8)})


def test_train_and_val_share_their_charts(tmp_path):
    Board(tmp_path).epoch(row(1, 4.0, memory=2_500_000_000, val_losses={"loss_classifier": 3.0, "loss": 5.0}))
    assert points(tmp_path, "train", "loss/sum") == {1: 4.0} and points(tmp_path, "val", "loss/sum") == {1: 5.0}
    assert points(tmp_path, "train", "loss/mask") == {1: 2.0}
    assert points(tmp_path, "train", "epoch/learning_rate") == {1: 0.02}
    assert points(tmp_path, "train", "epoch/seconds") == {1: 5} and points(tmp_path, "train", "epoch/memory_GB") == {
        1: 2.5
    }
    assert points(tmp_path, "val", "bbox/AP") == {1: 0.1}
    assert points(tmp_path, "val", "bbox_AP_of/class 1") == {1: 0.1}


def test_without_ground_truth_there_is_no_point_and_no_chart_for_many_classes(tmp_path):
    Board(tmp_path).epoch(row(1, classes=MOST_CLASSES + 1, memory=None))
    assert set(reader(tmp_path, "val").Tags()["scalars"]) == {"bbox/AP", "bbox/AP50", "bbox/AR100"}
    assert "epoch/memory_GB" not in reader(tmp_path, "train").Tags()["scalars"]


def test_a_point_of_steps_is_the_mean_of_those_since_the_last(tmp_path):
    shown = Board(tmp_path)
    for step in range(1, 2 * EVERY + 1):
        shown.step(step, {"loss": float(step)}, 1 / step)
    assert points(tmp_path, "steps", "steps/loss") == {EVERY: (EVERY + 1) / 2, 2 * EVERY: EVERY + (EVERY + 1) / 2}
    assert points(tmp_path, "steps", "steps/learning_rate") == {EVERY: 1 / EVERY, 2 * EVERY: 1 / (2 * EVERY)}


def test_a_run_that_goes_on_shows_each_step_once_and_as_it_was_trained_last(tmp_path):
    train(Board(tmp_path), range(1, 4), loss=1.0)
    train(Board(tmp_path, epoch=2, steps=60), range(3, 5), loss=2.0)  # epoch 3 was lost
    assert points(tmp_path, "train", "loss/sum") == {1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}
    assert points(tmp_path, "val", "bbox/AP") == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert points(tmp_path, "steps", "steps/loss") == {20: 1.0, 40: 1.0, 60: 1.0, 80: 2.0, 100: 2.0, 120: 2.0}
    assert [image.step for image in reader(tmp_path, "val").Images("images/1 kite.jpg")] == [1, 2, 3, 4]


def test_a_run_may_go_on_often(tmp_path):
    for epoch in range(12):
        train(Board(tmp_path, epoch=epoch, steps=30 * epoch), range(epoch + 1, epoch + 3), loss=epoch + 1.0)
    assert points(tmp_path, "train", "loss/sum") == {**{i: float(i) for i in range(1, 13)}, 13: 12.0}


def test_an_event_that_broke_off_hides_none_of_those_that_follow(tmp_path):
    train(Board(tmp_path), range(1, 4))
    for path in tmp_path.rglob("*tfevents*"):
        path.write_bytes(path.read_bytes()[:-7])
    train(Board(tmp_path, epoch=2, steps=60), range(3, 4), loss=2.0)
    assert points(tmp_path, "train", "loss/sum") == {1: 1.0, 2: 1.0, 3: 2.0}
    assert points(tmp_path, "val", "bbox/AP") == {1: 0.1, 2: 0.2, 3: 0.3}


def test_images_are_small_and_true_to_their_colors(tmp_path):
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:, 200:] = (250, 120, 10)
    Board(tmp_path).images(1, {"1 kite.jpg": picture})
    (image,) = reader(tmp_path, "val").Images("images/1 kite.jpg")
    assert (image.height, image.width) == (300, 400) and len(image.encoded_image_string) < 10_000
    seen = np.asarray(Image.open(io.BytesIO(image.encoded_image_string))).astype(int)
    assert abs(seen - picture)[:, [0, 399]].max() < 8


def test_names_that_are_no_text_are_shown_as_one_can(tmp_path):
    shown = Board(tmp_path)
    broken = row(1)
    broken["val"]["classes"] = {name: {"bbox": {"AP": 0.5}} for name in ("a/b", "собака", "\udcff", "line\nbreak")}
    shown.epoch(broken)
    shown.images(1, {"1 \udc80.jpg": np.zeros((8, 8, 3), np.uint8)})
    tags = {f"bbox_AP_of/{name}" for name in ("a/b", "собака", "\\udcff", "line\\nbreak")}
    assert tags <= set(reader(tmp_path, "val").Tags()["scalars"])
    assert reader(tmp_path, "val").Tags()["images"] == ["images/1 \\udc80.jpg"]


def test_nothing_is_made_before_there_is_something_to_show(tmp_path):
    shown = Board(tmp_path / "tensorboard")
    for step in range(1, EVERY):
        shown.step(step, {"loss": 1.0}, 0.1)
    assert not (tmp_path / "tensorboard").exists()


def test_a_full_disk_costs_the_board_once_and_not_the_run(tmp_path, monkeypatch, capfd):
    shown = Board(tmp_path)
    train(shown, range(1, 2))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensorboard, "append_all_or_nothing", full)
        train(shown, range(2, 4))
    train(shown, range(4, 5))
    line = (
        f"warning: cannot write {tmp_path / 'steps'}: No space left on device; training goes on without TensorBoard\n"
    )
    assert capfd.readouterr().err == line
    assert points(tmp_path, "train", "loss/sum") == {1: 1.0}


def test_a_file_in_the_way_costs_the_board_alone(tmp_path, capfd):
    (tmp_path / "tensorboard").write_text("mine")
    train(Board(tmp_path / "tensorboard"), range(1, 3))
    assert capfd.readouterr().err.count("training goes on without TensorBoard") == 1
    assert (tmp_path / "tensorboard").read_text() == "mine"
