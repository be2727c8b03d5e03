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
def launched() -> Iterator:
    """Yield a browser of playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def browsing(url: str, size: tuple[int, int] = (1200, 900)) -> Iterator:
    """Yield the page at ``url``. At the end of the block, check that it sent no request to another host and that no
    script of it failed."""
    requested, errors = [], []
    with launched() as browser:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
        page.set_default_timeout(TIMEOUT)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
    host = url.split("://")[1].split("/")[0]
    foreign = [one for one in requested if not one.startswith(("blob:", "data:")) and one.split("/")[2] != host]
    assert not foreign and not errors
