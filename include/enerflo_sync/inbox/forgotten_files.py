"""Archived files without the personal data of forgotten customers; all other bytes stay unchanged."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.inbox.envelope import is_envelope, received_at_of, unwrapped
from enerflo_sync.inbox.forgotten_events import erased_body, is_about
from enerflo_sync.inbox.json_text import canonical_json, decode_json
from enerflo_sync.inbox.submission import ERASED
from enerflo_sync.inbox.unpack import GZIP, plain, split
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.resources.event import Body
from enerflo_sync.resources.fingerprint import without_nul

# Replaces a part that is not an event. It is not an event either, and keeps the positions of later parts.
_NO_EVENT = b"[]"
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Theirs:
    """The signs by which a part of a file belongs to a forgotten customer.

    :param ignored: event names that the account ignores.
    :param values: a part with one of these values is theirs, unless it is an event of which ``of_another``
        says that it names another customer.
    """

    forgotten: Forgotten
    ignored: Collection[str]
    values: Sequence[bytes] = ()
    of_another: Callable[[Body], bool] = lambda _: False

    def owns(self, body: Body) -> bool:
        """Return whether an event is about a forgotten customer and still has personal data."""
        if ERASED in body:
            return False
        if is_about(body, self.forgotten, self.ignored):
            return True
        return self.holds(canonical_json(body)) and not self.of_another(body)

    def holds(self, text: bytes) -> bool:
        """Return whether a text contains one of their values."""
        return any(value in text for value in self.values)

    def in_file(self, data: bytes) -> bool:
        """Return whether a file, possibly compressed, contains one of their values; in small pieces."""
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


@dataclass(frozen=True)
class TheirsTogether(Theirs):
    """The signs of several forgotten customers, whose files are read once for all of them.

    A part is theirs if it is one customer's by that customer's own signs; the signs of all together only
    spare asking for each.

    :param each: the signs of each customer.
    :param files: the number of files with data of a customer, by the position in ``each``.
    """

    each: Sequence[Theirs] = ()
    files: Counter[int] = field(default_factory=Counter)
    _in_file: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, each: Sequence[Theirs]) -> TheirsTogether:
        """Return the signs of customers together."""
        known = [one.forgotten for one in each]
        forgotten = Forgotten(
            frozenset[int]().union(*(one.customers for one in known)),
            frozenset[int]().union(*(one.installs for one in known)),
            frozenset[str]().union(*(one.uuids for one in known)),
        )
        ignored = each[0].ignored if each else ()
        return cls(forgotten, ignored, sorted({value for one in each for value in one.values}), each=each)

    def owns(self, body: Body) -> bool:
        """Return whether an event is about one of the customers and still has personal data."""
        if ERASED in body:
            return False
        named = is_about(body, self.forgotten, self.ignored)
        if not named and not super().holds(canonical_json(body)):
            return False
        return self._noted(one.owns(body) for one in self.each)

    def holds(self, text: bytes) -> bool:
        """Return whether a text contains a value of one of the customers."""
        return super().holds(text) and self._noted(one.holds(text) for one in self.each)

    def _noted(self, answers: Iterable[bool]) -> bool:
        found = {position for position, answer in enumerate(answers) if answer}
        self._in_file.update(found)
        return bool(found)

    def count(self, had_some: bool) -> None:
        """Count a file for those whose data it had."""
        if had_some:
            self.files.update(self._in_file)
        self._in_file.clear()


def erased_file(data: bytes, theirs: Theirs, *, most_file: int, most_event: int) -> bytes | None:
    """Return an archived file without the data of forgotten customers; None if it is about none of them.

    Every part keeps its position, and other customers' parts keep their bytes. A part of theirs that is not
    an event becomes an empty array. If the file has no other part, the result is empty.
    """
    try:
        text = plain(data, most_file)
    except Exception:
        # Its parts cannot be separated.
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
        # The rest after the last separable part belongs to them if the part before it does.
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
    """Return the replacement of a part of a file; None if it stays."""
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
    """Return None for a part that is theirs and is not an event."""
    if isinstance(item, dict):
        return None if theirs.owns(item) else item
    return None if theirs.holds(canonical_json(item)) else item
