"""Checks of every request to /v1: the page it comes from, the host name it uses, its key and its parameters."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from detect.options import near_settings
from detect.progress import spelled
from detect.serving.errors import ProblemError
from detect.text import unknown


def access_checks(api_key: str | None, origins: Sequence[str], hosts: Sequence[str]) -> list[Any]:
    """Return the dependencies of the /v1 routes, which raise ProblemError 401, 403 or 422.

    api_key: see ``create_app``.
    origins: web sites whose pages may send requests, as ``scheme://host[:port]``; ``*`` allows all.
    hosts: names that the Host header of requests without a key may have, in addition to localhost, IP addresses and
        names without a dot. ``*.example.org`` allows all names with this ending, ``*`` allows all.
    """
    caller = _ApiKey(api_key) if api_key else _check_host(hosts)
    return [Depends(_check_origin(origins)), Depends(caller), Depends(_check_parameters)]


def _check_origin(origins: Sequence[str]) -> Callable[[Request], None]:
    """Return a check that refuses requests from pages of other sites, unless ``origins`` lists the site.

    Such a page could send requests without the knowledge of its visitor. Browsers state the origin of a request in
    Fetch Metadata headers (https://www.w3.org/TR/fetch-metadata/).
    """

    def check(request: Request) -> None:
        origin = request.headers.get("origin", "")
        if site := request.headers.get("sec-fetch-site"):
            is_foreign = site not in ("none", "same-origin")
        else:  # browsers omit the header on pages that were loaded without TLS
            is_foreign = bool(origin) and urlsplit(origin).netloc != request.headers.get("host")
        if is_foreign and not {"*", origin}.intersection(origins):
            detail = "requests from pages of other sites are refused; the server setting `origins` allows a site"
            raise ProblemError(HTTPStatus.FORBIDDEN, spelled(detail))

    return check


def _check_host(hosts: Sequence[str]) -> Callable[[Request], None]:
    """Return a check of the Host header, which protects a server without a key from DNS rebinding.

    An attacker can point a domain to the address of this machine, and browsers then treat the attacker's page as a
    page of this server (https://en.wikipedia.org/wiki/DNS_rebinding). IP addresses and names without a dot cannot be
    registered on the internet, so they are always allowed; ``hosts`` lists more names.
    """

    def check(request: Request) -> None:
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        except ValueError:
            name = ".invalid"
        if not (_is_local_name(name) or any(fnmatch(name, host.lower()) for host in hosts)):
            detail = "the name in the Host header is not allowed; the server setting `hosts` allows names"
            raise ProblemError(HTTPStatus.FORBIDDEN, spelled(detail))

    return check


def _is_local_name(host: str) -> bool:
    """Return whether ``host`` is an IP address or a name that nobody can register on the internet."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(".localhost")
    return True


def _check_parameters(request: Request) -> None:
    """Refuse unknown query parameters, since a misspelled one would have no effect."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    if unexpected := [name for name in request.query_params if name not in known]:
        name = unexpected[0][:60]
        if not known:
            detail = f"unknown parameter '{name}': this route has no parameters"
        else:
            detail = unknown("parameter", name, known, near_settings(name, known))
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


class _ApiKey(HTTPBearer):
    """Dependency that checks the API key of a request, and describes it in the OpenAPI document."""

    def __init__(self, key: str) -> None:
        super().__init__(auto_error=False)
        self._key = key.encode()

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = bearer if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(key.encode("latin-1"), self._key):
            detail = "a valid key is required: Authorization: Bearer KEY"
            raise ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
