"""Requests to /v1 need the key, an allowed origin, an allowed host name and known parameters."""

from __future__ import annotations

import pytest
from helpers.api_server import problem_of, serving, tiny_model
from helpers.tiny_models import make_image

from detect.media.encoding import encode

PNG = encode(make_image((64, 96), 1), "PNG")
SITE = "https://example.org"


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def client(model):
    with serving(model) as client:
        yield client


def test_a_key_is_required_when_one_is_set(model):
    with serving(model, api_key="sesame") as client:
        assert "key" in problem_of(client.get("/v1/models"), 401)
        for headers in ({"Authorization": "Bearer open"}, {"X-API-Key": "é".encode()}, {"Authorization": "sesame"}):
            problem_of(client.post("/v1/detect", content=PNG, headers=headers), 401)
        for headers in ({"Authorization": "Bearer sesame"}, {"X-API-Key": "sesame"}):
            assert client.post("/v1/detect", content=PNG, headers=headers).status_code == 200
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_a_key_may_have_non_ascii_letters(model):
    with serving(model, api_key="schlüssel") as client:
        headers = {"Authorization": "Bearer schlüssel".encode()}
        assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/v1/models", headers={"X-API-Key": "schlussel"}).status_code == 401


def test_cors_headers_are_sent_to_allowed_origins_only(client, model):
    assert "access-control-allow-origin" not in client.get("/v1/models", headers={"Origin": SITE}).headers
    with serving(model, origins=[SITE]) as client:
        assert client.get("/v1/models", headers={"Origin": SITE}).headers["access-control-allow-origin"] == SITE
        assert "access-control-allow-origin" not in client.get("/v1/models", headers={"Origin": "https://x.y"}).headers


def test_a_preflight_request_of_an_allowed_origin_is_answered(model):
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    with serving(model, origins=[SITE], api_key="sesame") as client:
        allowed = client.options("/v1/detect", headers=headers).headers
        assert allowed["access-control-allow-origin"] == SITE
        assert "POST" in allowed["access-control-allow-methods"]
        assert allowed["access-control-allow-headers"].lower() == "authorization"
        answer = client.get("/v1/models", headers={"Origin": SITE})
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


def test_requests_from_pages_of_other_sites_are_refused(client, model):
    foreign = {"Origin": SITE, "Sec-Fetch-Site": "cross-site"}
    for headers in (foreign, foreign | {"Sec-Fetch-Site": "same-site"}):
        assert "origins" in problem_of(client.post("/v1/detect", content=PNG, headers=headers), 403)
        problem_of(client.post("/v1/detect/video", content=PNG, headers=headers), 403)
    for own in ("same-origin", "none"):
        headers = foreign | {"Sec-Fetch-Site": own}
        assert client.post("/v1/detect", content=PNG, headers=headers).status_code == 200
    for origin in (SITE, "*"):
        with serving(model, origins=[origin]) as client:
            assert client.post("/v1/detect", content=PNG, headers=foreign).status_code == 200


def test_without_fetch_metadata_the_origin_header_decides(client):
    """Browsers omit Sec-Fetch-Site on pages that were loaded without TLS."""
    own = str(client.base_url).rstrip("/")
    assert client.post("/v1/detect", content=PNG, headers={"Origin": own}).status_code == 200
    problem_of(client.post("/v1/detect", content=PNG, headers={"Origin": "http://example.org"}), 403)


def status_for_host(client, host: str) -> int:
    return client.get("/v1/models", headers={"Host": host}).status_code


def test_host_names_that_can_be_registered_are_refused(client):
    """DNS rebinding: a domain of somebody else that points to this machine."""
    for host in ("example.org", "Example.ORG:8000", "127.0.0.1.example.org", "localhost.", "[::1"):
        assert "hosts" in problem_of(client.get("/v1/models", headers={"Host": host}), 403)
        problem_of(client.post("/v1/detect/video", content=PNG, headers={"Host": host}), 403)
    for host in ("localhost:8000", "LOCALHOST", "192.168.0.7", "[::1]:8000", "app.localhost", "detect:8000"):
        assert status_for_host(client, host) == 200
    assert client.get("/healthz", headers={"Host": "example.org"}).status_code == 200


def test_host_names_can_be_allowed_and_a_key_allows_all(model):
    with serving(model, hosts=["detect.Example.org", "*.example.net"]) as client:
        hosts = ("detect.example.org:8000", "a.example.net", "example.net", "a.example.org")
        assert [status_for_host(client, host) for host in hosts] == [200, 200, 403, 403]
    with serving(model, hosts=["*"]) as client:
        assert status_for_host(client, "example.org") == 200
    with serving(model, api_key="sesame") as client:
        client.headers["Authorization"] = "Bearer sesame"
        assert status_for_host(client, "example.org") == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("/v1/detect?thresh=0.5", "unknown parameter 'thresh': did you mean threshold?"),
        ("/v1/detect/video?strides=2", "did you mean stride?"),
        ("/v1/detect?conf=0.3", "unknown parameter 'conf': did you mean threshold?"),
        ("/v1/detect/video?vid_stride=2", "did you mean stride?"),
        ("/v1/detect?threshold=0.5&a=1&model=tiny", "unknown parameter 'a': known are"),
        ("/v1/models?a=1", "unknown parameter 'a': this route has no parameters"),
    ],
)
def test_an_unknown_query_parameter_is_an_error(client, query, words):
    method = "GET" if "models" in query else "POST"
    assert words in problem_of(client.request(method, query, content=PNG), 422)
