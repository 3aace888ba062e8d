"""Envelopes: what a receiver or a gateway adds around an event (docs/webhooks.md)."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError
from enerflo_sync.inbox.json_text import decode_json
from enerflo_sync.resources.fingerprint import without_nul

_ENVELOPE = frozenset({"received_at", "headers", "isBase64Encoded", "requestContext", "source"})
_EVENT_NAMES = frozenset({"webhook_event", "event"})


def is_envelope(value: dict[str, Any]) -> bool:
    """Return whether an object is an envelope around an event, and not an event itself."""
    has_body = "body" in value or "body_base64" in value
    return has_body and not _ENVELOPE.isdisjoint(value) and _EVENT_NAMES.isdisjoint(value)


def unwrapped(envelope: dict[str, Any]) -> Any:
    """Return the body in an envelope: unchanged, or decoded if it is text (an API gateway's form)."""
    body = envelope.get("body", envelope.get("body_base64"))
    if "body" not in envelope or envelope.get("isBase64Encoded") is True:
        if not isinstance(body, str):
            raise BadRecordError("body_not_base64")
        try:
            return decode_json(without_nul(base64.b64decode(body, validate=True)))[0]
        except ValueError:
            raise BadRecordError("body_not_base64") from None
    if isinstance(body, str):
        if not body.strip():
            raise BadRecordError("empty_body")
        return decode_json(without_nul(body.encode("utf-8", "surrogatepass")))[0]
    return body


def received_at_of(envelope: dict[str, Any]) -> datetime | None:
    """Return the arrival time in an envelope; None if it is absent or invalid."""
    context = envelope.get("requestContext")
    epoch = context.get("timeEpoch", context.get("requestTimeEpoch")) if isinstance(context, dict) else None
    for value in (envelope.get("received_at"), epoch):
        try:
            moment = parse_time(value)
        except BadRecordError:
            continue
        if moment is not None:
            return moment
    return None
