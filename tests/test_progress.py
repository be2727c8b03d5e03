"""Progress bars and messages."""

from __future__ import annotations

import pytest

from detect import progress
from detect.data.synthetic.datasets import render_dataset
from detect.io.downloads import fetch


@pytest.fixture(params=[False, True])
def hidden(request):
    progress.hide_bars(request.param)
    yield request.param
    progress.hide_bars(False)


def work(server, folder) -> None:
    """Do three kinds of work that show a bar."""
    list(progress.bar(range(3), desc="counting"))
    fetch(server.url("model.bin"), folder)
    render_dataset("shapes", folder / "shapes", 0)


def test_bars_are_shown_unless_they_are_hidden(server, tmp_path, capsys, hidden):
    work(server, tmp_path)
    output = capsys.readouterr().err
    if hidden:
        assert output == ""
    else:
        assert "counting" in output and "model.bin" in output and "rendering shapes" in output


def test_training_bar_shows_its_own_text_within_the_width(capsys):
    bar = progress.bar(
        range(2), desc="epoch 3/60", bar_format=progress.TRAINING, mininterval=0, dynamic_ncols=False, ncols=60
    )
    for _ in bar:
        bar.set_postfix_str("loss 1.234, 57 min left, 2.1 GB, lr 1.0e-02, mask 0.4")
    lines = capsys.readouterr().err.split("\r")
    assert any(line.startswith("epoch 3/60  50%|") and "| 1/2, loss 1.234, 57 min left" in line for line in lines)
    assert max(map(len, lines)) <= 60


def test_messages_are_spelled_as_the_program_asks(capsys):
    progress.spell_settings_with(lambda text: text.replace("`imgsz`", "--imgsz"))
    progress.report("`imgsz` is 480")
    progress.warn("`imgsz` is small")
    assert capsys.readouterr() == ("--imgsz is 480\n", "warning: --imgsz is small\n")


@pytest.mark.parametrize(("total", "is_shown"), [(3, False), (4, True), (None, True)])
def test_bar_is_shown_from_a_minimum_number_of_items(capsys, total, is_shown):
    with progress.bar(total=total, min_items=4, mininterval=0, desc="work") as bar:
        bar.update()
    assert ("work" in capsys.readouterr().err) is is_shown
    with progress.bar(total=3, min_items=4, disable=True) as bar:
        assert bar.disable
