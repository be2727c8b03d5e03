"""The page /docs shows every route with Swagger UI, contacts no other host and can send requests with a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers.api_server import serving, tiny_model
from helpers.browser import browsing, needs_chromium
from pydantic import TypeAdapter

from detect.serving.examples import responses
from detect.serving.schemas import JsonResponse


@pytest.fixture(scope="module")
def client():
    with serving(tiny_model(threshold=0.35), api_key="sesame") as client:
        yield client


def test_every_route_has_a_summary_and_examples(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, routes in paths.items():
        for method, route in routes.items():
            assert route["summary"] and route["description"], (method, path)
            answers = [one for status, one in route["responses"].items() if status < "300" and status != "204"]
            for answer in answers:
                contents = answer["content"]
                assert any(
                    {"example", "examples"} & set(one) or "$ref" in one["schema"] or "format" in one["schema"]
                    for one in contents.values()
                ), (method, path)


@pytest.mark.parametrize("title", responses())
def test_examples_fit_their_schema(title):
    TypeAdapter(JsonResponse).validate_python(json.loads(json.dumps(responses()[title]["value"])))


@contextmanager
def docs(client) -> Iterator[Any]:
    """Yield the page. At the end, check that it did not violate the Content-Security-Policy."""
    problems: list[str] = []
    with browsing(f"{str(client.base_url).rstrip('/')}/docs") as page:
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.reload()
        page.wait_for_selector(".opblock")
        yield page
    assert not problems


@needs_chromium
def test_the_page_shows_every_route(client):
    routes = client.get("/openapi.json").json()["paths"]
    with docs(client) as page:
        assert page.locator(".opblock").count() == sum(map(len, routes.values()))


@needs_chromium
@pytest.mark.slow
def test_a_request_can_be_sent_with_a_key(client):
    with docs(client) as page:
        page.click("button.authorize")
        page.fill(".modal-ux input", "sesame")
        page.click(".modal-ux button.authorize")
        page.click(".modal-ux button.btn-done")
        route = page.locator("#operations-images-detect_v1_detect_post")
        route.locator(".opblock-summary-control").click()
        route.get_by_label("Request content type").select_option("application/json")
        route.locator("button.execute").click()
        status = route.locator(".live-responses-table .response-col_status").nth(1)
        status.wait_for()
        assert status.inner_text().startswith("200")
        assert "detect/1" in route.locator(".live-responses-table").inner_text()
