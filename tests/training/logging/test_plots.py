"""The plots of a run are drawn for every possible metrics.jsonl, and mark the best epoch."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import ROOT
from matplotlib.axes import Axes
from PIL import Image

from detect.errors import DiskError
from detect.media import fonts
from detect.training.logging.plots import write_curves


def rows(scores: list[float | None], classes: tuple[str, ...] = ("kite",), val_losses: bool = True) -> list[dict]:
    made = []
    for epoch, score in enumerate(scores, 1):
        losses = {"loss_classifier": 1 / epoch, "loss_rpn_box_reg": 0.01 / epoch, "loss": 2 / epoch}
        bbox = {"AP": score, "AP50": score}
        val = {"bbox": bbox, "segm": bbox, "classes": {name: {"bbox": bbox, "segm": bbox} for name in classes}}
        row = {"epoch": epoch, "lr": 0.02, "seconds": 5.0, "losses": losses, "val": val}
        made.append(row | ({"val_losses": losses} if val_losses else {}))
    return made


def size(path: Path) -> tuple[int, int]:
    """Return (width, height) of a PNG, which must not be blank."""
    with Image.open(path) as image:
        assert image.format == "PNG" and np.asarray(image.convert("L")).std() > 5
        return image.size


@pytest.mark.parametrize(
    "made",
    [
        rows([0.1, 0.5, 0.4]),
        rows([0.3]),
        rows([0.2] * 300),
        rows([None, None]),
        rows([None, 0.2, None]),
        rows([0.1, 0.5], val_losses=False),
        rows([0.1, 0.5], val_losses=False) + rows([0.1, 0.5, 0.6])[2:],  # the program was updated in between
        [row | {"losses": {"loss": 0.0}} for row in rows([0.1, 0.2])],
    ],
)
def test_every_run_can_be_plotted(tmp_path, made):
    write_curves(made, tmp_path / "curves.png", "a run")
    width, height = size(tmp_path / "curves.png")
    assert 1200 <= width <= 1300 and 780 <= height <= 850
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_run_without_masks_can_be_plotted(tmp_path):
    made = rows([0.1, 0.5])
    for row in made:
        del row["val"]["segm"]
    write_curves(made, tmp_path / "curves.png", "boxes")
    size(tmp_path / "curves.png")


def test_few_classes_have_a_curve_each_whatever_their_names(tmp_path):
    names = ("_under", "$x_1$ & Co", "猫", "\udcff", "line\nbreak", "n" * 300)
    write_curves(rows([0.1, 0.5], names), tmp_path / "few.png", "_my $run_1$ \udcff")
    write_curves(rows([0.1, 0.5], tuple("abcdefghi")), tmp_path / "many.png", "many")
    assert size(tmp_path / "few.png")[1] > 1.4 * size(tmp_path / "many.png")[1]


@pytest.mark.parametrize("title", ["run", "ทดสอบ"])
def test_characters_without_a_glyph_give_one_warning_of_ours(tmp_path, monkeypatch, capsys, title):
    monkeypatch.setattr(fonts, "_warned", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            write_curves(rows([0.1, 0.2], ("狗", "кот", "कुत्ता")), tmp_path / "curves.png", title)
    printed = capsys.readouterr().err
    assert not caught and printed.count("\n") == 1
    assert "Han (Chinese, Japanese)" in printed and ("Thai" in printed) == (title != "run")


def test_without_epochs_nothing_is_plotted(tmp_path):
    write_curves([], tmp_path / "curves.png", "nothing")
    assert not (tmp_path / "curves.png").exists()


def test_a_missing_folder_is_a_disk_error(tmp_path):
    with pytest.raises(DiskError):
        write_curves(rows([0.1]), tmp_path / "missing" / "curves.png", "x")


@pytest.mark.parametrize(("best", "title"), [(2, "metrics on val (best loss: epoch 2)"), (0, "metrics on val")])
def test_the_best_epoch_is_marked(tmp_path, monkeypatch, best, title):
    lines, titles = [], []
    monkeypatch.setattr(Axes, "axvline", lambda _, at, **__: lines.append(at))
    set_title = Axes.set_title
    monkeypatch.setattr(Axes, "set_title", lambda *a, **more: (titles.append(a[1]), set_title(*a, **more)))
    write_curves(rows([0.5, 0.4, None]), tmp_path / "curves.png", "a run", best, "loss")
    assert title in titles and lines == [best] * bool(best)


def test_losses_of_very_different_size_get_a_logarithmic_axis(tmp_path, monkeypatch):
    scaled = []
    set_yscale = Axes.set_yscale
    monkeypatch.setattr(Axes, "set_yscale", lambda axis, scale: (scaled.append(axis), set_yscale(axis, scale)))
    write_curves(rows([0.1, 0.2]), tmp_path / "curves.png", "x")
    assert [(axis.get_title(), axis.get_yscale()) for axis in scaled] == [("loss terms (dashed: val)", "log")]


DRAW = """
import sys
import warnings
from pathlib import Path
from detect.training.logging.plots import write_curves
from test_plots import rows
write_curves(rows([0.1, 0.2]), Path(sys.argv[1]), "x")
"""


@pytest.mark.parametrize("home", ["new", "in the way/of it"])
def test_the_first_use_of_matplotlib_prints_nothing(tmp_path, home):
    (tmp_path / "in the way").touch()  # a home that cannot be written to
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path / home), "PYTHONPATH": path}
    command = [sys.executable, "-W", "error", "-c", DRAW, str(tmp_path / "curves.png")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert size(tmp_path / "curves.png")
