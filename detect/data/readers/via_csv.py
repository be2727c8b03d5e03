"""VIA's CSV export with one region per line, converted to the structure of VIA's JSON.

    filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes
    a.jpg,4711,"{}",1,0,"{""name"":""rect"",""x"":1,...}","{""class"":""cat""}"

In VIA 1 the first line begins with ``#``. An image without regions has one line with the count 0 and no attributes.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from detect.data.readers.parsing import open_csv
from detect.errors import DataError

_COLUMNS = ("filename", "file_size", "region_count", "region_shape_attributes", "region_attributes")


def read_entries(annotations: Path) -> dict[str, dict[str, Any]]:
    """Return ``{key: {"filename", "regions"}}`` in the order of the file. Raises DataError that names the line."""
    entries: dict[str, dict[str, Any]] = {}
    with open_csv(annotations) as file:
        lines = csv.DictReader(file, strict=True)
        columns = [name.strip().lstrip("#") for name in lines.fieldnames or ()]
        if missing := [name for name in _COLUMNS if name not in columns]:
            raise DataError(f"{annotations} is not VIA's CSV: its header line lacks {', '.join(missing)}")
        lines.fieldnames = columns
        for line in lines:
            where = f"{annotations}: line {lines.line_num}"
            if None in line or None in line.values():
                raise DataError(f"{where} should have {len(columns)} cells; quote cells that contain commas")
            key = f"{line['filename']}{line['file_size']}"
            entry = entries.setdefault(key, {"filename": line["filename"], "regions": []})
            shape = _parse_cell(line["region_shape_attributes"], f"{where}: region_shape_attributes")
            if shape or line["region_count"].strip() != "0":
                attributes = _parse_cell(line["region_attributes"], f"{where}: region_attributes")
                entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return entries


def _parse_cell(cell: str, where: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is {cell[:60]!r}, which is not JSON: {error}") from None
