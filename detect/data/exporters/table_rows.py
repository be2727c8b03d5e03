"""The images of a table as an exporter takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from detect.data.exporters.exporter import Export, ImageRow, ObjectRow
from detect.data.table import Table, renumber_duplicates
from detect.structures.class_names import ClassNames


class TableRows:
    """The images of one split and their new names. A repeated annotation id is replaced by a new one."""

    def __init__(self, split: str, table: Table, names: Sequence[str]) -> None:
        """table: as ``DatasetSpec.read`` returns it.  names: one per image."""
        self._split, self._table, self._names = split, table, names
        self._annotation_ids, _ = renumber_duplicates(table.annotation_ids)

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[ImageRow]:
        table = self._table
        for i, image in enumerate(self.without_objects()):
            rows = table.objects(i)
            columns = (table.labels, table.boxes, table.areas, table.iscrowd, self._annotation_ids)
            parts = zip(range(rows.start, rows.stop), *(column[rows] for column in columns), strict=True)
            objects = [
                ObjectRow(int(label), box, table.mask(row), float(area), bool(iscrowd), int(annotation_id))
                for row, label, box, area, iscrowd, annotation_id in parts
            ]
            yield image._replace(objects=objects)

    def without_objects(self) -> Iterator[ImageRow]:
        table = self._table
        for i, (image_id, name) in enumerate(zip(table.image_ids.tolist(), self._names, strict=True)):
            height, width = table.image_hw[i].tolist()
            yield ImageRow(self._split, name, table.path(i), image_id, (height, width), [])


def export_of(parts: Mapping[str, Table], class_names: ClassNames, names: Mapping[str, Sequence[str]]) -> Export:
    """Return the export of the splits ``parts``, whose images get ``names``."""
    return Export({split: TableRows(split, table, names[split]) for split, table in parts.items()}, class_names)
