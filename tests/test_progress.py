"""Progress bars: none of any kind where they are hidden."""

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
    """What is done below every script, and shows bars."""
    list(progress.bar(range(3), desc="counting"))
    fetch(server.url("model.bin"), folder)
    render_dataset("shapes", folder / "shapes", 0)


def test_bars_are_shown_unless_hidden(server, tmp_path, capsys, hidden):
    work(server, tmp_path)
    said = capsys.readouterr().err
    if hidden:
        assert said == ""
    else:
        assert "counting" in said and "model.bin" in said and "rendering shapes" in said


def test_the_bar_of_training_says_more_than_tqdm(capsys):
    bar = progress.bar(
        range(2), desc="epoch 3/60", bar_format=progress.TRAINING, mininterval=0, dynamic_ncols=False, ncols=60
    )
    for _ in bar:
        bar.set_postfix_str("loss 1.234, 57 min left, 2.1 GB, lr 1.0e-02, mask 0.4")
    lines = capsys.readouterr().err.split("\r")
    assert any(line.startswith("epoch 3/60  50%|") and "| 1/2, loss 1.234, 57 min left" in line for line in lines)
    assert max(map(len, lines)) <= 60
