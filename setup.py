"""What pyproject.toml cannot express: dependencies from requirements*.txt, and shipped files copied into the wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Patterns of the files that detect.io.resources finds in an installed package.
SHIPPED = ("weights/*.safetensors", "weights/*.md", "weights/*.txt", "datasets/*.yaml", "input/*")


def requirements(name: str, seen: frozenset[str] = frozenset()) -> list[str]:
    """Return the requirements of a file and of the files that its ``-r`` lines name, except those in ``seen``."""
    lines = []
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            other = line.removeprefix("-r ").strip()
            lines += [] if other in seen else requirements(other, seen)
        elif line:
            lines.append(line)
    return list(dict.fromkeys(lines))


def extra(name: str) -> list[str]:
    """Return what an extra needs beside the dependencies of the package itself."""
    return requirements(f"requirements-{name}.txt", frozenset({"requirements.txt"}))


class BuildWithShippedFiles(build_py):
    """Copies bundled weights, dataset descriptions and sample images into ``detect/_resources`` of the wheel."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the files are found in the checkout
            return
        for pattern in SHIPPED:
            for source in ROOT.glob(pattern):
                target = Path(self.build_lib, "detect", "_resources", source.relative_to(ROOT))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


# Extra with the name of its one package: the library of an experiment tracker, for ``train.py --log NAME``.
TRACKERS = {line.partition(">=")[0]: [line] for line in requirements("requirements-trackers.txt")}

setup(
    install_requires=requirements("requirements.txt"),
    extras_require={name: extra(name) for name in ("serve", "app", "export", "dev")} | TRACKERS,
    cmdclass={"build_py": BuildWithShippedFiles},
)
