"""VIA's CSV export, one line a region, as the entries that its JSON holds.

    filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes
    a.jpg,4711,"{}",1,0,"{""name"":""rect"",""x"":1,...}","{""class"":""cat""}"

Version 1 begins with ``#``. An image without regions has one line with a count of 0 and empty attributes.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from detect.data.readers.parsing import open_csv
from detect.errors import DataError

_COLUMNS = ("filename", "file_size", "region_count", "region_shape_attributes", "region_attributes")


def entries(annotations: Path) -> dict[str, dict[str, Any]]:
    """``{key: {filename, regions}}`` in the order of the file; DataError names the line of a bad one."""
    found: dict[str, dict[str, Any]] = {}
    with open_csv(annotations) as file:
        lines = csv.DictReader(file, strict=True)
        columns = [name.strip().lstrip("#") for name in lines.fieldnames or ()]
        if missing := [name for name in _COLUMNS if name not in columns]:
            raise DataError(f"{annotations} is not VIA's CSV: its first line does not name {', '.join(missing)}")
        lines.fieldnames = columns
        for line in lines:
            where = f"{annotations}: line {lines.line_num}"
            if None in line or None in line.values():
                raise DataError(f"{where} should have {len(columns)} cells; texts with commas need quotes")
            key = f"{line['filename']}{line['file_size']}"
            entry = found.setdefault(key, {"filename": line["filename"], "regions": []})
            shape = _dict(line["region_shape_attributes"], f"{where}: region_shape_attributes")
            if shape or line["region_count"].strip() != "0":
                attributes = _dict(line["region_attributes"], f"{where}: region_attributes")
                entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return found


def _dict(cell: str, where: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is {cell[:60]!r}, which is not JSON: {error}") from None
