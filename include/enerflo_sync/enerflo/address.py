"""The account's address and key, checked once before the first request."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from enerflo_sync.errors import ConfigurationError


def base_address(base_url: str) -> tuple[str, str]:
    """Return the base URL without a trailing slash, and its host with port for messages.

    :raises ConfigurationError: the text is not an http(s) URL, contains a user name, a query or a fragment,
        or would send the key unencrypted to a host that is not this machine.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if (
        parts.scheme not in ("http", "https")
        or not host
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ConfigurationError(
            "the base URL is not of the form https://host[:port].",
            next_step="Set it to https://enerflo.io, or to the address of a sandbox.",
        )
    shown = host if port is None else f"{host}:{port}"
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ConfigurationError(
            f"the base URL would send the API key to {shown} without encryption.",
            next_step="Use https; plain http is for a sandbox on this machine.",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", shown


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class ApiKeyHeader(AuthBase):
    """Adds the ``api-key`` header to each request and hides the key from ``repr``.

    Passing it as ``auth`` also stops requests from looking up a password in ``.netrc``.

    :raises ConfigurationError: the key is empty or cannot stand in a header.
    """

    __slots__ = ("_key",)

    def __init__(self, api_key: str) -> None:
        key = api_key.strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(
                "the API key is empty or holds characters that a key never has.",
                next_step="Copy it again from Enerflo's company settings.",
            )
        self._key = key

    def __repr__(self) -> str:
        return "ApiKeyHeader(***)"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return ``request`` with the header set."""
        request.headers["api-key"] = self._key
        return request
