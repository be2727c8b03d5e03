"""Masks as outlines: the exact edge of a run-length code, and one polygon for a mask of parts and holes.

Outlines run along the edges of pixels, so that a square of 3 x 3 pixels has sides of 3, and x = 0 is the left edge
of the image. pycocotools rounds corners to a fifth of a pixel and fills, by the even-odd rule, the pixels whose
middle lies inside (rleFrPoly in https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c); corners at
whole numbers give the very pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import shapely
from shapely.geometry.polygon import orient

from detect.structures import masks
from detect.structures.masks import Polygons, Rle

Ring = np.ndarray  # float64 [n, 2], x and y in pixels; the first point is not said again at the end

_SPECK = 1e-3  # px²: what is smaller comes from rounding
_SAME = 0.995  # IoU from which on a mask counts as drawn


def outlines(rle: Rle) -> list[list[Ring]]:
    """The parts of a mask, each as its outer ring and then its holes; none of an empty mask.

    Pixels that touch at a corner alone are of two parts. Outer rings turn the other way than holes do, so that the
    even-odd and the non-zero rule fill the same. ``from_polygons`` of the ``joined`` parts is exactly ``rle``.
    """
    left, upper, right, lower = masks.box(rle).astype(int).tolist()
    crop = masks.to_bitmap(rle)[upper:lower, left:right].astype(np.int8)
    steps = np.diff(np.pad(crop.T, ((0, 0), (1, 1))), axis=1)  # where the runs of each column begin and end
    x, top = np.nonzero(steps == 1)
    _, bottom = np.nonzero(steps == -1)
    runs = shapely.box(left + x, upper + top, left + x + 1, upper + bottom)
    return _parts(shapely.simplify(shapely.union_all(runs), 0))


def one_outline(segmentation: Polygons | Rle, image_hw: tuple[int, int], *, cut: bool = False) -> list[float]:
    """One polygon [x0, y0, x1, y1, ...] for a mask, [] for one without a pixel.

    A single polygon that no fill rule can mistake, such as one that does not cross itself, comes back as it is. Else
    parts are united, and parts and holes are joined by bridges without width, there and back along one line. What
    ``from_polygons`` draws of it has an IoU of at least 0.995 with the mask; of a run-length code it is the very mask.
    cut: whether a polygon that reaches out of the image is cut at its edges.

    Raises ValueError where ``segmentation`` cannot be drawn on an image of ``image_hw``.
    """
    rle = masks.from_coco(segmentation, image_hw)
    if not masks.area(rle):
        return []
    if isinstance(segmentation, dict):
        return joined(outlines(rle))
    shapes = [shapely.Polygon(np.reshape(polygon, (-1, 2))) for polygon in segmentation]
    frame = shapely.box(0, 0, image_hw[1], image_hw[0])
    cut = cut and not shapely.covers(frame, shapes).all()
    # make_valid goes by the even-odd rule, as pycocotools does with a line that crosses itself.
    whole = shapely.union_all(_polygons(shapely.make_valid(shapes)))
    # The area of a ring counts what it goes round twice as often, and the other way round as less than nothing.
    if len(shapes) == 1 and not cut and math.isclose(shapes[0].area, whole.area):
        return [float(number) for number in segmentation[0]]
    polygon = joined(_parts(shapely.intersection(whole, frame) if cut else whole))
    if polygon and masks.iou([masks.from_polygons([polygon], image_hw)], [rle]).min() >= _SAME:
        return polygon
    return joined(outlines(rle))  # slivers, and parts that share pixels though they do not touch


def joined(parts: Iterable[Sequence[Ring]]) -> list[float]:
    """All rings as one polygon [x0, y0, x1, y1, ...], joined by the shortest bridges; [] of none."""
    rings = [ring for part in parts for ring in part]
    if not rings:
        return []
    points = np.concatenate(rings)
    sizes = [len(ring) for ring in rings]
    ends = np.cumsum(sizes)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - sizes
    places, after = points.tolist(), following.tolist()
    for here, there in _bridges(points, np.repeat(np.arange(len(rings)), sizes)):
        # From here to a double of there, round the other ring, and from there to a double of here.
        double = len(places)
        places += [places[there], places[here]]
        after += [after[there], after[here]]
        after[here], after[there] = double, double + 1
    polygon, point = places[0][:], after[0]
    while point:
        polygon += places[point]
        point = after[point]
    return polygon


def _bridges(points: np.ndarray, ring_of: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of points, as few and as short as connect all rings: Kruskal's algorithm over the lines of the Delaunay
    triangulation, which are known to hold the shortest.

    points: float64 [P, 2].  ring_of: int [P], the ring of each from 0.
    """
    if not ring_of[-1]:
        return
    places = list(map(tuple, points.tolist()))
    first_at = {place: point for point, place in reversed(list(enumerate(places)))}
    lines = shapely.get_coordinates(shapely.delaunay_triangles(shapely.MultiPoint(points), only_edges=True))
    pairs = np.array([first_at[x, y] for x, y in lines.tolist()]).reshape(-1, 2)
    same_place = np.array([(first_at[place], point) for point, place in enumerate(places)])
    pairs = np.concatenate([same_place, pairs])
    pairs = pairs[ring_of[pairs[:, 0]] != ring_of[pairs[:, 1]]]
    lengths = np.square(points[pairs[:, 0]] - points[pairs[:, 1]]).sum(axis=1)
    group = list(range(ring_of[-1] + 1))  # the way to the ring that stands for all those connected to this one

    def found(ring: int) -> int:
        while group[ring] != ring:
            group[ring] = ring = group[group[ring]]
        return ring

    for here, there in pairs[np.argsort(lengths, kind="stable")].tolist():
        one, other = found(ring_of[here]), found(ring_of[there])
        if one != other:
            group[one] = other
            yield here, there


def _parts(shape: shapely.Geometry) -> list[list[Ring]]:
    """The outer ring and the holes of each area, without specks."""
    found = []
    for polygon in map(orient, _polygons(shape)):
        if polygon.area > _SPECK:
            holes = [hole for hole in polygon.interiors if shapely.Polygon(hole).area > _SPECK]
            found.append([np.array(ring.coords)[:-1] for ring in (polygon.exterior, *holes)])
    return found


def _polygons(shapes: shapely.Geometry | Sequence[shapely.Geometry]) -> list[shapely.Polygon]:
    """Without the lines and points that are left of what has no area."""
    single = shapely.get_parts(shapely.get_parts(shapes))  # a collection may hold several of several
    return [shape for shape in single if isinstance(shape, shapely.Polygon)]
