"""Annotation formats. A new one is a file here with ``read`` and one line in the table.

``read(images, annotations, classes)`` returns ``(ClassNames, [ImageRecord])``; ``images`` is the folder of
the pictures, ``annotations`` the file, ``classes`` the names the description of the data set gives, or None.
It raises DataError for a file that cannot be used, and drops, with one warning, objects that cannot be.
"""

from __future__ import annotations

from detect.data.readers import coco, via

READERS = {"coco": coco.read, "via": via.read}
