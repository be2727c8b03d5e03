"""All formats: missing files are named, and image paths of other machines are resolved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.coco_files import assert_one_line, content
from helpers.folders import ROOT
from helpers.reading import read_split

from detect.data.exporters import EXPORTERS
from detect.data.readers import READERS, get_reader, parsing
from detect.data.readers.parsing import image_name
from detect.errors import DataError
from detect.media.images import write_image


@pytest.mark.parametrize("reader", ["coco", "via"])
def test_missing_images_are_counted_and_the_first_ones_named(read, images, reader):
    names = [f"{n}.png" for n in range(7)] + ["a.png"]
    if reader == "coco":
        bad = content()
        bad["images"] = [{"id": n, "file_name": name, "height": 40, "width": 60} for n, name in enumerate(names)]
    else:
        bad = {name: {"filename": name, "regions": {}} for name in names}
    with pytest.raises(DataError, match=r"ground truth\.json: split 'train': 7 of its 8 images are missing") as error:
        read(bad, ["square"] if reader == "via" else None, reader)
    assert "and 2 more; restore the files" in str(error.value) and str(images / "4.png") in str(error.value)
    assert_one_line(error)


@pytest.mark.parametrize("reader", ["coco", "via"])
def test_missing_or_unreadable_file_is_named(images, tmp_path, reader):
    with pytest.raises(DataError, match=r"no such annotation file: .*none\.json"):
        read_split(reader, images, tmp_path / "none.json", ["square"])
    with pytest.raises(DataError, match=r"cannot read .*images: Is a directory"):
        read_split(reader, images, images, ["square"])
    (tmp_path / "binary.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"binary\.json is not JSON"):
        read_split(reader, images, tmp_path / "binary.json", ["square"])


NAMES = {
    "a.png": "a.png",
    "./more/c.png": "more/c.png",
    "more\\c.png": "more/c.png",
    ".\\more\\c.png": "more/c.png",
    "C:\\mine\\a.png": "a.png",
    "c:/mine/a.png": "a.png",
    "\\\\server\\share\\a.png": "a.png",
    "/no/such/folder/a.png": "a.png",
}


@pytest.mark.parametrize("reader", ["coco", "csv", "via"])
@pytest.mark.parametrize("written", NAMES)
def test_paths_of_other_machines_are_resolved(images, tmp_path, reader, written):
    coco = content() | {"images": [{"id": 1, "file_name": written, "height": 40, "width": 60}]}
    texts = {
        "coco": json.dumps(coco),
        "csv": f"filename,class,xmin,ymin,xmax,ymax\n{written},kite,10,5,30,20\n",
        "via": json.dumps({"x": {"filename": written, "regions": []}}),
    }
    path = tmp_path / "ground truth"
    path.write_text(texts[reader])
    _, (record,) = read_split(reader, images, path, ["kite"] if reader == "via" else None)
    assert record.path == images / NAMES[written]


def test_existing_file_with_the_written_name_wins(images):
    for name in ("more\\c.png", "C:a.png"):
        write_image(images / name, np.zeros((4, 4, 3), np.uint8))
        assert image_name(images, name) == name
    assert image_name(images, str(images / "a.png")) == str(images / "a.png")


def test_plain_names_need_no_disk_access(images, monkeypatch):
    monkeypatch.setattr(parsing, "is_file", lambda path: pytest.fail(f"disk access for {path}"))
    for name in ("a.png", "more/c.png", "./more/c.png", "../a.png", ".a.png", "a b/ü.v2.png"):
        assert image_name(images, name) == name.removeprefix("./")


@pytest.mark.parametrize("format", READERS)
def test_every_format_is_in_the_readme(format):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| `{format}` |" in text


def test_every_exporter_writes_a_format_that_can_be_read():
    assert set(EXPORTERS) <= set(READERS) and all(get_reader(name).title for name in EXPORTERS)
