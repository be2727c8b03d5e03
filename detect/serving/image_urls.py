"""Load images from web addresses that callers give, but none from the networks of the server.

A server that loads every address would let its callers reach what only the server can reach: server-side request
forgery (https://owasp.org/www-community/attacks/Server_Side_Request_Forgery). So a host must have public addresses
only, and the connection goes to the address that was checked: a second name resolution could have another result (DNS
rebinding). Each redirect is checked in the same way. Proxies of the environment are not used.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

import anyio
import h11
from anyio.abc import ByteStream

from detect.serving.errors import ImageProblemError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL = 4000  # characters
_MAX_REDIRECTS = 3
_CHUNK = 2**16  # bytes
_PORTS = {"http": 80, "https": 443}
_RELAYS = tuple(map(ipaddress.ip_network, ("192.88.99.0/24", "64:ff9b::/32")))  # lead to other IPv4 addresses


@dataclass(frozen=True)
class _Target:
    """Parsed URL.  path: path with query string."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class _RefusedError(Exception):
    """The image cannot be loaded. Its text completes the sentence "NAME cannot be loaded: ..."."""


async def load_image(
    url: str,
    name: str,
    max_bytes: int,
    seconds: float,
    take_bytes: Callable[[int], None],
    networks: Sequence[str] = (),
) -> bytes:
    """Return the file at ``url``.

    name: of the image, for messages.
    max_bytes: maximum size of the file.
    seconds: maximum time.
    take_bytes: called with the number of bytes before they are kept in memory.
    networks: networks, such as ``10.1.0.0/16``, whose addresses are allowed although they are not public.

    Raises ImageProblemError 413 (too large) or 422, and what ``take_bytes`` raises.
    """
    try:
        with anyio.fail_after(seconds):
            for _ in range(_MAX_REDIRECTS + 1):
                target = _target(url)
                async with await _connected(target, networks) as stream:
                    content = await _answer(stream, target, max_bytes, take_bytes)
                if isinstance(content, bytes):
                    return content
                try:
                    url = urljoin(url, content)
                except ValueError:
                    raise _RefusedError("it is redirected to an invalid address") from None
            raise _RefusedError(f"more than {_MAX_REDIRECTS} redirects")
    except _RefusedError as error:
        reason = str(error)
    except TimeoutError:
        reason = "the host does not answer in time"
    except ssl.SSLCertVerificationError:
        reason = "the certificate of its host is not valid"
    except (OSError, UnicodeError, h11.ProtocolError, anyio.BrokenResourceError, anyio.EndOfStream):
        reason = "the connection failed"  # without the details, which would describe the network of the server
    raise ImageProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} cannot be loaded: {reason}")


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the internet.

    It is not private, shared, loopback, link-local, multicast, reserved or unspecified, and embeds no such address
    (IPv4-mapped IPv6). Addresses that may lead to another IPv4 address (6to4, Teredo, NAT64) do not count either.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False
    special = address.is_private or address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in network for network in _RELAYS)


def _target(url: str) -> _Target:
    """Return the parts of a URL. Raises _RefusedError for an invalid one, and for schemes but http and https."""
    if len(url) > MAX_URL:
        raise _RefusedError(f"its web address has more than {MAX_URL:,} characters")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise _RefusedError("the web address is invalid") from None
    if scheme not in _PORTS or not host:
        raise _RefusedError("only http:// and https:// addresses are loaded")
    if "@" in parts.netloc:
        raise _RefusedError("the web address has a user name")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
    host = host if host.isascii() else host.encode("idna").decode()
    return _Target(scheme, host, port or _PORTS[scheme], path + query)


async def _connected(target: _Target, networks: Sequence[str]) -> ByteStream:
    """Return a connection to one of the addresses of a host, after all of them have been checked."""
    allowed = [ipaddress.ip_network(network) for network in networks]
    found = await anyio.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(address[0]) for *_, address in found]
    if not all(is_public(one) or any(one in network for network in allowed) for one in addresses):
        raise _RefusedError("its host is not on the internet")
    for position, address in enumerate(addresses, 1):
        try:
            if target.scheme == "http":
                return await anyio.connect_tcp(str(address), target.port)
            return await anyio.connect_tcp(
                str(address), target.port, tls=True, tls_hostname=target.host, tls_standard_compatible=False
            )
        except OSError:
            if position == len(addresses):
                raise
    raise _RefusedError("its host has no address")


async def _answer(
    stream: ByteStream, target: _Target, max_bytes: int, take_bytes: Callable[[int], None]
) -> bytes | str:
    """Request a file and return its content, or the address to which the host redirects."""
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", target.host_header), ("User-Agent", "detect"), ("Accept", "image/*"), ("Connection", "close")]
    request = h11.Request(method="GET", target=target.path, headers=headers)
    await stream.send((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    content = bytearray()
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            connection.receive_data(await _received(stream))
        elif isinstance(event, h11.Response):
            if (location := _redirect(event)) is not None:
                return location
            _check_size(int(dict(event.headers).get(b"content-length", b"0")), max_bytes)
        elif isinstance(event, h11.Data):
            _check_size(len(content) + len(event.data), max_bytes)
            take_bytes(len(event.data))
            content += event.data
        elif isinstance(event, h11.ConnectionClosed):
            raise _RefusedError("the host answers with an error")
    if not content:
        raise _RefusedError("the file is empty")
    return bytes(content)


async def _received(stream: ByteStream) -> bytes:
    """Return the next bytes, b"" at the end of the connection."""
    try:
        return await stream.receive(_CHUNK)
    except anyio.EndOfStream:
        return b""


def _redirect(response: h11.Response) -> str | None:
    """Return the address to which a response redirects, or None for a file. Raises _RefusedError for an error."""
    if response.status_code == HTTPStatus.OK:
        return None
    location = dict(response.headers).get(b"location")
    if response.status_code in (301, 302, 303, 307, 308) and location:
        return location.decode("latin-1")
    raise _RefusedError(f"its host answers with status {response.status_code}")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        detail = f"an image may have at most {max_bytes:,} bytes"
        raise ImageProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
