"""The body of a post: accepted kinds, reading and decompression within a limit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

from enerflo_sync.errors import BadRecordError
from enerflo_sync.gzip_parts import MOST_MEMBERS, gunzip
from enerflo_sync.receiver.outcomes import PostOutcome, RefusedError

_TAKEN = re.compile(r"application/([a-z0-9!#$&^_.+-]+\+)?json|text/plain")
_GZIP = frozenset({"gzip", "x-gzip"})


def check_headers(headers: Mapping[str, str], limit: int) -> None:
    """Refuse a post by its headers alone, before reading any of its body.

    :param headers: names in lower case.
    :param limit: maximum bytes of a body.
    :raises RefusedError: the content type or coding is not accepted, or the length exceeds the limit.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not _TAKEN.fullmatch(kind):
        raise RefusedError(
            PostOutcome.UNSUPPORTED, "Send application/json, application/*+json or text/plain."
        )
    if _coding(headers) not in _GZIP | {"", "identity"}:
        raise RefusedError(PostOutcome.UNSUPPORTED, "The only content-encoding taken is gzip.")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


async def read_body(chunks: AsyncIterator[bytes], limit: int, seconds: float) -> bytes:
    """Return the body as sent, holding at most the limit and one chunk in memory.

    :param seconds: maximum duration for the whole body.
    :raises RefusedError: the body exceeds ``limit`` bytes, is empty, or arrives too slowly.
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
        raise RefusedError(PostOutcome.TOO_SLOW, f"The body took longer than {seconds:g} seconds.") from None
    if not size:
        raise RefusedError(PostOutcome.EMPTY, "The body is empty.")
    return b"".join(parts)


def is_packed(headers: Mapping[str, str]) -> bool:
    """Return whether the headers declare gzip."""
    return _coding(headers) in _GZIP


def unpacked(packed: bytes, limit: int) -> bytes | None:
    """Return the decompressed body, or None for damaged gzip, which is stored as sent.

    :raises RefusedError: the content exceeds ``limit`` bytes (detected without decompressing more), has too
        many members, or is empty.
    """
    try:
        plain = gunzip(packed, limit)
    except BadRecordError as error:
        if error.what == "too_large_unpacked":
            raise _too_large(limit) from None
        if error.what == "too_many_gzip_members":
            raise RefusedError(
                PostOutcome.TOO_LARGE, f"The body has more than {MOST_MEMBERS} gzip members."
            ) from None
        return None
    if not plain:
        raise RefusedError(PostOutcome.EMPTY, "The body is empty.")
    return plain


def _coding(headers: Mapping[str, str]) -> str:
    return headers.get("content-encoding", "").strip().lower()


def _too_large(limit: int) -> RefusedError:
    return RefusedError(PostOutcome.TOO_LARGE, f"The body is larger than {limit} bytes.")
