"""Annotation formats. A new one is a file here with ``parse`` and one line in the table.

``parse(images, annotations, classes)`` returns a Draft; ``images`` is the folder of the images, ``annotations`` the
file or the folder of the annotations, ``classes`` the names that the description of the dataset gives, or None. It
raises DataError for what is not of the format at all; single objects that are not become rejects of the draft, and
whether values make sense is for others to check.
"""

from __future__ import annotations

from detect.data.readers import coco, csv_boxes, labelme, via, voc, yolo

READERS = {
    "coco": coco.parse,
    "csv": csv_boxes.parse,
    "labelme": labelme.parse,
    "via": via.parse,
    "voc": voc.parse,
    "yolo": yolo.parse,
}
ONE_FILE_FORMATS = ("coco", "csv", "via")  # the others have a file for each image
