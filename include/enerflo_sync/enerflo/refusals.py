"""The error for each HTTP status that is not a success (REFERENCE.md §12)."""

from __future__ import annotations

from urllib.parse import urlsplit

from enerflo_sync.enerflo.failures import AuthenticationError, PermissionRefusedError, VendorRefusedError
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError, NotFoundError

_TRANSIENT = frozenset({408, 425, 429})
# Enerflo refuses only this request for an unconverted lead (REFERENCE.md §6.4).
_LEAD_UPDATE = "PUT /api/v3/customers/"
_HEAVY = frozenset({500, 502, 504})


def is_transient(status: int) -> bool:
    """Return whether the same request may succeed later: 408, 425, 429 and every 5xx."""
    return status in _TRANSIENT or status >= 500


def is_heavy(status: int, retry_after: float | None) -> bool:
    """Return whether requesting fewer rows may help: a 500, 502 or 504 without a ``retry-after``."""
    return status in _HEAVY and retry_after is None


def refusal(status: int, where: str, location: str | None) -> EnerfloSyncError:
    """Return the error for a status that a retry does not change.

    :param where: method and path.
    :param location: the ``location`` header of a redirect.
    """
    if 300 <= status < 400:
        return _redirected(status, where, location)
    if status == 401:
        return AuthenticationError(
            "Enerflo does not accept the API key (401).",
            where=where,
            next_step="Put a valid key of this company into ENERFLO_API_KEY, or its Airflow connection.",
            status=status,
        )
    if status == 403:
        next_step = "Ask for the permission in Enerflo."
        if where.startswith(_LEAD_UPDATE):
            next_step = (
                "An unconverted lead is not updated as a customer; else ask for the permission in Enerflo."
            )
        return PermissionRefusedError(
            "the API key may not do this (403).", where=where, next_step=next_step, status=status
        )
    if status in (404, 410):
        return NotFoundError(
            f"the record or endpoint does not exist ({status}).",
            where=where,
            next_step="A record that was known before counts as deleted; else check the base URL and the id.",
        )
    return VendorRefusedError(
        f"Enerflo refused the request ({status}).",
        where=where,
        next_step="Correct what is sent; the same request will be refused again.",
        status=status,
    )


def _redirected(status: int, where: str, location: str | None) -> ConfigurationError:
    # Show only the host: the rest of a redirect's target may contain a signature.
    try:
        target = urlsplit(location or "").hostname or "another path of the same host"
    except ValueError:
        target = "an address that cannot be read"
    return ConfigurationError(
        f"Enerflo redirects ({status}) to {target}, and the API key is not sent along.",
        where=where,
        next_step="Set the base URL to the address that answers itself.",
    )
