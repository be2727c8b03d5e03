"""The Docker image contains all files that serve.py needs, and the files for Streamlit Community Cloud are right."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.folders import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instruction(name: str) -> list[str]:
    return [line.removeprefix(name).strip() for line in DOCKERFILE.splitlines() if line.startswith(f"{name} ")]


def test_the_dockerfile_copies_existing_files_that_dockerignore_allows():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word.rstrip("/") for line in instruction("COPY") for word in line.split()[:-1]}
    assert copied == allowed and all((ROOT / path).exists() for path in copied)


def test_the_image_runs_as_an_unprivileged_user_with_the_cpu_build_of_pytorch():
    lines = DOCKERFILE.splitlines()
    user = lines.index("USER detect")
    assert not [line for line in lines[user:] if line.startswith(("RUN", "COPY", "ADD"))], (
        "no step after this one runs as root"
    )
    first, second = [line for line in instruction("RUN") if line.startswith("pip")]
    assert "--index-url https://download.pytorch.org/whl/cpu torch torchvision" in first
    assert second.endswith("-r requirements-serve.txt")


@pytest.mark.slow
def test_the_copied_files_are_enough_to_serve(tmp_path):
    for line in instruction("COPY"):
        *sources, _ = line.split()
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, tmp_path)
    (entry,), (flags,) = map(instruction, ("ENTRYPOINT", "CMD"))
    program, *words = ast.literal_eval(entry)
    assert program == "python"
    words[words.index("--host") + 1] = "127.0.0.1"
    command = [sys.executable, *words, *ast.literal_eval(flags), "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = re.search(r"http://127.0.0.1:\d+", server.stdout.readline())[0]
            (check,) = instruction("HEALTHCHECK")
            _, *words = ast.literal_eval(check[check.index("[") :])
            words = [word.replace("http://127.0.0.1:8000", address) for word in words]
            assert subprocess.run([sys.executable, *words], check=False, timeout=600).returncode == 0
        finally:
            server.terminate()
    assert server.returncode == 0


def test_the_cloud_installs_the_cpu_build_of_pytorch_and_the_requirements_of_the_app():
    lines = (ROOT / "cloud" / "requirements.txt").read_text().splitlines()
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in lines
    (other,) = [line.removeprefix("-r ") for line in lines if line.startswith("-r ")]
    assert (ROOT / "cloud" / other).resolve() == ROOT / "requirements-app.txt"


@pytest.mark.skipif(shutil.which("ldd") is None, reason="needs ldd")
def test_packages_txt_lists_the_system_libraries_that_the_wheels_need():
    import cv2
    import PIL
    import torch

    present = re.compile(r"lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+)\.so|ld-linux|linux-vdso")
    wheels = [Path(module.__file__).parent for module in (cv2, PIL, torch)]
    packages = wheels[0].parent
    needed = set()
    for library in (path for folder in wheels for path in [*folder.glob("*.so"), *folder.glob("lib/libtorch_cpu.so")]):
        output = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            name, _, path = line.strip().partition(" => ")
            if not present.search(name) and str(packages) not in path:
                needed.add(name)
    assert needed <= {"libz.so.1"}
    assert (ROOT / "packages.txt").read_text().split() == ["zlib1g"]
