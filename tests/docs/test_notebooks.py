"""The notebooks are stored without outputs, and run from the first cell to the last."""

from __future__ import annotations

import shutil
import socket

import nbformat
import pytest
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def no_matplotlib_backend(monkeypatch):
    """Let a notebook choose its own backend. Streamlit, which other tests import, sets one for all child processes."""
    monkeypatch.delenv("MPLBACKEND", raising=False)


def parameter_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    return cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebooks_are_stored_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and parameter_cell(notebook)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert cell.execution_count is None and not cell.outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebooks_use_the_python_api_and_no_scripts(path):
    source = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    assert "detect." in source and "subprocess" not in source
    assert [line.strip().split()[:2] for line in source.splitlines() if line.strip().startswith(("!", "%"))] == [
        ["%pip", "install"]
    ]


def run(name: str, **values: object) -> nbformat.NotebookNode:
    """Return the notebook after running it with other values of its parameters."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    cell = parameter_cell(notebook)
    known = [line.split(" = ")[0] for line in cell.source.splitlines()]
    assert set(values) <= set(known)
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items())
    # An hour per cell ends a cell that hangs; no busy machine needs that long.
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    NotebookClient(notebook, timeout=3600, startup_timeout=600, resources=resources).execute()
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(one.get("text", "") for one in outputs(notebook))


def num_images(notebook: nbformat.NotebookNode) -> int:
    """Return the number of images among the outputs."""
    return sum(any(kind.startswith("image/") for kind in one.get("data", {})) for one in outputs(notebook))


@pytest.mark.slow
def test_the_training_notebook_runs(request, tmp_path):
    name = "test_notebook"
    data = render_shapes(tmp_path, {"train": 6, "val": 2, "test": 4})
    request.addfinalizer(lambda: [shutil.rmtree(path) for path in (ROOT / "outputs").glob(f"*/{name}*")])
    notebook = run("train", DATA=str(data), PRETRAINED="balloon", EPOCHS=1, IMGSZ=128, NAME=name)
    text = printed(notebook)
    assert "epoch 1/1" in text and "AP50" in text and "background" in text and "missed" in text
    assert num_images(notebook) == 3


@pytest.mark.slow
def test_the_serving_notebook_runs():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    notebook = run("serve", PORT=port)
    text = printed(notebook)
    assert f"serving balloon on http://127.0.0.1:{port}" in text and "the server has stopped" in text
    assert "balloon 0.9" in text and " masks" in text and num_images(notebook) == 2
