"""TensorBoard shows the content of metrics.jsonl, each step once; failing to log does not stop a run."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detect.training.logging import tensorboard
from detect.training.logging.tensorboard import MAX_CLASSES, STEPS_PER_POINT, TensorBoardLogger


def reader(folder: Path, run: str) -> EventAccumulator:
    """Read one of the three TensorBoard runs."""
    events = EventAccumulator(str(folder / run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def points(folder: Path, run: str, tag: str) -> dict[int, float]:
    found = reader(folder, run).Scalars(tag)
    assert len({point.step for point in found}) == len(found), "duplicate step"
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


def log_epochs(logger: TensorBoardLogger, epochs: range, loss: float = 1.0, steps: int = 30) -> None:
    for epoch in epochs:
        for step in range(1, steps + 1):
            logger.log_step((epoch - 1) * steps + step, {"loss": loss}, 0.02)
        logger.log_epoch(row(epoch, loss))
        logger.log_images(epoch, {"1 kite.jpg": np.full((8, 12, 3), epoch, np.uint8)})


def test_train_and_val_losses_have_the_same_tags(tmp_path):
    TensorBoardLogger(tmp_path).log_epoch(
        row(1, 4.0, memory_bytes=2_500_000_000, val_losses={"loss_classifier": 3.0, "loss": 5.0})
    )
    assert points(tmp_path, "train", "loss/sum") == {1: 4.0} and points(tmp_path, "val", "loss/sum") == {1: 5.0}
    assert points(tmp_path, "train", "loss/mask") == {1: 2.0}
    assert points(tmp_path, "train", "epoch/learning_rate") == {1: 0.02}
    assert points(tmp_path, "train", "epoch/seconds") == {1: 5} and points(tmp_path, "train", "epoch/memory_GB") == {
        1: 2.5
    }
    assert points(tmp_path, "val", "bbox/AP") == {1: 0.1}
    assert points(tmp_path, "val", "bbox_AP_of/class 1") == {1: 0.1}


def test_undefined_metrics_have_no_point_and_many_classes_no_curves(tmp_path):
    TensorBoardLogger(tmp_path).log_epoch(row(1, classes=MAX_CLASSES + 1, memory_bytes=None))
    assert set(reader(tmp_path, "val").Tags()["scalars"]) == {"bbox/AP", "bbox/AP50", "bbox/AR100"}
    assert "epoch/memory_GB" not in reader(tmp_path, "train").Tags()["scalars"]


def test_a_point_is_the_mean_of_the_steps_since_the_last_point(tmp_path):
    logger, n = TensorBoardLogger(tmp_path), STEPS_PER_POINT
    for step in range(1, 2 * n + 1):
        logger.log_step(step, {"loss": float(step)}, 1 / step)
    assert points(tmp_path, "steps", "steps/loss") == {n: (n + 1) / 2, 2 * n: n + (n + 1) / 2}
    assert points(tmp_path, "steps", "steps/learning_rate") == {n: 1 / n, 2 * n: 1 / (2 * n)}


def test_a_resumed_run_shows_each_step_once_with_its_last_value(tmp_path):
    log_epochs(TensorBoardLogger(tmp_path), range(1, 4), loss=1.0)
    log_epochs(TensorBoardLogger(tmp_path, epoch=2, steps=60), range(3, 5), loss=2.0)  # epoch 3 was lost
    assert points(tmp_path, "train", "loss/sum") == {1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}
    assert points(tmp_path, "val", "bbox/AP") == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert points(tmp_path, "steps", "steps/loss") == {20: 1.0, 40: 1.0, 60: 1.0, 80: 2.0, 100: 2.0, 120: 2.0}
    assert [image.step for image in reader(tmp_path, "val").Images("images/1 kite.jpg")] == [1, 2, 3, 4]


def test_a_run_can_be_resumed_many_times(tmp_path):
    for epoch in range(12):
        log_epochs(
            TensorBoardLogger(tmp_path, epoch=epoch, steps=30 * epoch), range(epoch + 1, epoch + 3), loss=epoch + 1.0
        )
    assert points(tmp_path, "train", "loss/sum") == {**{i: float(i) for i in range(1, 13)}, 13: 12.0}


def test_an_incomplete_event_hides_no_later_ones(tmp_path):
    log_epochs(TensorBoardLogger(tmp_path), range(1, 4))
    for path in tmp_path.rglob("*tfevents*"):
        path.write_bytes(path.read_bytes()[:-7])
    log_epochs(TensorBoardLogger(tmp_path, epoch=2, steps=60), range(3, 4), loss=2.0)
    assert points(tmp_path, "train", "loss/sum") == {1: 1.0, 2: 1.0, 3: 2.0}
    assert points(tmp_path, "val", "bbox/AP") == {1: 0.1, 2: 0.2, 3: 0.3}


def test_images_are_small_and_keep_their_colors(tmp_path):
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 200:] = (250, 120, 10)
    TensorBoardLogger(tmp_path).log_images(1, {"1 kite.jpg": image})
    (event,) = reader(tmp_path, "val").Images("images/1 kite.jpg")
    assert (event.height, event.width) == (300, 400) and len(event.encoded_image_string) < 10_000
    seen = np.asarray(Image.open(io.BytesIO(event.encoded_image_string))).astype(int)
    assert abs(seen - image)[:, [0, 399]].max() < 8


def test_names_that_cannot_be_encoded_are_escaped(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    broken = row(1)
    broken["val"]["classes"] = {name: {"bbox": {"AP": 0.5}} for name in ("a/b", "собака", "\udcff", "line\nbreak")}
    logger.log_epoch(broken)
    logger.log_images(1, {"1 \udc80.jpg": np.zeros((8, 8, 3), np.uint8)})
    tags = {f"bbox_AP_of/{name}" for name in ("a/b", "собака", "\\udcff", "line\\nbreak")}
    assert tags <= set(reader(tmp_path, "val").Tags()["scalars"])
    assert reader(tmp_path, "val").Tags()["images"] == ["images/1 \\udc80.jpg"]


def test_no_folder_is_created_before_the_first_point(tmp_path):
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    for step in range(1, STEPS_PER_POINT):
        logger.log_step(step, {"loss": 1.0}, 0.1)
    assert not (tmp_path / "tensorboard").exists()


def test_a_full_disk_stops_logging_with_one_warning(tmp_path, monkeypatch, capfd):
    logger = TensorBoardLogger(tmp_path)
    log_epochs(logger, range(1, 2))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensorboard, "append_all_or_nothing", full)
        log_epochs(logger, range(2, 4))
    log_epochs(logger, range(4, 5))
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path / "steps") in error and "without TensorBoard" in error
    assert points(tmp_path, "train", "loss/sum") == {1: 1.0}


def test_a_file_in_place_of_the_folder_stops_logging_with_one_warning(tmp_path, capfd):
    (tmp_path / "tensorboard").write_text("mine")
    log_epochs(TensorBoardLogger(tmp_path / "tensorboard"), range(1, 3))
    assert capfd.readouterr().err.count("without TensorBoard") == 1
    assert (tmp_path / "tensorboard").read_text() == "mine"
