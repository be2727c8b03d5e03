"""Health checks, metrics, security headers and pages of the application."""

from __future__ import annotations

import re

import httpx
import pytest
from helpers.api_server import problem_of, running, serving, tiny_model
from helpers.tiny_models import make_image

from detect.media.encoding import encode
from detect.serving.app import create_app
from detect.serving.config import ServeConfig


@pytest.fixture(scope="module")
def client():
    with serving(tiny_model()) as client:
        yield client


@pytest.mark.parametrize(("path", "status"), [("/v1/nothing", 404), ("/v1/detect", 405), ("/../../etc/passwd", 404)])
def test_errors_of_the_framework_are_problem_documents(client, path, status):
    assert "passwd" not in problem_of(client.get(path), status)


def test_pages_and_health_checks_answer_head_requests(client):
    for path in ("/", "/docs", "/healthz", "/readyz"):
        answer = client.head(path)
        assert answer.status_code == 200 and not answer.content


def test_a_server_whose_models_do_not_run_is_not_ready():
    app = create_app(lambda: {}, ServeConfig())
    with running(app) as url:
        app.state.service.close()
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        problem_of(httpx.get(f"{url}/readyz", trust_env=False), 503)


def test_requests_and_images_are_counted(client):
    client.post("/v1/detect", content=encode(make_image((64, 96), 1), "PNG"))
    client.get("/v1/whatever")
    client.request("BREW", "/v1/whatever")
    text = client.get("/metrics").text
    assert 'detect_requests_total{method="POST",route="/v1/detect",status="200"} 1.0' in text
    assert "whatever" not in text and "BREW" not in text and 'method="other"' in text
    assert "detect_images_total 1.0" in text and "detect_queue_length 0.0" in text
    assert "detect_batch_size_count 1.0" in text and "detect_inference_seconds_total" in text


def test_responses_have_security_headers(client):
    for path in ("/", "/v1/models", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "server" not in headers


def test_the_pages_need_no_other_host(client):
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.status_code == 200 and not re.search(r'(src|href)="(https?:)?//(?!www\.rfc-editor)', page.text)
    for name in ("page.css", "page.js", "paint.js", "icon.svg"):
        assert client.get(f"/page/{name}").status_code == 200
