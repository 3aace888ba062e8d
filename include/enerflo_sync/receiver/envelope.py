"""The file for one post: its name, and one JSON object around the original body."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

# None of these headers contains credentials or personal data.
KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "x-enerflo-event",
    "x-request-id",
    "x-correlation-id",
    "x-amzn-trace-id",
    "traceparent",
)
_LONGEST_HEADER = 1_000
_BOM = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r\n"

_raw = msgspec.json.Decoder(msgspec.Raw)
_encoder = msgspec.json.Encoder()


class Envelope(msgspec.Struct, frozen=True):
    """The content of one file of the receiver.

    :param received_at: UTC with microseconds, ``2025-01-06T00:00:01.000002Z``.
    :param source: ``receiver/<account>``.
    :param body: the JSON text as sent (key order, repeated keys and every digit preserved), or the text of a
        body that is not JSON.
    :param body_base64: replaces ``body`` if the bytes are not UTF-8, or are damaged gzip.
    """

    received_at: str
    source: str
    headers: dict[str, str]
    body: msgspec.Raw | str | msgspec.UnsetType = msgspec.UNSET
    body_base64: str | msgspec.UnsetType = msgspec.UNSET


def file_name(received_at: datetime, rng: random.Random) -> str:
    """Return a unique name that sorts by arrival and contains nothing of the input."""
    return f"{received_at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{rng.getrandbits(64):016x}.json"


def kept_headers(headers: Mapping[str, str], *, without: frozenset[str]) -> dict[str, str]:
    """Return the harmless headers, each cut after 1,000 characters.

    :param headers: names in lower case.
    :param without: names that carry a secret or a signature in this configuration.
    """
    return {
        name: headers[name][:_LONGEST_HEADER]
        for name in KEPT_HEADERS
        if name in headers and name not in without
    }


def sealed(received_at: datetime, account: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return the file's bytes for a body of any content; always valid JSON.

    A body counts as JSON if the inbox's parser can read it.
    """
    moment = received_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    envelope = Envelope(moment, f"receiver/{account}", headers, *_told(body))
    return _encoder.encode(envelope)


def sealed_as_sent(received_at: datetime, account: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return the file's bytes for gzip that cannot be decompressed: base64, with its coding named."""
    moment = received_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    headers = {**headers, "content-encoding": "gzip"}
    text = base64.b64encode(body).decode("ascii")
    return _encoder.encode(Envelope(moment, f"receiver/{account}", headers, body_base64=text))


def _told(body: bytes) -> tuple[msgspec.Raw | str | msgspec.UnsetType, str | msgspec.UnsetType]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return msgspec.UNSET, base64.b64encode(body).decode("ascii")
    # A byte order mark is not part of a JSON value, and would make the file invalid.
    value = body.removeprefix(_BOM).strip(_WHITE_SPACE)
    try:
        _raw.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return text, msgspec.UNSET
    return msgspec.Raw(value), msgspec.UNSET
