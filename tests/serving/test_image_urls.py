"""Images are loaded from web addresses on the internet only, from the very address that was checked."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import anyio
import pytest
import trustme
from helpers.api_server import problem_of, serving, tiny_model
from helpers.tiny_models import make_image

from detect.media.encoding import encode
from detect.serving.config import ServeConfig
from detect.serving.errors import ImageProblemError
from detect.serving.image_urls import is_public, load_image

PNG = encode(make_image((64, 96), 1), "PNG")
LOOPBACK = ("127.0.0.0/8",)  # allowed where a test needs a host
HOST = "images.example"  # resolved by ``resolving``


class _Host(BaseHTTPRequestHandler):
    """A host of images, which records the requests."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[tuple[str, str]]] = []
    stopped: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        self.requests.append((self.headers["Host"], self.path))
        name, _, value = self.path[1:].partition("/")
        if name == "redirect":
            self._send(302, b"", {"Location": value})
        elif name == "malformed":
            self._send(302, b"", {"Location": "http://[::1"})
        elif name == "chunks":
            self._send(200, None, {"Transfer-Encoding": "chunked"})
            for start in range(0, len(PNG), 100):
                chunk = PNG[start : start + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        elif name == "endless":
            self._send(200, None, {"Transfer-Encoding": "chunked"})
            while not self.stopped.is_set():
                try:
                    self.wfile.write(b"a\r\n0123456789\r\n")
                except OSError:
                    break
        elif name == "slow":
            self.stopped.wait(20)
        elif name == "half":
            self._send(200, PNG[:50], {"Content-Length": str(len(PNG))})
            self.close_connection = True
        elif name == "claims":
            self._send(200, b"", {"Content-Length": str(10**9)})
        else:
            self._send(200 if name.partition("?")[0].endswith(".png") else 404, PNG)

    def _send(self, status: int, content: bytes | None, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if content is not None:
            headers = {"Content-Length": str(len(content))} | (headers or {})
        for header, value in (headers or {}).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def host(certificate: trustme.LeafCert | None = None) -> Iterator[int]:
    """Run the host of images, with TLS if it has a certificate, and yield its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Host)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with host() as port:
        yield port
        _Host.stopped.set()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def _no_requests_of_other_tests():
    _Host.requests.clear()


def resolving(monkeypatch, *results: list[str]) -> list[str]:
    """Let HOST resolve to each of ``results`` in turn, and return the list of the names that are resolved."""
    names: list[str] = []
    real, answers = socket.getaddrinfo, list(results)

    def resolve(host, port, *arguments, **keywords):
        if host not in (HOST, HOST.encode()):
            return real(host, port, *arguments, **keywords)
        names.append(HOST)
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]
        return [(f, socket.SOCK_STREAM, 6, "", (one, port)) for f, one in zip(families, addresses, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


def load(url: str, *, networks=LOOPBACK, max_bytes=100_000, seconds=10.0) -> bytes:
    async def run() -> bytes:
        return await load_image(url, "a.png", max_bytes, seconds, lambda _: None, networks)

    return anyio.run(run)


def refusal(url: str, status: int = 422, **options) -> str:
    with pytest.raises(ImageProblemError) as caught:
        load(url, **options)
    assert caught.value.status == status
    return caught.value.detail


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("192.88.99.1", "::1", "::", "fe80::1", "fe80::1%2", "fc00::1", "fd12::1", "ff02::1", "fec0::1"),
        *("2001:db8::1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1"),
    ],
)
def test_addresses_that_are_not_on_the_internet_are_refused(monkeypatch, address):
    assert not is_public(ipaddress.ip_address(address))
    resolving(monkeypatch, [address])
    assert refusal(f"http://{HOST}/a.png", networks=()).endswith("cannot be loaded: its host is not on the internet")


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::6810:84e5", "::ffff:8.8.8.8"])
def test_addresses_on_the_internet_are_allowed(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0", "localhost", "[::1]"])
def test_no_spelling_of_this_machine_is_connected(host, port):
    refusal(f"http://{host}:{port}/a.png", networks=())
    assert not _Host.requests


def test_a_host_with_a_public_and_a_private_address_is_refused(monkeypatch, port):
    resolving(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    assert "not on the internet" in refusal(f"http://{HOST}:{port}/a.png", networks=())
    assert not _Host.requests


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch, port):
    """A name server can answer with another address at the second time (DNS rebinding)."""
    names = resolving(monkeypatch, ["127.0.0.1"], ["10.255.255.1"])
    assert load(f"http://{HOST}:{port}/a.png?b=ü c") == PNG
    assert names == [HOST] and _Host.requests == [(f"{HOST}:{port}", "/a.png?b=%C3%BC%20c")]


def test_the_next_address_is_tried_if_a_host_has_several(monkeypatch, port):
    resolving(monkeypatch, ["127.0.0.2", "127.0.0.1"])  # the host listens on the second only
    assert load(f"http://{HOST}:{port}/a.png") == PNG


def test_each_redirect_is_checked(monkeypatch, port):
    resolving(monkeypatch, ["127.0.0.1"], ["10.255.255.1"])
    base = f"http://127.0.0.1:{port}"
    assert load(f"{base}/redirect//a.png") == PNG
    assert load(f"{base}/redirect/{base}/redirect/{base}/a.png") == PNG
    networks = ("127.0.0.1/32",)
    assert "not on the internet" in refusal(f"{base}/redirect/http://127.0.0.2:{port}/a.png", networks=networks)
    assert "only http" in refusal(f"{base}/redirect/file:///etc/passwd")
    assert "only http" in refusal(f"{base}/redirect/ftp://127.0.0.1/a.png")
    assert "invalid address" in refusal(f"{base}/malformed")
    assert "more than 3 redirects" in refusal(f"{base}/redirect/" * 4 + "a.png")
    assert load(f"http://{HOST}:{port}/a.png") == PNG
    assert "not on the internet" in refusal(f"{base}/redirect/http://{HOST}:{port}/a.png")


def test_a_body_in_chunks_is_joined(port):
    assert load(f"http://127.0.0.1:{port}/chunks") == PNG


@pytest.mark.parametrize("path", ["a.png", "chunks", "endless", "claims"])
def test_a_file_that_is_too_large_ends_the_request(port, path):
    assert "at most 1,000 bytes" in refusal(f"http://127.0.0.1:{port}/{path}", 413, max_bytes=1000)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{port}/missing", "answers with status 404"),
        ("http://127.0.0.1:{port}/half", "the connection failed"),
        ("https://127.0.0.1:{port}/a.png", "the connection failed"),
        ("http://127.0.0.1:1/a.png", "the connection failed"),
        ("http://user:word@127.0.0.1:{port}/a.png", "has a user name"),
        ("http://[::1/a.png", "is invalid"),
        ("http://127.0.0.1:99999/a.png", "is invalid"),
        ("http:///a.png", "only http"),
        ("gopher://127.0.0.1:{port}/a.png", "only http"),
    ],
)
def test_a_failure_is_one_line_without_details_of_the_network(port, url, words):
    detail = refusal(url.replace("{port}", str(port)))
    assert words in detail and "127.0.0.1" not in detail


@pytest.fixture
def trusted(monkeypatch, tmp_path, authority) -> None:
    """Let ``authority`` be the only one whose certificates this process accepts."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


def test_an_image_is_loaded_from_a_host_with_a_valid_certificate(monkeypatch, authority, trusted):
    resolving(monkeypatch, ["127.0.0.1"])
    with host(authority.issue_cert(HOST)) as port:
        assert load(f"https://{HOST}:{port}/a.png") == PNG
    assert _Host.requests == [(f"{HOST}:{port}", "/a.png")]


@pytest.mark.parametrize(
    ("names", "is_trusted"),
    [(["other.example"], True), (["127.0.0.1"], True), ([f"*.{HOST}"], True), ([HOST, "127.0.0.1"], False)],
    ids=["another host", "the address of the host", "a part of the host", "unknown authority"],
)
def test_a_host_without_a_valid_certificate_for_its_name_gets_no_request(
    monkeypatch, authority, trusted, names, is_trusted
):
    resolving(monkeypatch, ["127.0.0.1"])
    certificate = (authority if is_trusted else trustme.CA()).issue_cert(*names)
    with host(certificate) as port:
        assert "certificate of its host is not valid" in refusal(f"https://{HOST}:{port}/a.png")
        redirect = f"https://{HOST}:{port}/a.png"
        with host() as plain:
            assert "certificate" in refusal(f"http://127.0.0.1:{plain}/redirect/{redirect}")
    assert [path for _, path in _Host.requests] == [f"/redirect/{redirect}"]


def test_a_host_that_does_not_answer_is_left(port):
    assert "in time" in refusal(f"http://127.0.0.1:{port}/slow", seconds=0.2)


def test_a_request_names_images_by_url_if_the_server_allows_it(port):
    images = [{"url": f"http://127.0.0.1:{port}/a.png"}, {"url": f"http://127.0.0.1:{port}/missing", "name": "b"}]
    with serving(tiny_model(threshold=0.35), image_urls=True, url_networks=LOOPBACK) as client:
        found, failed = client.post("/v1/detect", json={"images": images}).json()["images"]
        assert found["source"] == "a.png" and found["detections"]
        assert failed["source"] == "b" and "status 404" in failed["error"]["detail"]
        problem_of(client.post("/v1/detect", json={"images": images[1:]}), 422)
        assert len(_Host.requests) == 3
        assert '{"url": TEXT' in problem_of(client.post("/v1/detect", json={"images": [{"link": "a"}]}), 422)


def test_each_address_that_cannot_be_loaded_fails_alone(port):
    base = f"127.0.0.1:{port}/a.png"
    reasons = {
        f"ftp://{base}": "only http:// and https://",
        "a.png": "only http:// and https://",
        "": "only http:// and https://",
        f"http://{base}?{'a' * 5000}": "more than 4,000 characters",
        "http://a\0b/a.png": "the connection failed",
        "http://[::1": "the web address is invalid",
        "http:///a.png": "only http:// and https://",
        f"http://{'a' * 3000}/": "the connection failed",
    }
    images = [{"url": f"HTTP://{base}", "name": None}, *({"url": url} for url in reasons)]
    with serving(tiny_model(threshold=0.35), image_urls=True, url_networks=LOOPBACK) as client:
        found, *failed = client.post("/v1/detect", json={"images": images}).json()["images"]
    assert found["source"] == "a.png" and found["detections"] and len(_Host.requests) == 1
    for image, reason in zip(failed, reasons.values(), strict=True):
        assert image["error"]["status"] == 422 and reason in image["error"]["detail"]


def test_no_address_is_loaded_by_default():
    assert (ServeConfig().image_urls, ServeConfig().url_networks) == (False, ())
