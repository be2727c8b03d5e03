"""A web page in the system's Chromium, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TIMEOUT = 600_000  # milliseconds; a busy machine is slow
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@contextmanager
def launched(*arguments: str) -> Iterator:
    """Yield a browser of playwright. arguments: further options of Chromium's command line."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", *arguments]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def browsing(url: str, size: tuple[int, int] = (1200, 900)) -> Iterator:
    """Yield the page at ``url`` in a browser of its own; see ``opened``."""
    with launched() as browser, opened(browser, url, size) as page:
        yield page


@contextmanager
def opened(browser, url: str, size: tuple[int, int] = (1200, 900), **options: object) -> Iterator:
    """Yield the page at ``url`` in a new profile. At the end of the block, check that it sent no request to another
    host and that no script of it failed.

    options: those of playwright's ``new_context``.
    """
    requested, errors = [], []
    viewport = {"width": size[0], "height": size[1]}
    page = browser.new_page(viewport=viewport, accept_downloads=True, **options)
    try:
        page.set_default_timeout(TIMEOUT)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
    finally:
        page.close()
    host = url.split("://")[1].split("/")[0]
    foreign = [one for one in requested if not one.startswith(("blob:", "data:")) and one.split("/")[2] != host]
    assert not foreign and not errors
