"""The report is one file: complete, self-contained, small, and safe whatever names and detections it shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluations import analysis_of, detected, evaluation_of, grid, with_files, without_masks
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, nothing
from helpers.tiny_models import as_checkpoint, random_model, render_shapes
from helpers.trained_images import list_train_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detect.evaluation.evaluate import evaluate
from detect.evaluation.report.breakdown import highest_overlap
from detect.evaluation.report.crops import Boxes, crop
from detect.evaluation.report.galleries import relative_link
from detect.evaluation.report.html import SECTIONS
from detect.evaluation.report.page import Page as ReportPage
from detect.evaluation.saved_model import SavedModel, read_epochs
from detect.models import checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

MAX_BYTES = 10_000_000
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """A parsed report: ids of sections, addresses, text, and whether every element is closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.addresses.append(value)
        if tag == "section":
            self.sections.append(dict(attributes)["id"])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(evaluation, path: Path) -> Page:
    evaluation.save_report(path)
    return Page(path)


def assert_complete(page: Page) -> None:
    assert page.sections == list(SECTIONS)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    for address in page.addresses:
        assert address.startswith(("#", "data:image/")) or ":" not in address.split("/")[0]
    assert "url(http" not in page.source and "@import" not in page.source
    assert len(page.source) < MAX_BYTES
    assert not re.search(r"\bnan\b|\bNone\b(?! of)", page.text)


@pytest.fixture
def records(tmp_path):
    return with_files(grid(), tmp_path)


def test_every_section_is_there_and_nothing_is_loaded_from_elsewhere(tmp_path):
    records, found = noisy_scene()
    page = page_of(evaluation_of(with_files(records, tmp_path), found), tmp_path / "report.html")
    assert_complete(page)
    assert "circle" in page.text and "AP50 of masks" in page.text and page.tags.count("image") > 5


def test_a_report_needs_no_masks(tmp_path):
    records, found = noisy_scene()
    records = without_masks(with_files(records, tmp_path))
    page = page_of(evaluation_of(records, [replace(one, masks=None) for one in found]), tmp_path / "report.html")
    assert_complete(page)
    assert "masks" not in page.text.split("Provenance")[0]


def test_a_report_of_a_model_that_detects_nothing(tmp_path, records):
    page = page_of(evaluation_of(records, nothing(records)), tmp_path / "report.html")
    assert_complete(page)
    assert "finds no object" in page.text and "No threshold can be recommended" in page.text


def test_a_report_of_one_class_and_one_image(tmp_path):
    records = with_files([drawn(1, [[5, 5, 60, 60]], [1])], tmp_path)
    names = ClassNames(("cell",))
    assert_complete(page_of(evaluation_of(records, detected(records), names), tmp_path / "report.html"))


def test_a_report_of_images_without_objects_counts_false_positives_there(tmp_path):
    records = with_files([*grid(2), drawn(7, [], []), drawn(8, [], [])], tmp_path)
    found = detected(records)
    found[2] = Detections(HW, np.float32([[5, 5, 50, 50]]), np.float32([0.8]), np.array([1]))
    page = page_of(evaluation_of(records, found), tmp_path / "report.html")
    assert_complete(page)
    assert "In 1 of 2 images without objects the model detects something" in page.text
    assert "0.50 false positives per image" in page.text


def test_a_report_of_crowd_regions_counts_them(tmp_path):
    records = with_files([drawn(1, [[5, 5, 60, 60], [70, 5, 150, 110]], [1, 1], crowds=[1])], tmp_path)
    page = page_of(evaluation_of(records, detected(records)), tmp_path / "report.html")
    assert_complete(page)
    assert "1 of the 1 object" not in page.text and "100 % of the 1 object" in page.text


@pytest.mark.parametrize(("classes", "images"), [(13, 300), (80, 60), pytest.param(300, 300, marks=pytest.mark.slow)])
def test_many_classes_and_images_stay_below_10_mb(tmp_path, classes, images):
    rng = np.random.default_rng(0)
    records = [
        drawn(i, [[x, 5, x + 30, 60] for x in (5, 50, 100)], rng.integers(1, classes + 1, 3)) for i in range(images)
    ]
    shown = with_files(records[:60], tmp_path) + records[60:]
    found = detected(shown, {1: 2, 3: 1}, scores=(0.95, 0.55))
    for i in range(0, images, 3):
        found[i] = Detections(HW)
    names = ClassNames(tuple(f"class number {k}" for k in range(classes)))
    evaluation = evaluation_of(without_masks(shown), found, names)
    assert_complete(page_of(evaluation, tmp_path / "report.html"))


def test_noise_in_the_images_stays_below_10_mb(tmp_path):
    from PIL import Image

    records = with_files(grid(48), tmp_path)
    for number, record in enumerate(records):
        noise = np.random.default_rng(number).integers(0, 256, (*HW, 3), dtype=np.uint8)
        Image.fromarray(noise).save(record.path)
    shifted = [replace(one, boxes=one.boxes + np.float32([14, 8, 14, 8])) for one in detected(records)]
    page = page_of(evaluation_of(records, shifted), tmp_path / "report.html")
    assert_complete(page)
    assert page.tags.count("image") == 12


HOSTILE = ("<script>alert(1)</script>", "\"onload=alert('x') & {{ 7 * 7 }}", "$\\frac{a}{b}$ 気球 \u202egnp")


def test_names_are_shown_as_they_are_and_never_as_html(tmp_path):
    records, found = noisy_scene()
    folder = tmp_path / "a & b <i>"
    folder.mkdir()
    records = with_files(records, folder, name="javascript:<img src=x> '\"& {% raw")
    page = page_of(evaluation_of(records, found, ClassNames(HOSTILE), model="<b>model"), tmp_path / "report.html")
    assert_complete(page)
    for name in HOSTILE[:2]:
        assert name in page.text
    assert "<b>model" in page.text and "javascript:<img src=x>" in page.text
    assert not {"script", "i", "img"} & set(page.tags)


def test_images_are_linked_relative_to_the_report(tmp_path):
    folder = tmp_path / "images 1"
    folder.mkdir()
    records = with_files(grid(1), folder)
    (tmp_path / "reports").mkdir()
    page = page_of(evaluation_of(records, nothing(records)), tmp_path / "reports" / "report.html")
    assert "../images%201/image_0.png" in page.addresses


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_link_to_any_file_name_is_a_relative_path(name):
    link = relative_link(Path("/data") / name, Path("/data"))
    assert link and not {":", '"', "<", "?", "#"} & set(link)


def test_an_image_that_is_neither_below_nor_beside_the_report_is_not_linked():
    page = Path("/home/ann/project/runs/1")
    assert relative_link(Path("/home/ann/project/data/a.png"), page) == "../../data/a.png"
    assert relative_link(Path("/mnt/data/a.png"), page) == ""
    assert relative_link(Path("/home/bob/a.png"), page) == ""


def test_no_line_ends_between_a_number_and_its_percent_sign_and_equal_sizes_are_stated_once(tmp_path):
    records, found = noisy_scene()
    page = page_of(evaluation_of(with_files(records, tmp_path), found), tmp_path / "report.html")
    assert not re.search(r"\d %", page.source) and re.search(r"\d\u00a0%", page.source)
    assert f"{HW[1]} pixels wide and {HW[0]} high" in page.text


def test_a_report_without_a_problem_says_so(tmp_path, records):
    page = page_of(evaluation_of(records, detected(records)), tmp_path / "report.html")
    assert "No fault was found" in page.text and "Fix this first" not in page.text


def test_the_verdict_begins_with_the_problem_to_fix_first(tmp_path, records):
    page = page_of(evaluation_of(records, detected(records, {1: 2, 2: 1})), tmp_path / "report.html")
    verdict = page.text.split("Verdict")[2]
    assert verdict.strip().startswith("Fix this first: circle and square seem to be swapped")
    assert "No fault was found" not in page.text and "mean little until the problem" in page.text


def test_the_verdict_names_ap50_of_the_images_that_were_not_trained_on(tmp_path):
    records = with_files(grid(10), tmp_path)
    evaluation = evaluation_of(records, detected(records[:4]) + nothing(records[4:]))
    data = list_train_images(records[:4], tmp_path)
    saved = replace(as_checkpoint(random_model(), classes=SHAPES), data=data)
    evaluation.analysis.saved = SavedModel(tmp_path / "best.safetensors", "0", saved, [])
    text = page_of(evaluation, tmp_path / "report.html").text
    assert "The model was trained on 4 of these images: on the 6 others" in text and "AP50 is 0.000" in text
    assert "with 4 training images" in text and "All 4 files" in text


def test_the_legend_of_f1_states_the_thresholds_of_the_table(tmp_path):
    records, found = noisy_scene()
    evaluation = evaluation_of(records, found)
    page = page_of(evaluation, tmp_path / "report.html")
    chosen = evaluation.analysis.chosen
    for one in (*chosen.classes.values(), chosen.overall):
        assert f"{one.f1:.2f} at {one.threshold:.2f}" in page.text


def test_a_file_name_that_is_no_unicode_is_shown_and_linked(tmp_path, records):
    records[0] = replace(records[0], path=tmp_path / "b\udcff.png")
    page = page_of(evaluation_of(records, nothing(records)), tmp_path / "report.html")
    assert "b\\udcff.png" in page.text and "b%FF.png" in page.addresses


def test_images_that_are_gone_are_named_without_a_crop(tmp_path, records):
    records[0].path.unlink()
    records[1].path.write_bytes(b"no image")
    page = page_of(evaluation_of(records, nothing(records)), tmp_path / "report.html")
    assert_complete(page)
    assert page.text.count("The image cannot be read.") == 6


def test_the_report_of_a_model_shows_its_file_speed_training_and_other_splits(tmp_path):
    data = render_shapes(tmp_path, {"train": 4, "val": 3})
    run = tmp_path / "run"
    run.mkdir()
    saved = replace(as_checkpoint(random_model(), classes=SHAPES), training={"epoch": 2, "lr": 0.0125})
    checkpoint.save(saved, run / "best.safetensors")
    aps = {1: 0.1, 2: 0.2, 3: 0.2}
    rows = [{"epoch": e, "losses": {"loss": 2 / e}, "val": {"bbox": {"AP": ap}}} for e, ap in aps.items()]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{broken")
    evaluation = evaluate(run / "best.safetensors", data, split="val", device="cpu")
    evaluation.save_report(tmp_path / "report.html", command="evaluate.py --model best.safetensors")
    page = Page(tmp_path / "report.html")
    assert_complete(page)
    for text in ("s per image", "0.0125", "Best AP of boxes on val: 0.200 in epoch 2", "evaluate.py --model best"):
        assert text in page.text
    assert "train 4" in page.text and "val (evaluated) 3" in page.text


def test_equal_evaluations_give_equal_reports(tmp_path, records):
    pages = []
    for name in ("a", "b"):
        source = page_of(evaluation_of(records, detected(records)), tmp_path / f"{name}.html").source
        pages.append(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d \w+", "", source))
    assert pages[0] == pages[1]


def test_damaged_rows_of_a_log_are_left_out(tmp_path):
    good = {"epoch": 2, "losses": {"loss": 1.0}, "val": {}}
    lines = [json.dumps(good), "", "{", "[]", '{"epoch": 3}', '{"epoch": "x", "losses": {}, "val": {}}', "\u0000"]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read_epochs(tmp_path / "metrics.jsonl") == [good]
    assert read_epochs(tmp_path / "missing.jsonl") == []


box = st.tuples(st.floats(0, 150), st.floats(0, 110), st.floats(0, 200), st.floats(0, 200)).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])
)


@given(box, box, st.booleans(), st.tuples(st.integers(1, 400), st.integers(1, 400)))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_crop_lies_in_the_image_and_its_boxes_in_the_crop(annotated, found, is_missed, hw):
    part = crop(np.zeros((*hw, 3), np.uint8), Boxes(annotated, None if is_missed else found, annotated[None]))
    assert 1 <= part.width <= 320 and 1 <= part.height <= 320
    for _, x, y, width, height in part.boxes:
        assert x >= 0 and y >= 0 and x + width <= part.width + 0.11 and y + height <= part.height + 0.11


def test_the_highest_overlap_of_an_object_ignores_other_images_and_crowds():
    records = [
        drawn(1, [[0, 0, 40, 40], [20, 0, 60, 40], [100, 0, 140, 40]], [1, 2, 1]),
        drawn(2, [[0, 0, 40, 40], [0, 0, 40, 40]], [1, 1], crowds=[1]),
    ]
    overlap = highest_overlap(analysis_of(records, nothing(records)))
    assert overlap.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 0, 1])


def test_the_breakdown_shows_that_small_objects_are_missed(tmp_path):
    records = with_files([drawn(i, [[5, 5, 15, 15], [20, 10, 80, 70]], [1, 1]) for i in range(4)], tmp_path)
    found = [Detections(HW, r.boxes[1:], np.float32([0.9]), np.array([1])) for r in records]
    page = page_of(evaluation_of(records, found), tmp_path / "report.html")
    assert "small: below 32 x 32 4 0 % 0 % 0.00 medium 4 100 % 100 % 1.00" in page.text


def content(analysis, section: str) -> dict:
    """Return what a section of the report shows."""
    return SECTIONS[section][1](ReportPage(analysis, [], Path(), "", ""))


def groups(analysis, title: str) -> dict[str, int]:
    """Return name -> number of objects of each group in a table of the breakdown."""
    (table,) = (table for table in content(analysis, "breakdown")["tables"] if table["title"] == title)
    return {row["name"]: row["count"] for row in table["rows"]}


def test_objects_at_each_border_of_an_image_that_is_wider_than_high_are_counted():
    height, width = HW
    sides = [[0, 40, 20, 60], [40, 0, 60, 20], [width - 20, 40, width, 60], [40, height - 20, 60, height]]
    inside = [[60, 40, 90, 60]]
    records = [drawn(1, sides + inside, [1] * 5)]
    assert groups(analysis_of(records, nothing(records)), "Border of the image") == {"touches it": 4, "inside": 1}


def test_every_object_is_in_exactly_one_quarter_by_size():
    records = [drawn(1, [[0, 0, side, side] for side in (10, 20, 20, 30, 40, 40, 50, 60)], [1] * 8)]
    assert sum(groups(analysis_of(records, nothing(records)), "Size, in quarters").values()) == 8


def test_galleries_begin_with_the_worst_errors(tmp_path):
    records = with_files([drawn(1, [[0, 0, 20, 20], [30, 0, 80, 50]], [1, 2])], tmp_path)
    boxes = np.float32([[0, 80, 30, 110], [60, 80, 90, 110], [120, 80, 150, 110]])
    analysis = analysis_of(records, [Detections(HW, boxes, np.float32([0.9, 0.7, 0.6]), np.array([1, 1, 1]))])
    wrong, missed, *_ = content(analysis, "galleries")["galleries"]
    assert [shot["text"].split(",")[0] for shot in missed["shots"]] == ["square", "circle"]  # the largest first
    assert [re.findall(r"0\.\d", shot["text"])[0] for shot in wrong["shots"]] == ["0.9", "0.7", "0.6"]


def test_the_class_with_the_most_costly_errors_is_the_first_of_the_budget():
    records = grid(4)
    found = [one[one.labels != 3] for one in detected(records)]
    assert content(analysis_of(records, found), "errors")["classes"][0]["name"] == "triangle"


def test_the_verdict_names_the_class_with_the_lowest_ap50():
    records = grid(4)
    found = [one[one.labels != 3] for one in detected(records)]
    sentences = " ".join(content(analysis_of(records, found), "verdict")["sentences"])
    assert "the weakest class is triangle (AP50 0.00)" in sentences


@pytest.mark.parametrize(("split", "advice"), [("val", "Use a threshold of"), ("test", "choose it on val")])
def test_a_better_threshold_is_only_recommended_if_it_was_chosen_on_val(split, advice):
    records = grid(12)
    evaluation = replace(evaluation_of(records, detected(records, scores=(0.4, 0.3))), split=split)
    sentences = " ".join(content(evaluation.analysis, "verdict")["sentences"])
    assert advice in sentences
    assert ("Use a threshold of" in sentences) == (split == "val")
