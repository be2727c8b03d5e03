"""The wheel, installed in an environment of its own, has everything that a user needs."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from helpers.folders import ROOT
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, since other tests write into the project's folder at the same time
    not_needed = shutil.ignore_patterns(
        ".*", "__pycache__", "outputs", "build", "*.egg-info", "tests", "sample", "shapes"
    )
    shutil.copytree(ROOT, source, ignore=not_needed)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """Return a virtual environment with the wheel, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--quiet", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run(command: list[object], folder: Path, status: int = 0) -> str:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_weights_descriptions_images_and_the_page(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "detect/py.typed",
        "detect/_resources/weights/balloon.safetensors",
        "detect/_resources/weights/train_images.txt",
        "detect/_resources/datasets/shapes.yaml",
        "detect/_resources/input/image_1.jpg",
        "detect/serving/page/index.html",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.slow
def test_the_wheel_requires_what_the_requirements_files_list(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    required = {Requirement(line) for line in metadata.get_all("Requires-Dist")}
    for extra, file in {"": "", "serve": "-serve", "app": "-app", "export": "-export", "dev": "-dev"}.items():
        listed = {
            Requirement(line.partition("#")[0])
            for line in (ROOT / f"requirements{file}.txt").read_text().splitlines()
            if line.strip() and not line.startswith(("#", "-r"))
        }
        assert listed, "the file lists packages"
        found = {
            (one.name, one.specifier)
            for one in required
            if one.marker is None or (extra and one.marker.evaluate({"extra": extra}))
        }
        assert {(one.name, one.specifier) for one in listed} <= found, f"requirements{file}.txt"
    unconditional = {one.name for one in required if one.marker is None}
    assert "fastapi" not in unconditional and "streamlit" not in unconditional
    assert set(metadata.get_all("Provides-Extra")) == {"serve", "app", "export", "dev", "wandb", "mlflow", "clearml"}


@pytest.mark.slow
def test_an_installed_package_detects_trains_and_writes_to_the_current_folder(environment, tmp_path):
    program = environment / "bin" / "detect"
    code = "import detect, json; print(json.dumps([detect.__file__, detect.__version__]))"
    file, version = json.loads(run([environment / "bin" / "python", "-c", code], tmp_path))
    assert Path(file).is_relative_to(environment)
    assert run([program, "--version"], tmp_path).startswith(f"detect {version}, torch ")
    before = sorted(Path(file).parent.rglob("*.yaml"))

    image = ROOT / "input" / "balloons_1.jpg"
    run([program, "image", "--model", "balloon", "--input", image, "--save-json"], tmp_path)
    written = tmp_path / "outputs" / "detect" / "balloons_1" / "detections.json"
    (image,) = json.loads(written.read_text())["images"]
    assert len(image["detections"]) >= 8
    train = [program, "train", "--data", "shapes", "--epochs", 1, "--imgsz", 96, "--pretrained", "balloon", "--quiet"]
    last = run([*train, "--workers", 0, "--device", "cpu"], tmp_path).splitlines()[-1]
    assert "detect evaluate" in last and ".py" not in last, "the next command is one that an installed package has"
    assert (tmp_path / "outputs" / "train" / "shapes_mobilenet_v2" / "best.safetensors").is_file()
    assert (tmp_path / "datasets" / "shapes" / "train.json").is_file(), (
        "rendered beside the user, not in site-packages"
    )
    assert sorted(Path(file).parent.rglob("*.yaml")) == before


@pytest.mark.slow
def test_a_mistake_is_one_line_and_status_2(environment, tmp_path):
    program = environment / "bin" / "detect"
    old_flag = [program, "train", "--colours", "strong"]  # vocabulary: old name
    for words in ([program, "trian"], old_flag, [program, "image"]):
        done = subprocess.run([str(w) for w in words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
