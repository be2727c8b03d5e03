"""The examples of docs/api.md run as they stand."""

from __future__ import annotations

import re

import pytest
from helpers.folders import ROOT

import detect

PAGE = (ROOT / "docs" / "api.md").read_text()
SLOW_SECTIONS = ("Train", "Evaluate")


def examples(sections: set[str] | None = None) -> list[str]:
    """Return the code blocks of the page, or of some of its sections, in their order."""
    blocks = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        if sections is None or section.partition("\n")[0] in sections or not blocks:
            blocks += re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    return blocks


def run(blocks: list[str], tmp_path, monkeypatch) -> None:
    (tmp_path / "input").symlink_to(ROOT / "input")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)


@pytest.mark.slow
def test_every_section_but_training_runs(tmp_path, monkeypatch, capsys):
    sections = set(re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)) - set(SLOW_SECTIONS)
    run(examples(sections), tmp_path, monkeypatch)
    assert (tmp_path / "found.png").is_file()
    assert "did you mean balloon" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_page_runs(tmp_path, monkeypatch):
    run(examples(), tmp_path, monkeypatch)
    assert list(tmp_path.glob("outputs/train/*/best.safetensors"))


def test_every_public_name_is_described():
    assert not [name for name in detect.__all__ if not re.search(rf"\b{name}\b", PAGE)]
