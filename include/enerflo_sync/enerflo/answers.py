"""Check an answer before anyone uses it: the body is complete, is JSON, and is not a hidden refusal.

The first byte of a 200 decides what the body holds. The content type is ignored: PHP often labels JSON as
HTML, and Enerflo sends HTML where JSON was requested (REFERENCE.md §2, §12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from enerflo_sync.enerflo.failures import PermissionRefusedError, VendorRefusedError
from enerflo_sync.enerflo.retry import Fault
from enerflo_sync.errors import BadRecordError, ContractDriftError
from enerflo_sync.json_parts import end_of_value, nests_too_deep

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_BLANK_CONTROLS = bytes.maketrans(bytes(range(32)), b" " * 32)
_REFUSAL_WORDS = (b"permi", b"denied", b"unauthor", b"forbidden", b"not allowed")


class UnreadableBodyError(Exception):
    """A 200 whose body cannot be used; the client decides whether to retry.

    :param fault: TRUNCATED or NOT_JSON.
    :param what: what the body is instead; never quotes its content.
    """

    def __init__(self, fault: Fault, what: str) -> None:
        super().__init__(fault, what)
        self.fault = fault
        self.what = what


class _Head(msgspec.Struct):
    success: object = None


_object_head = msgspec.json.Decoder(_Head)
_any_json = msgspec.json.Decoder(msgspec.Raw)


def checked_body(body: bytes) -> bytes:
    """Return ``body`` if it is one complete JSON value without ``"success": false``."""
    if body[:1] == b"{":
        refuse_if_unsuccessful(_object_head.decode(body).success)
    else:
        _any_json.decode(body)
    return body


def refuse_if_unsuccessful(success: object) -> None:
    """Raise if ``success`` means failure: ``false``, 0 or their text forms.

    :raises VendorRefusedError: ``success`` means failure.
    """
    if success is False or success == 0 or (isinstance(success, str) and success.lower() in ("false", "0")):
        raise VendorRefusedError(
            "Enerflo answered 200 with success: false.",
            next_step="Check the request's ids and what the key may see; repeating it does not help.",
        )


def decode_answer(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Return ``decode`` of a body that starts like a JSON object or array.

    A raw control character inside a text (a NUL typed into a note) is invalid JSON. Each one is read as a
    space, so that one record does not cost the whole page.

    :param decode: parses the body once; raises msgspec's errors.
    :raises UnreadableBodyError: the body is cut off, HTML, or not JSON.
    :raises VendorRefusedError: a bare string (:class:`PermissionRefusedError` where it says so), or
        ``success: false``.
    :raises ContractDriftError: the JSON has a form that ``decode`` does not know.
    :raises BadRecordError: JSON that is nested too deep to be read.
    """
    body = body.removeprefix(_BOM)
    first = body[:64].lstrip()[:1]
    if first in (b"{", b"["):
        if body[:1] != first:
            body = body.lstrip()
    else:
        _reject(body, first)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise _drift(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if "truncated" in str(error) and not _is_whole(body):
            raise UnreadableBodyError(Fault.TRUNCATED, "a body that is cut off") from None
    try:
        return decode(without_controls(body))
    except msgspec.ValidationError as error:
        raise _drift(error) from None
    except RecursionError:
        raise BadRecordError("nested_too_deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableBodyError(Fault.NOT_JSON, "a body that is not valid JSON") from None


def without_controls(body: bytes) -> bytes:
    """Return ``body`` with its raw control characters, which JSON forbids within text, replaced by spaces."""
    return body.translate(_BLANK_CONTROLS)


def written_body(body: bytes) -> bytes:
    """Return the body of a write's answer, even if it is empty or plain text; raise if it is a refusal.

    Enerflo does not document its answers to most writes (REFERENCE.md §14). So only known faults raise:
    HTML, JSON that is cut off, ``success: false``, a text that denies access.

    :raises UnreadableBodyError: the body does not tell whether the write was applied.
    :raises VendorRefusedError: the body is a refusal.
    """
    first = body.removeprefix(_BOM)[:64].lstrip()[:1]
    if first in (b"{", b"[", b"<"):
        try:
            return decode_answer(body, _checked_write)
        except BadRecordError:
            raise UnreadableBodyError(Fault.NOT_JSON, "a body that is nested too deep") from None
    if any(word in body[:200].lower() for word in _REFUSAL_WORDS):
        _reject(body, first)
    return body


def _checked_write(body: bytes) -> bytes:
    if nests_too_deep(body):
        raise BadRecordError("nested_too_deep")
    return checked_body(body)


def _is_whole(body: bytes) -> bool:
    """Return whether the body's brackets balance; half a character inside a text also counts as cut off."""
    try:
        return not body[end_of_value(body, 0) :].strip()
    except BadRecordError:
        return False


def _drift(error: msgspec.ValidationError) -> ContractDriftError:
    # msgspec's text names types and a path, never values of the body.
    return ContractDriftError(
        f"the answer has another form than this version knows: {error}.",
        next_step="Compare it with REFERENCE.md §3 and update the client.",
    )


def _reject(body: bytes, first: bytes) -> None:
    text = body.strip()
    if not text:
        raise UnreadableBodyError(Fault.TRUNCATED, "an empty body")
    if first == b"<":
        raise UnreadableBodyError(Fault.NOT_JSON, "an HTML page")
    if text in (b"null", b"true", b"false") or not (first == b'"' or first.isalpha()):
        raise UnreadableBodyError(Fault.NOT_JSON, "neither an object nor a list")
    lowered = text[:200].lower()
    if any(word in lowered for word in _REFUSAL_WORDS):
        raise PermissionRefusedError(
            "Enerflo answered 200 with a text that refuses access.",
            next_step="Give the key's user the permission for this endpoint in Enerflo.",
        )
    raise VendorRefusedError(
        "Enerflo answered 200 with a bare text instead of JSON.",
        next_step="Check the request's ids and what the key may do; repeating it does not help.",
    )


# The vendor's window is one minute (REFERENCE.md §2), so no answer may stop requests for longer than this.
MOST_SECONDS = 3_600.0
_MOST_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class LimitNews:
    """An answer's headers about the request limit (REFERENCE.md §2).

    :param retry_after: seconds from now, an hour at most.
    :param reset_at: end of the vendor's window by the local clock; within an hour.
    """

    limit: int | None
    remaining: int | None
    reset_at: datetime | None
    retry_after: float | None


def limit_news(headers: Mapping[str, str], now: datetime) -> LimitNews:
    """Return what ``headers`` say about the limit; an absent or unreadable value is None.

    Absolute times (``x-ratelimit-reset`` as epoch seconds, ``retry-after`` as an HTTP date) count relative to
    the answer's own ``date`` if it has one, so that a difference between the clocks does not change a wait.

    :param headers: the answer's headers, names in any case.
    :param now: the present by the local clock.
    """
    server_now = _http_date(headers.get("date")) or now
    reset = _integer(headers.get("x-ratelimit-reset"))
    reset_in = None
    if reset is not None and 0 < reset < 1 << 33:
        reset_in = min(max(0.0, reset - server_now.timestamp()), MOST_SECONDS)
    return LimitNews(
        limit=_count(headers.get("x-ratelimit-limit")),
        remaining=_count(headers.get("x-ratelimit-remaining")),
        reset_at=None if reset_in is None else now + timedelta(seconds=reset_in),
        retry_after=_retry_after(headers.get("retry-after"), server_now),
    )


def clock_ahead(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return by how much the server's clock is ahead of ``now``, to a second; None if it does not tell."""
    there = _http_date(headers.get("date"))
    # The header leaves out the part of the second.
    return None if there is None else there + timedelta(seconds=0.5) - now


def _retry_after(value: str | None, server_now: datetime) -> float | None:
    seconds = _integer(value)
    if seconds is not None:
        return min(float(seconds), MOST_SECONDS)
    moment = _http_date(value)
    return None if moment is None else min(max(0.0, (moment - server_now).total_seconds()), MOST_SECONDS)


def _count(value: str | None) -> int | None:
    """Return a number of requests; None if the value cannot be a limit."""
    found = _integer(value)
    return found if found is not None and found <= _MOST_REQUESTS else None


def _integer(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _http_date(value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        return None
