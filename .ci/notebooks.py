"""Run the notebooks and store them with their outputs, or write the address of the repository into them.

    python .ci/notebooks.py run [NAME ...]     run all notebooks, or notebooks/NAME.ipynb
    python .ci/notebooks.py address [URL]      write the address into badges and first cells (default: git's origin)

Stored outputs are small and the same on every machine where possible: photographs become JPEG files, and stderr, the
duration of epochs and the folder of the repository are left out. This needs requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import base64
import re
import subprocess
import time
from io import BytesIO
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
MAX_WIDTH = 960  # pixels of a stored image
QUALITY = 80
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What changes at each run: duration, time left and memory at the end of the line of an epoch.
EPOCH_TIME = re.compile(r"  (?:\d+ (?:h|min|s)\b[ ,]*)+per epoch.*$", re.MULTILINE)
ADDRESS = re.compile(r'^REPOSITORY = "(.*?)"', re.MULTILINE)
BADGE = re.compile(r"https://colab\.research\.google\.com/github/[^)]*?(?=/blob/)")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("names", nargs="*", metavar="NAME")
    commands.add_parser("address").add_argument("url", nargs="?", help="address of a repository on GitHub")
    given = parser.parse_args()
    if given.command == "address":
        write_address(FOLDER, given.url or _origin())
        return
    for path in [FOLDER / f"{name}.ipynb" for name in given.names] or sorted(FOLDER.glob("*.ipynb")):
        started = time.monotonic()
        notebook = nbformat.read(path, 4)
        execute(notebook)
        nbformat.write(stored(notebook), path)
        print(f"{path.name}: {path.stat().st_size // 1000} kB, {time.monotonic() - started:.0f} s", flush=True)


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in notebooks/. An hour per cell ends a cell that hangs; no busy machine needs that long."""
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=3600, startup_timeout=600, resources=resources, record_timing=False).execute()


def stored(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with small outputs that name nothing of this machine."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = _joined([one for one in cell.outputs if one.get("name") != "stderr"])
        for output in cell.outputs:
            if "text" in output:
                output.text = _without_machine(output.text)
            if "data" in output:
                output.data = _small(output.data)
                output.metadata = nbformat.from_dict({})
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join the pieces of printed text that follow each other; how they are cut depends on the time."""
    joined: list[nbformat.NotebookNode] = []
    for one in outputs:
        if joined and one.output_type == joined[-1].output_type == "stream":
            joined[-1].text += one.text
        else:
            joined.append(one)
    return joined


def _without_machine(text: str) -> str:
    return EPOCH_TIME.sub("", text).replace(f"{ROOT}/", "")


def _small(data: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the data of an output with one image, in the smaller of PNG and JPEG."""
    texts = {kind: _without_machine(text) for kind, text in data.items() if kind.startswith("text/")}
    content = data.get("image/png") or data.get("image/jpeg")
    if content is None:
        return nbformat.from_dict(texts)
    image = Image.open(BytesIO(base64.b64decode(content))).convert("RGB")
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)), Image.Resampling.LANCZOS)
    files = {f"image/{kind}": BytesIO() for kind in ("png", "jpeg")}
    image.save(files["image/png"], "PNG", optimize=True)
    image.save(files["image/jpeg"], "JPEG", quality=QUALITY, optimize=True)
    kind = min(files, key=lambda kind: len(files[kind].getvalue()))
    return nbformat.from_dict(texts | {kind: base64.b64encode(files[kind].getvalue()).decode()})


def write_address(folder: Path, url: str) -> None:
    """Write the address of a repository on GitHub into the badge and the first code cell of each notebook."""
    found = re.fullmatch(r"(?:https://|git@)github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?", url)
    if not found:
        raise SystemExit(
            f"Colab opens repositories on GitHub, such as https://github.com/OWNER/REPOSITORY, not '{url}'"
        )
    name = found[1]
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            cell.source = ADDRESS.sub(f'REPOSITORY = "https://github.com/{name}"', cell.source)
            cell.source = BADGE.sub(f"https://colab.research.google.com/github/{name}", cell.source)
        nbformat.write(notebook, path)


def _origin() -> str:
    """Return the address of git's remote ``origin``, or "" without one."""
    command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
