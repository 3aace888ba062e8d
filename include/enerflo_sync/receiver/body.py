"""The body of a post: which kinds are taken, read and unpacked within a limit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

from enerflo_sync.errors import BadRecordError
from enerflo_sync.gzip_parts import MOST_MEMBERS, gunzip
from enerflo_sync.receiver.outcomes import Outcome, RefusedError

_TAKEN = re.compile(r"application/([a-z0-9!#$&^_.+-]+\+)?json|text/plain")
_GZIP = frozenset({"gzip", "x-gzip"})


def check_headers(headers: Mapping[str, str], limit: int) -> None:
    """Refuse a post by its headers alone, before any of its body is read.

    :param headers: names in small letters.
    :param limit: bytes that a body may have.
    :raises RefusedError: a content type or coding that is not taken, or a length over the limit.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not _TAKEN.fullmatch(kind):
        raise RefusedError(Outcome.UNSUPPORTED, "Send application/json, application/*+json or text/plain.")
    if _coding(headers) not in _GZIP | {"", "identity"}:
        raise RefusedError(Outcome.UNSUPPORTED, "The only content-encoding taken is gzip.")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


async def read_body(chunks: AsyncIterator[bytes], limit: int, seconds: float) -> bytes:
    """Return the body as sent, holding at no time more than the limit and one chunk.

    :param seconds: how long the whole of it may take.
    :raises RefusedError: it is larger than ``limit`` bytes, empty, or too slow.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                parts.append(chunk)
    except TimeoutError:
        raise RefusedError(Outcome.TOO_SLOW, f"The body took longer than {seconds:g} seconds.") from None
    if not size:
        raise RefusedError(Outcome.EMPTY, "The body is empty.")
    return b"".join(parts)


def is_packed(headers: Mapping[str, str]) -> bool:
    """Return whether the body says that it is gzip."""
    return _coding(headers) in _GZIP


def unpacked(packed: bytes, limit: int) -> bytes | None:
    """Return what is in the gzip, or None when it is damaged: then it is kept as it was sent.

    :raises RefusedError: there are more than ``limit`` bytes in it (found without unpacking more), more
        members than anybody needs, or nothing.
    """
    try:
        plain = gunzip(packed, limit)
    except BadRecordError as error:
        if error.what == "too_large_unpacked":
            raise _too_large(limit) from None
        if error.what == "too_many_gzip_members":
            raise RefusedError(
                Outcome.TOO_LARGE, f"The body has more than {MOST_MEMBERS} gzip members."
            ) from None
        return None
    if not plain:
        raise RefusedError(Outcome.EMPTY, "The body is empty.")
    return plain


def _coding(headers: Mapping[str, str]) -> str:
    return headers.get("content-encoding", "").strip().lower()


def _too_large(limit: int) -> RefusedError:
    return RefusedError(Outcome.TOO_LARGE, f"The body is larger than {limit} bytes.")
