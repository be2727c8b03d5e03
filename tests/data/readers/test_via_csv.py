"""VIA's CSV export: long polygons are read, and errors name the line."""

from __future__ import annotations

import pytest
from helpers.reading import read_split
from helpers.via_files import SQUARE, as_csv, entries, region

from detect.data.readers.parsing import MAX_CELL_CHARACTERS
from detect.errors import DataError

HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"


def test_cell_may_exceed_the_default_limit_of_csv(read_via):
    points = 20_000
    shape = SQUARE | {"all_points_x": [10, 30, 30] * points, "all_points_y": [5, 5, 20] * points}
    content = as_csv(entries(region(shape)))
    assert max(map(len, content.splitlines())) > 1 << 17
    _, (_, b) = read_via(content, ["balloon"], "ground truth.csv")
    assert b.boxes.tolist() == [[10, 5, 30, 20]]


def test_enormous_cell_is_an_error(read_via, monkeypatch):
    cell = "x" * (MAX_CELL_CHARACTERS + 1)
    with pytest.raises(DataError, match=r"ground truth\.csv is not CSV: field larger than"):
        read_via(f'{HEADER}a.png,1,"{cell}",0,0,"{{}}","{{}}"\n', ["balloon"], "ground truth.csv")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("", "is not VIA's CSV: its header line lacks filename, file_size"),
        ("a,b\n1,2\n", "lacks filename"),
        (HEADER + 'a.png,1,"{}",0,0,"{}"\n', "line 2 should have 7 cells"),
        (HEADER + 'a,b.png,1,"{}",0,0,"{}","{}"\n', "line 2 should have 7 cells"),
        (
            HEADER + 'a.png,1,"{}",1,0,"{name}","{}"\n',
            "line 2: region_shape_attributes is '{name}', which is not JSON",
        ),
        (HEADER + 'a.png,1,"{}",1,0,"5","{}"\n', "a.png, region 1: 'shape_attributes' is '5'; expected a dict"),
        (HEADER + 'a.png,1,"{}",1,0,"{}","{}"\n', "a.png, region 1 lacks the key 'name'"),
        (HEADER + 'a.png,1,"{}",1,0,"{}\n', "is not CSV"),
    ],
)
def test_bad_file_is_a_one_line_error_with_file_and_reason(read_via, bad, said):
    with pytest.raises(DataError, match=said) as error:
        read_via(bad, ["balloon"], "ground truth.csv")
    assert "ground truth.csv" in str(error.value) and "\n" not in str(error.value)


def test_missing_or_binary_file_is_named(images, tmp_path):
    with pytest.raises(DataError, match=r"no such annotation file: .*none\.csv"):
        read_split("via", images, tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*folder\.csv: Is a directory"):
        read_split("via", images, tmp_path / "folder.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"binary\.csv is not CSV"):
        read_split("via", images, tmp_path / "binary.csv")
