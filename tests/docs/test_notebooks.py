"""The notebooks: without outputs in git, and run from their first to their last cell."""

from __future__ import annotations

import shutil
import socket

import nbformat
import pytest
from helpers.folders import ROOT
from nbclient import NotebookClient

BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def parameters(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ())]
    return cell


@pytest.mark.parametrize("path", BOOKS, ids=[path.stem for path in BOOKS])
def test_they_are_kept_without_outputs(path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    assert set(book.metadata) == {"kernelspec", "language_info"} and parameters(book)
    for cell in book.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert cell.execution_count is None and not cell.outputs


def run(name: str, **values: object) -> nbformat.NotebookNode:
    """The notebook after it was run, with other values for what it lets one choose."""
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    cell = parameters(book)
    known = [line.split(" = ")[0] for line in cell.source.splitlines()]
    assert set(values) <= set(known)
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items())
    NotebookClient(book, timeout=1500, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    return book


def outputs(book: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [one for cell in book.cells if cell.cell_type == "code" for one in cell.outputs]


def printed(book: nbformat.NotebookNode) -> str:
    return "".join(one.get("text", "") for one in outputs(book))


def images(book: nbformat.NotebookNode) -> int:
    """How many are shown."""
    return sum(any(kind.startswith("image/") for kind in one.get("data", {})) for one in outputs(book))


@pytest.mark.slow
def test_training(request):
    name = "test_notebook"
    request.addfinalizer(lambda: [shutil.rmtree(path) for path in (ROOT / "outputs").glob(f"*/{name}*")])
    book = run("train", DATA="shapes", PRETRAINED="balloon", EPOCHS=1, IMGSZ=128, NAME=name)
    said = printed(book)
    assert "epoch 1/1" in said and "AP50" in said and "false alarms" in said
    assert images(book) == 3


@pytest.mark.slow
def test_serving():
    with socket.create_server(("127.0.0.1", 0)) as line:
        port = line.getsockname()[1]
    book = run("serve", PORT=port)
    said = printed(book)
    assert f"balloon is served on http://127.0.0.1:{port}" in said and "the server has ended: 0" in said
    assert "balloon 0.9" in said and " masks" in said and images(book) == 2
