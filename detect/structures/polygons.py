"""Masks as polygons: the exact boundary of an RLE, and a single polygon for a mask with several parts and holes;
rotated rectangles.

Boundaries follow the edges of pixels: a square of 3 x 3 pixels has sides of length 3, and x = 0 is the left edge of
the image. pycocotools rounds coordinates to a fifth of a pixel and fills, by the even-odd rule, the pixels with their
center inside (rleFrPoly in https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c). Polygons with whole
coordinates therefore reproduce the mask exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import shapely
from shapely.geometry.polygon import orient

from detect.structures import masks
from detect.structures.bitmap_boundary import boundary_loops
from detect.structures.masks import Polygons, Rle

Ring = np.ndarray
"""float64 [n, 2], x and y in pixels; the first point is not repeated at the end."""

_MIN_AREA = 1e-3  # square pixels; smaller polygons result from rounding
_MIN_IOU = 0.995  # with the mask, for a polygon that represents it
_TOLERANCES_PX = (1.0, 0.75, 0.5)  # by which a simplified polygon may deviate from the edges of the pixels
_MIN_SIMPLE_IOU = 0.97


def mask_rings(rle: Rle) -> list[list[Ring]]:
    """Return the connected parts of a mask, each as its outer ring followed by its holes; [] for an empty mask.

    Pixels that touch only at a corner belong to different parts. Outer rings and holes have opposite orientation, so
    that the even-odd and the non-zero rule fill the same pixels. ``from_polygons`` of the parts after ``join_rings``
    is exactly ``rle``.
    """
    return _parts(_outlines(rle))


def simplified_polygons(rle: Rle, *, joined: bool = False) -> list[list[float]]:
    """Return the connected parts of a mask as polygons [x0, y0, ...] with few vertices, for a person to correct.

    joined: whether to return one polygon, in which bridges of zero width join the parts.

    Holes are joined to their part by bridges of zero width. The polygons deviate from the mask by at most a pixel and
    have an IoU of at least 0.97 with it. [] for an empty mask.
    """
    exact = _outlines(rle)
    height, width = rle["size"]
    for tolerance in _TOLERANCES_PX:
        polygons = _as_polygons(_parts(shapely.simplify(exact, tolerance)), joined)
        if polygons and masks.iou([masks.from_polygons(polygons, (height, width))], [rle]).min() >= _MIN_SIMPLE_IOU:
            return polygons
    return _as_polygons(_parts(exact), joined)


def _as_polygons(parts: list[list[Ring]], joined: bool) -> list[list[float]]:
    """Return a polygon for each part, or one for all parts if ``joined``."""
    groups = [parts] if joined and parts else [[part] for part in parts]
    return [join_rings(group) for group in groups]


def _outlines(rle: Rle) -> shapely.MultiPolygon:
    """Return the connected parts of a mask with their holes."""
    left, upper, right, lower = masks.box(rle).astype(int).tolist()
    corner = np.array([left, upper])
    loops = boundary_loops(masks.to_bitmap(rle)[upper:lower, left:right].astype(bool))
    outer = [shapely.Polygon(loop.points + corner) for loop in loops if loop.is_outer]
    holes: list[list[Ring]] = [[] for _ in outer]
    for loop in loops:
        if not loop.is_outer:
            ring = loop.points + corner
            pixel = shapely.Point(ring[0] + (-0.5, 0.5))  # of the part, left of the hole's upper left pixel
            around = [i for i, part in enumerate(outer) if len(outer) == 1 or part.contains(pixel)]
            holes[min(around, key=lambda i: outer[i].area)].append(ring)
    return shapely.MultiPolygon([shapely.Polygon(one.exterior, own) for one, own in zip(outer, holes, strict=True)])


def rotated_rectangle(
    center_xy: tuple[float, float], size_wh: tuple[float, float], degrees: float
) -> tuple[list[float], list[float]]:
    """Return a rotated rectangle as the upright box around it, xyxy, and as a polygon [x0, y0, ..., x3, y3].

    center_xy, size_wh: of the rectangle before its rotation, in pixels.
    degrees: rotation around the center, clockwise on the screen, where y points down.

    The polygon begins at the corner that is the upper left one without rotation, and goes clockwise.
    """
    (x, y), (width, height) = center_xy, size_wh
    # Rounded, so that a rotation by 90 degrees gives exact coordinates: cos(pi / 2) is 6e-17.
    cos, sin = (round(f(math.radians(degrees % 360)), 15) for f in (math.cos, math.sin))
    xs, ys = [], []
    for along, across in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        xs.append(x + along * width * cos - across * height * sin)
        ys.append(y + along * width * sin + across * height * cos)
    return [min(xs), min(ys), max(xs), max(ys)], [n for point in zip(xs, ys, strict=True) for n in point]


def polygon_with_holes(exterior: Sequence[Sequence[float]], holes: Iterable[Sequence[Sequence[float]]]) -> list[float]:
    """Return a polygon with holes as one polygon [x0, y0, ...], whose parts are joined by bridges; [] without area.

    exterior, holes: rings of points (x, y) in pixels, each of at least 3 points. Fill rules differ where holes cross.
    """
    return join_rings(_parts(shapely.Polygon(exterior, list(holes))))


def single_polygon(segmentation: Polygons | Rle, image_hw: tuple[int, int], *, clip: bool = False) -> list[float]:
    """Return one polygon [x0, y0, x1, y1, ...] for a mask; [] for a mask without a pixel.

    clip: whether to clip polygons at the edges of the image.

    A single polygon that every fill rule fills in the same way, such as one that does not cross itself, is returned
    unchanged. Otherwise parts are united, and parts and holes are joined by bridges of zero width. The polygon has an
    IoU of at least 0.995 with the mask; that of an RLE reproduces it exactly.
    Raises ValueError if ``segmentation`` is not valid for an image of ``image_hw``.
    """
    rle = masks.from_coco(segmentation, image_hw)
    if not masks.area(rle):
        return []
    if isinstance(segmentation, dict):
        return join_rings(mask_rings(rle))
    shapes = [shapely.Polygon(np.reshape(polygon, (-1, 2))) for polygon in segmentation]
    frame = shapely.box(0, 0, image_hw[1], image_hw[0])
    clip = clip and not shapely.covers(frame, shapes).all()
    # make_valid applies the even-odd rule, as pycocotools does, to a polygon that crosses itself.
    union = shapely.union_all(_polygons(shapely.make_valid(shapes)))
    # Equal areas show that the polygon does not cross itself: the area of a ring counts regions that it encloses twice
    # twice, and regions of opposite orientation negatively.
    if len(shapes) == 1 and not clip and math.isclose(shapes[0].area, union.area):
        return [float(number) for number in segmentation[0]]
    polygon = join_rings(_parts(shapely.intersection(union, frame) if clip else union))
    if polygon and masks.iou([masks.from_polygons([polygon], image_hw)], [rle]).min() >= _MIN_IOU:
        return polygon
    return join_rings(mask_rings(rle))  # slivers, and parts that share pixels without touching


def join_rings(parts: Iterable[Sequence[Ring]]) -> list[float]:
    """Return all rings of all parts as one polygon [x0, y0, x1, y1, ...], joined by the shortest bridges."""
    rings = [ring for part in parts for ring in part]
    if not rings:
        return []
    points = np.concatenate(rings)
    sizes = [len(ring) for ring in rings]
    ends = np.cumsum(sizes)
    successors = np.arange(1, len(points) + 1)
    successors[ends - 1] = ends - sizes
    coordinates, after = points.tolist(), successors.tolist()
    for start, end in _bridges(points, np.repeat(np.arange(len(rings)), sizes)):
        # From start to a copy of end, around the other ring, and from end to a copy of start.
        copy = len(coordinates)
        coordinates += [coordinates[end], coordinates[start]]
        after += [after[end], after[start]]
        after[start], after[end] = copy, copy + 1
    polygon, point = coordinates[0][:], after[0]
    while point:
        polygon += coordinates[point]
        point = after[point]
    return polygon


def _bridges(points: np.ndarray, ring_of: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs of points that connect all rings with the smallest total length.

    points: float64 [P, 2].  ring_of: int64 [P], the ring of each point, from 0.

    This is Kruskal's algorithm on the edges of the Delaunay triangulation, which contains a minimum spanning tree.
    """
    if not ring_of[-1]:
        return
    positions = list(map(tuple, points.tolist()))
    first_at = {position: point for point, position in reversed(list(enumerate(positions)))}
    lines = shapely.get_coordinates(shapely.delaunay_triangles(shapely.MultiPoint(points), only_edges=True))
    pairs = np.array([first_at[x, y] for x, y in lines.tolist()]).reshape(-1, 2)
    same_position = np.array([(first_at[position], point) for point, position in enumerate(positions)])
    pairs = np.concatenate([same_position, pairs])
    pairs = pairs[ring_of[pairs[:, 0]] != ring_of[pairs[:, 1]]]
    lengths = np.square(points[pairs[:, 0]] - points[pairs[:, 1]]).sum(axis=1)
    parent = list(range(ring_of[-1] + 1))  # union-find over the rings

    def root(ring: int) -> int:
        while parent[ring] != ring:
            parent[ring] = ring = parent[parent[ring]]
        return ring

    for start, end in pairs[np.argsort(lengths, kind="stable")].tolist():
        one, other = root(ring_of[start]), root(ring_of[end])
        if one != other:
            parent[one] = other
            yield start, end


def _parts(shape: shapely.Geometry) -> list[list[Ring]]:
    """Return the outer ring and the holes of each polygon in ``shape``, without tiny ones."""
    parts = []
    for polygon in map(orient, _polygons(shape)):
        if polygon.area > _MIN_AREA:
            holes = [hole for hole in polygon.interiors if shapely.Polygon(hole).area > _MIN_AREA]
            parts.append([np.array(ring.coords)[:-1] for ring in (polygon.exterior, *holes)])
    return parts


def _polygons(shapes: shapely.Geometry | Sequence[shapely.Geometry]) -> list[shapely.Polygon]:
    """Return the polygons in ``shapes``, without the lines and points to which degenerate polygons reduce."""
    single = shapely.get_parts(shapely.get_parts(shapes))  # twice, since a collection may contain multi-part shapes
    return [shape for shape in single if isinstance(shape, shapely.Polygon)]
