"""Which company at Salesforce, and the credentials for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from enerflo_sync.errors import ConfigurationError


@dataclass(frozen=True)
class SalesforceLogin:
    """The company's address and credentials: an app's key and secret, or a token that cannot be renewed.

    :param where: what a message names: a section of sync.yaml, or an Airflow connection.
    """

    url: str
    where: str
    client_id: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    api_version: str = "v61.0"
    keep_free_percent: float = 20.0

    @property
    def base(self) -> str:
        """Return the address without a final slash.

        :raises ConfigurationError: it is no address, or would send secrets unencrypted to another machine.
        """
        return base_address(self.url, self.where)

    @property
    def renews(self) -> bool:
        """Return whether a new token can be asked for."""
        return bool(self.client_id and self.client_secret)


def base_address(url: str, where: str) -> str:
    """Return scheme and host of an address.

    :raises ConfigurationError: it is none, or would send secrets unencrypted to another machine.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    beside = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not host or beside:
        raise ConfigurationError(
            "the address of the company at Salesforce is not of the form https://company.my.salesforce.com.",
            where=where,
            next_step="Write it as Setup, My Domain shows it, without a path.",
        )
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ConfigurationError(
            f"the address would send the secret to {host} without encryption.",
            where=where,
            next_step="Write it with https.",
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
