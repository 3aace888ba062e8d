"""Unpacking gzip of strangers: within bounds of bytes and of members, each found without unpacking more."""

from __future__ import annotations

import zlib

from enerflo_sync.errors import BadRecordError

# A gateway may join a few; each costs a decompressor, and a member of nothing has 20 bytes.
MOST_MEMBERS = 64


def gunzip(packed: bytes, most: int) -> bytes:
    """Return what is in all members of a gzip.

    :param most: bytes that may be in it.
    :raises BadRecordError: ``too_large_unpacked``, ``too_many_gzip_members``, ``truncated_gzip`` or
        ``damaged_gzip``.
    """
    parts: list[bytes] = []
    size = 0
    rest = packed
    for _ in range(MOST_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(rest, most - size + 1)
        except zlib.error:
            raise BadRecordError("damaged_gzip") from None
        size += len(part)
        if size > most:
            raise BadRecordError("too_large_unpacked")
        if not stream.eof:
            raise BadRecordError("truncated_gzip")
        parts.append(part)
        # Some writers pad with zeros.
        rest = stream.unused_data.lstrip(b"\0")
        if not rest:
            return b"".join(parts)
    raise BadRecordError("too_many_gzip_members")
