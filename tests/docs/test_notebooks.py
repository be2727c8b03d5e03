"""The notebooks run from the first cell to the last, and are stored with small outputs that name no machine."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import socket
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import nbformat
import pytest
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from nbclient import NotebookClient
from PIL import Image

import detect

MAX_BYTES = 400_000
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def no_matplotlib_backend(monkeypatch):
    """Let a notebook choose its own backend. Streamlit, which other tests import, sets one for all child processes."""
    monkeypatch.delenv("MPLBACKEND", raising=False)


def parameter_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    return cell


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def path(request):
    return request.param


def sources(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_notebooks_are_stored_with_the_outputs_of_one_run_without_errors(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and parameter_cell(notebook)
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert {one.output_type for one in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    assert num_images(notebook) >= 1 and printed(notebook)


def test_stored_outputs_are_small_images_and_text_without_progress_bars(path):
    assert path.stat().st_size <= MAX_BYTES
    for output in outputs(nbformat.read(path, 4)):
        assert output.get("name") != "stderr"
        for kind, content in output.get("data", {}).items():
            if kind.startswith("image/"):
                assert Image.open(BytesIO(b64decode(content))).width <= 1000
            else:
                assert kind == "text/plain"
    assert not re.search(r"\r|\x1b|it/s|s/it|\d%\|", printed(nbformat.read(path, 4)))


def test_stored_outputs_name_no_folder_host_or_package_index_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp|work|mnt)/|[A-Z]:\\\\|index-url|Looking in indexes", text)
    assert str(ROOT) not in text
    assert len(socket.gethostname()) < 4 or socket.gethostname() not in text


def test_badge_and_first_cell_name_the_same_repository_and_this_notebook(path):
    first, second = nbformat.read(path, 4).cells[:2]
    address = re.search(r'REPOSITORY = "https://github.com/([^"]+)"', second.source)
    assert address
    badge = f"https://colab.research.google.com/github/{address[1]}/blob/main/notebooks/{path.name}"
    assert first.source.count(f"]({badge})") == 1


def test_a_command_writes_the_address_of_a_fork_into_all_notebooks(tmp_path):
    for path in NOTEBOOKS:
        shutil.copy(path, tmp_path)
    write_address = runpy.run_path(str(ROOT / ".ci" / "notebooks.py"))["write_address"]
    write_address(tmp_path, "git@github.com:some-one/my.detect.git")
    for path in NOTEBOOKS:
        text = (tmp_path / path.name).read_text(encoding="utf-8")
        assert text.count('github.com/some-one/my.detect\\"') == 1
        assert f"colab.research.google.com/github/some-one/my.detect/blob/main/notebooks/{path.name}" in text
    write_address(tmp_path, "https://github.com/YOU/detect")
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in NOTEBOOKS)
    with pytest.raises(SystemExit, match="github"):
        write_address(tmp_path, "https://example.org/a/b")


def test_notebooks_use_the_python_api_and_no_scripts(path):
    source = sources(nbformat.read(path, 4))
    assert "detect." in source and "subprocess" not in source
    assert [line.strip().split()[:2] for line in source.splitlines() if line.strip().startswith(("!", "%"))] == [
        ["%pip", "install"]
    ]


def test_annotations_are_compared_by_the_names_of_classes_when_a_class_vanishes(tmp_path):
    """Without cars, "person" is the first class instead of the second."""
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    outlines = {"car": [[2, 2], [20, 2], [20, 20]], "person": [[30, 5], [50, 5], [50, 40]]}
    write_labelme(tmp_path, outlines)
    cells = [cell.source for cell in nbformat.read(ROOT / "notebooks" / "pre_annotate.ipynb", 4).cells]
    values = {"detect": detect, "labels": tmp_path, "FORMAT": "labelme", "IN_COLAB": False, "CORRECTED": None}
    exec(next(source for source in cells if "def read_all" in source), values)
    write_labelme(tmp_path, {"person": outlines["person"]})
    exec(next(source for source in cells if "def boxes_of" in source), values)
    assert values["changes"] == {"a.png": (1, 1, 0)}  # kept, deleted, drawn
    names = [values[state]["a.png"][1].names for state in ("before", "after")]
    assert names == [["car", "person"], ["person"]]


def write_labelme(folder: Path, outlines: dict[str, list[list[int]]]) -> None:
    shapes = [{"label": name, "points": points, "shape_type": "polygon"} for name, points in outlines.items()]
    document = {"imagePath": "a.png", "imageHeight": 48, "imageWidth": 64, "shapes": shapes}
    (folder / "a.json").write_text(json.dumps(document))


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
def test_the_notebook_for_own_data_trains_on_a_zip_file(request, tmp_path):
    name = "test_own_data"
    render_shapes(tmp_path, {"train": 6, "val": 2, "test": 4})
    upload = shutil.make_archive(str(tmp_path / f"{name}_upload"), "zip", tmp_path / "files")
    request.addfinalizer(lambda: [shutil.rmtree(path) for path in (ROOT / "outputs").glob(f"*/{name}*")])
    notebook = run("own_data", DATA=upload, EPOCHS=1, IMGSZ=128, NAME=name)
    text = printed(notebook)
    assert "6 images" in text and "epoch 1/1" in text and "report:" in text and "checkpoint:" in text
    assert num_images(notebook) == 3


@pytest.mark.slow
def test_the_notebook_for_pre_annotation_corrects_labels_and_trains_on_them(request):
    name = "test_pre_annotate"
    request.addfinalizer(lambda: [shutil.rmtree(path) for path in (ROOT / "outputs").glob(f"*/{name}*")])
    notebook = run("pre_annotate", EPOCHS=1, IMGSZ=128, NAME=name)
    text = printed(notebook)
    kept, deleted, drawn = map(int, re.findall(r"^all +(\d+) +(\d+) +(\d+)$", text, re.MULTILINE)[0])
    assert kept > 0 and deleted > 0 and drawn > 0
    assert "20 images" in text and "epoch 1/1" in text and "before" in text and num_images(notebook) == 1


@pytest.mark.slow
def test_the_serving_notebook_runs():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    notebook = run("serve", PORT=port)
    text = printed(notebook)
    assert f"serving balloon on http://127.0.0.1:{port}" in text and "the server has stopped" in text
    assert "balloon 0.9" in text and " masks" in text and num_images(notebook) == 2
