"""Classify a failed connection: wrong configuration, unreachable host, or broken connection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace

import requests
import urllib3.exceptions

from enerflo_sync.enerflo.retry import Fault
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError

#: Errors of the HTTP stack for a request without a complete answer.
TRANSPORT_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def read_environment_once(session: requests.Session, base: str) -> None:
    """Set on ``session`` the proxies and certificates that the environment names for ``base``.

    Otherwise requests scans all environment variables twice per request, a sixth of a request's CPU cost.
    """
    if session.trust_env:
        found = session.merge_environment_settings(base, {}, None, None, None)
        session.proxies, session.verify = found["proxies"], found["verify"]
        session.trust_env = False


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """One attempt without a complete answer.

    :param reached: whether the request may have reached the server.
    :param what: what happened; never contains the address's query.
    :param next_step: what to change if the fault persists.
    """

    fault: Fault
    reached: bool
    what: str
    next_step: str


# The first row whose types occur among the causes applies; `{host}` and `{seconds}` are filled in.
# The order matters: NewConnectionError is also a ConnectTimeoutError in urllib3.
_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], BrokenLine], ...] = (
    (
        (requests.exceptions.ProxyError,),
        BrokenLine(
            Fault.UNREACHABLE,
            False,
            "the proxy on the way to {host} could not be used",
            "Check HTTPS_PROXY and NO_PROXY, or the connection's proxy settings.",
        ),
    ),
    (
        (urllib3.exceptions.NameResolutionError,),
        BrokenLine(
            Fault.UNREACHABLE,
            False,
            "the host name {host} has no address",
            "Check the base URL (https://enerflo.io) and this machine's DNS.",
        ),
    ),
    (
        (urllib3.exceptions.NewConnectionError,),
        BrokenLine(
            Fault.UNREACHABLE,
            False,
            "{host} refused the connection or cannot be reached from here",
            "Check the host and port of the base URL, and that a firewall lets this machine through.",
        ),
    ),
    (
        (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError),
        BrokenLine(
            Fault.UNREACHABLE,
            False,
            "{host} did not accept a connection within {seconds:.0f} s",
            "Check the base URL, and that a firewall or proxy lets this machine through.",
        ),
    ),
    (
        (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError),
        BrokenLine(
            Fault.TIMED_OUT,
            True,
            "{host} did not answer within {seconds:.0f} s",
            "Check the base URL; if it is right, raise the time-out or try later.",
        ),
    ),
)
_NO_CONNECTION = (
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
_DROPPED = BrokenLine(
    Fault.DROPPED,
    True,
    "{host} dropped the connection before the answer was whole",
    "Try later; if it stays, check proxies between this machine and Enerflo.",
)


def explain(error: BaseException, host: str, seconds: float) -> BrokenLine | EnerfloSyncError:
    """Classify ``error``, raised by the HTTP stack for a request to ``host``.

    :param seconds: how long the attempt took.
    :return: a BrokenLine if a retry may help, otherwise the error to raise.
    """
    causes = list(_causes(error))
    if found := _tls_fault(causes, host):
        return found
    if isinstance(error, ValueError):
        return ConfigurationError(
            f"the address of {host} cannot be requested.", next_step="Correct the base URL of the account."
        )
    rows = (meaning for types, meaning in _MEANINGS if any(isinstance(cause, types) for cause in causes))
    meaning = next(rows, _DROPPED)
    if not meaning.reached and not any(_is_before_sending(cause) for cause in causes):
        meaning = _DROPPED
    return replace(meaning, what=meaning.what.format(host=host, seconds=seconds))


def _is_before_sending(cause: BaseException) -> bool:
    """Return whether no connection was established, so that the request was surely not sent.

    A ProxyError alone proves nothing: urllib3 also raises it when a proxy drops the connection after the
    request was sent, as if it had never connected.
    """
    return isinstance(cause, _NO_CONNECTION) or (
        isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed")
    )


def _tls_fault(causes: list[BaseException], host: str) -> ConfigurationError | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError | ssl.CertificateError):
            return ConfigurationError(
                f"the TLS certificate of {host} was not accepted ({cause.verify_message or 'not valid'}).",
                next_step="Check the base URL's host name, or give this machine the CA that signed it.",
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return ConfigurationError(
                f"{host} does not speak TLS on that port.",
                next_step="Correct the port or the scheme of the base URL.",
            )
    if isinstance(causes[0], OSError) and not isinstance(causes[0], requests.RequestException):
        text = str(causes[0])
        if "TLS CA certificate bundle" in text or "TLS certificate file" in text or "TLS key file" in text:
            return ConfigurationError(
                "the CA bundle or client certificate that is set for TLS does not exist.",
                next_step="Correct REQUESTS_CA_BUNDLE, or the connection's verify and cert settings.",
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and every error it wraps; requests and urllib3 hide the cause in their arguments."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        waiting.extend(item for item in inner if isinstance(item, BaseException))
