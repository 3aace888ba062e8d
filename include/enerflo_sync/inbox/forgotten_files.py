"""Archived files without personal data of who was forgotten: their parts change, every other byte stays."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from enerflo_sync.inbox.envelope import is_envelope, received_at_of, unwrapped
from enerflo_sync.inbox.forgotten_events import erased_body, is_about
from enerflo_sync.inbox.json_text import canonical_json, decode_json
from enerflo_sync.inbox.submission import ERASED
from enerflo_sync.inbox.unpack import GZIP, plain, split
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.resources.event import Body
from enerflo_sync.resources.fingerprint import without_nul

# Stands for a part that is no event: it is none either, and the parts after it keep their positions.
_NO_EVENT = b"[]"
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Theirs:
    """How a part of a file is known to be of somebody who was forgotten.

    :param ignored: event names that the account ignores.
    :param values: what holds one of these is theirs, unless it is an event of which ``of_another`` says that
        it names somebody else.
    """

    forgotten: Forgotten
    ignored: Collection[str]
    values: Sequence[bytes] = ()
    of_another: Callable[[Body], bool] = lambda _: False

    def owns(self, body: Body) -> bool:
        """Return whether an event is theirs, and not without personal data yet."""
        if ERASED in body:
            return False
        if is_about(body, self.forgotten, self.ignored):
            return True
        return self.holds(canonical_json(body)) and not self.of_another(body)

    def holds(self, text: bytes) -> bool:
        """Return whether a text holds one of their values."""
        return any(value in text for value in self.values)

    def in_file(self, data: bytes) -> bool:
        """Return whether a file holds one of their values, also a packed one; it is unpacked bit by bit."""
        if data[:2] != GZIP:
            return self.holds(data)
        longest, before = max(map(len, self.values), default=0), b""
        packed = data
        while packed:
            unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                while not unpacking.eof and (some := unpacking.decompress(packed, _AT_ONCE)):
                    packed = unpacking.unconsumed_tail
                    if self.holds(before + some):
                        return True
                    before = some[-longest:]
            except zlib.error:
                return False
            packed = unpacking.unused_data
        return False


def erased_file(data: bytes, theirs: Theirs, *, most_file: int, most_event: int) -> bytes | None:
    """Return an archived file without personal data of who was forgotten; None if it is about none of them.

    Every part keeps its position, and the bytes of other people's parts stay as they are. A part that is no
    event becomes an empty array if it is theirs. Nothing is returned of a file in which nothing else is.
    """
    try:
        text = plain(data, most_file)
    except Exception:
        # Nobody can tell its parts.
        return b"" if theirs.in_file(data) else None
    made: list[bytes] = []
    at = done = kept = 0
    try:
        for _, part in split(text):
            at = text.index(part, at)
            new = _erased_part(part, theirs, most_event)
            kept += new != _NO_EVENT
            if new is not None:
                made += [text[done:at], new]
                done = at + len(part)
            at += len(part)
    except Exception:
        # What follows the last part that can be told apart. It is theirs if the part before is.
        if made or theirs.holds(text[at:]):
            made.append(text[done:at])
            done = len(text)
        else:
            kept += 1
    if not made:
        return None
    if not kept:
        return b""
    made.append(text[done:])
    whole = b"".join(made)
    return gzip.compress(whole, mtime=0) if data[:2] == GZIP else whole


def _erased_part(part: bytes, theirs: Theirs, most_event: int) -> bytes | None:
    """Return what takes the place of a part of a file; None if it stays."""
    try:
        value = decode_json(without_nul(part))[0]
        envelope = isinstance(value, dict) and is_envelope(value)
        body = unwrapped(value) if envelope else value
    except Exception:
        return _NO_EVENT if theirs.holds(part) else None
    items = body if isinstance(body, list) else [body]
    found = [_erased_item(item, theirs) if len(part) <= most_event else _gone(item, theirs) for item in items]
    if all(new is item for new, item in zip(found, items, strict=True)):
        return None
    if all(new is None for new in found):
        return _NO_EVENT
    whole: Any = found if isinstance(body, list) else found[0]
    if envelope:
        received_at = received_at_of(value)
        whole = {"received_at": received_at and received_at.isoformat(), "body": whole}
    return canonical_json(whole)


def _erased_item(item: Any, theirs: Theirs) -> Any:
    if not isinstance(item, dict):
        return _gone(item, theirs)
    return erased_body(item) if theirs.owns(item) else item


def _gone(item: Any, theirs: Theirs) -> Any:
    """Return None for what is theirs, and no event that is read."""
    if isinstance(item, dict):
        return None if theirs.owns(item) else item
    return None if theirs.holds(canonical_json(item)) else item
