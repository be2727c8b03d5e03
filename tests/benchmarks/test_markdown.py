"""Tables that are written into a page are read out of it again."""

from __future__ import annotations

import pytest

from benchmarks import markdown
from detect.errors import UsageError


def test_a_part_is_replaced_and_read_back(tmp_path):
    page = tmp_path / "page.md"
    begin, end = markdown.markers("figures")
    page.write_text(f"# Title\n\n{begin}\nold\n{end}\n\nbehind\n")
    table = markdown.table(("model", "ms"), [("`a`", "1.5"), ("b", "–")])
    markdown.replace_part(page, "figures", f"Made so.\n\n{table}\n\nand more")
    assert page.read_text().startswith("# Title\n\n") and page.read_text().endswith("\n\nbehind\n")
    part = markdown.part(page, "figures")
    assert part.startswith("Made so.") and part.endswith("and more")
    assert markdown.rows(part) == [{"model": "`a`", "ms": "1.5"}, {"model": "b", "ms": "–"}]
    assert markdown.rows("no table, only a | in it") == []
    with pytest.raises(UsageError, match="must hold the line <!-- begin other -->"):
        markdown.part(page, "other")


def test_of_two_tables_the_first_is_read():
    text = "a\n\n" + "\n\nbetween\n\n".join(markdown.table((name,), [(name,)]) for name in ("x", "y"))
    assert markdown.rows(text) == [{"x": "x"}]
