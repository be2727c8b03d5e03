"""Progress bars: none of any kind where they are hidden."""

from __future__ import annotations

import pytest

from detect import progress
from detect.data.sample import render_dataset
from detect.downloads import fetch


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
