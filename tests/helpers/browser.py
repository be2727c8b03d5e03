"""A page in the system's Chromium, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@contextmanager
def browsing(url: str, size: tuple[int, int] = (1200, 900)) -> Iterator:
    """A page of playwright's at ``url``. Afterwards it is seen that it asked no other host for anything and that no
    script of it broke."""
    from playwright.sync_api import sync_playwright

    asked, broken = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: broken.append(str(error)))
            page.goto(url)
            yield page
        finally:
            browser.close()
    own = url.split("://")[1].split("/")[0]
    others = [one for one in asked if not one.startswith(("blob:", "data:")) and one.split("/")[2] != own]
    assert not others and not broken
