"""COCO's metrics as text tables: aligned, sorted, with counts and explanations."""

from __future__ import annotations

from helpers.results_files import write_dataset
from helpers.scenes import SHAPES, drawn, noisy_scene, perfect, scene

from detect.data.description import find_spec
from detect.evaluation.coco_metrics import one_line, score
from detect.evaluation.metrics_table import count_objects, table
from detect.structures.class_names import ClassNames
from detect.text import display_width


def test_table_has_a_dash_for_metrics_without_ground_truth():
    lines = table(score(scene(), perfect(scene()), SHAPES)).splitlines()
    (head, *overall), empty, (class_head, *classes), explanation = lines[:3], lines[3], lines[4:-1], lines[-1]
    assert head.split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"]
    assert [line.split() for line in overall] == [[kind] + ["1.000"] * 5 + ["-", "1.000"] for kind in ("bbox", "segm")]
    assert not empty and class_head.split() == ["AP", "AP50", "AP75"]
    assert len(classes) == 2 * 3 and classes[-1].split() == ["segm", "triangle", "-", "-", "-"]
    assert len({len(line) for line in (head, *overall)}) == len({len(line) for line in (class_head, *classes)}) == 1
    assert explanation.startswith("AP of triangle is not defined: the split has no objects of this class")


def test_classes_without_objects_are_explained_in_one_line_whatever_their_number():
    names = ClassNames(("circle", "square", *(f"class {i}" for i in range(50))))
    lines = [line for line in table(score(scene(), perfect(scene()), names)).splitlines() if "not defined" in line]
    assert len(lines) == 1
    assert len(lines[0]) < 200 and "class 0, class 1" in lines[0] and "45 more" in lines[0]
    records = scene()[:1]
    assert "not defined" not in table(score(records, perfect(records), ClassNames(("circle", "square"))))


def test_columns_are_aligned_whatever_the_script_of_the_class_names():
    names = ClassNames(("square", "圆形状的东西", "สามเหลี่ยม"), SHAPES.ids)
    records = scene()
    *lines, _ = table(score(records, perfect(records), names), count_objects(records, names)).splitlines()
    assert len({display_width(line) for line in lines[4:]}) == 1


def test_classes_are_sorted_by_ap_and_counted_without_crowds():
    records, found = noisy_scene()
    metrics = score(records, found, SHAPES)
    counts = count_objects(records, SHAPES)
    rows = [line.split() for line in table(metrics, counts).splitlines()[5:]]
    aps = [metrics["classes"][row[1]]["bbox"]["AP"] for row in rows[::2]]
    assert aps == sorted(aps) and len(set(aps)) == 3
    for kind, name, images, objects, ap, *_ in rows:
        own = [record.labels[~record.iscrowd] == SHAPES.label(name) for record in records]
        assert (int(images), int(objects)) == (sum(map(any, own)), sum(map(sum, own)))
        assert ap == f"{metrics['classes'][name][kind]['AP']:.3f}"


def test_a_table_of_columns_is_counted_like_records(tmp_path):
    class_names, split = find_spec(str(write_dataset(tmp_path))).read("val")
    assert count_objects(split, class_names) == count_objects(list(split), class_names)
    assert sum(objects for _, objects in count_objects(split, class_names).values()) == len(split.labels) == 12


def test_table_of_a_single_class_has_no_rows_per_class():
    records = [drawn(1, [[5, 5, 25, 25]], [1])]
    metrics = score(records, perfect(records), ClassNames(("balloon",)))
    assert len(table(metrics).splitlines()) == 3
    assert one_line(metrics) == "bbox AP 1.000 AP50 1.000  segm AP 1.000 AP50 1.000"
