"""The report in a browser: no sideways scrolling on a phone, legible in light, dark and print, nothing loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.browser import TIMEOUT, launched, needs_chromium
from helpers.evaluations import evaluation_of, with_files
from helpers.scenes import noisy_scene

from detect.structures.class_names import ClassNames

pytestmark = [needs_chromium, pytest.mark.slow]

# Contrast of the text of each element with the first opaque background around it, by WCAG 2 (1..21).
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = rgb(getComputedStyle(one).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!isText || element.closest('.heat')) continue;
    const style = getComputedStyle(element);
    const front = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(front), luminance(behind(element))].sort();
    found.push([(b + 0.05) / (a + 0.05), `${element.tagName} ${element.className.baseVal ?? element.className}`]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report with long names and file names, masks, and a crop for every kind of error."""
    folder = tmp_path_factory.mktemp("report")
    records, found = noisy_scene()
    records = with_files(records, folder, name="a_very_long_name_of_an_image_file_without_any_space_" * 3)
    names = ClassNames(
        ("circle", "a class with a rather long name of many words", "donaudampfschifffahrtsgesellschaft")
    )
    found = [replace(one, scores=one.scores) for one in found]
    evaluation_of(records, found, names, model="a/long/path/of/a/model_file_with_a_name.safetensors").save_report(
        folder / "report.html"
    )
    return folder / "report.html"


def open_report(browser, path: Path, width: int, **options):
    """Return the page, and the list in which the addresses of its requests and its messages are collected."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    page.set_default_timeout(TIMEOUT)
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.goto(path.as_uri())
    return page, [one for one in seen if not one.startswith(("data:", path.as_uri()))]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_wide_as_the_window_legible_and_loads_nothing(report, width, scheme):
    with launched() as browser:
        page, foreign = open_report(browser, report, width, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        lowest = sorted(page.evaluate(CONTRAST))[:3]
        assert lowest[0][0] >= 4.5, lowest
        assert not foreign


def test_printed_pages_are_light_show_whole_tables_and_fit_the_paper(report):
    with launched() as browser:
        page, _ = open_report(browser, report, 718, color_scheme="dark")  # A4 without margins of 10 mm, at 96 dpi
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") <= 718
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        hidden = (
            "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollHeight > one.clientHeight + 1).length"
        )
        assert page.evaluate(hidden) == 0
        assert sorted(page.evaluate(CONTRAST))[0][0] >= 4.5
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_every_crop_is_drawn_and_every_section_is_linked(report):
    with launched() as browser:
        page, _ = open_report(browser, report, 1280)
        sizes = page.evaluate(
            "[...document.querySelectorAll('.shots image')].map((one) => one.getBoundingClientRect().width)"
        )
        assert len(sizes) > 10 and min(sizes) > 100
        for link in page.query_selector_all("nav a"):
            assert page.query_selector(link.get_attribute("href")), link
