"""Where the parts of a JSON text begin and end, by brackets and strings alone: nothing is decoded.

For texts that a decoder refuses as a whole because of one part: every other part can still be read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from enerflo_sync.errors import BadRecordError

# Real payloads nest about ten deep.
MOST_LEVELS = 64

# Brackets and commas outside of strings; an unfinished string is passed over to the end.
_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")


def elements(data: bytes, begin: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of an array one by one, as text, each with its position.

    :param begin: a place at or before the array's bracket.
    :param stop: where the array ends; the end of ``data`` where None.
    :raises BadRecordError: the array is cut off, or it is none; what could be told apart was yielded before.
    """
    stop = len(data) if stop is None else stop
    at = after_space(data, data.index(b"[", begin) + 1)
    for position in itertools.count():
        if data[at : at + 1] == b"]":
            break
        end = end_of_value(data, at)
        yield position, data[at:end]
        at = after_space(data, end)
        if data[at : at + 1] == b",":
            at = after_space(data, at + 1)
        elif data[at : at + 1] != b"]":
            raise BadRecordError("truncated_json" if at >= len(data) else "not_json")
    if data[at + 1 : stop].strip():
        raise BadRecordError("not_json")


def members(data: bytes, begin: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Yield the members of an object: name as it is spelled, and where the value begins and ends.

    :param begin: the place of the object's bracket.
    :raises BadRecordError: the object is cut off, or it is none.
    """
    at = after_space(data, begin + 1)
    while data[at : at + 1] != b"}":
        name = _STRING.match(data, at)
        colon = after_space(data, name.end()) if name else len(data)
        if name is None or data[colon : colon + 1] != b":":
            raise BadRecordError("truncated_json" if at >= len(data) else "not_json")
        at = after_space(data, colon + 1)
        end = end_of_value(data, at)
        yield name[1], at, end
        at = after_space(data, end)
        if data[at : at + 1] == b",":
            at = after_space(data, at + 1)
        elif data[at : at + 1] != b"}":
            raise BadRecordError("truncated_json" if at >= len(data) else "not_json")


def after_space(data: bytes, at: int) -> int:
    """Return the next place at or after ``at`` that holds no white space."""
    found = _SPACE.match(data, at)
    return found.end() if found else at


def end_of_value(data: bytes, at: int) -> int:
    """Return where the value that begins at ``at`` ends.

    :raises BadRecordError: it does not end.
    """
    depth = deepest = 0
    for mark in _MARKS.finditer(data, at):
        match mark[0][:1]:
            case b"{" | b"[":
                depth += 1
                deepest = max(deepest, depth)
            case b"}" | b"]" | b"," if depth == 0:
                return mark.start()
            case b"}" | b"]":
                depth -= 1
                if depth == 0:
                    return mark.end()
    raise BadRecordError("nested_too_deep" if deepest > MOST_LEVELS else "truncated_json")


def nests_too_deep(data: bytes) -> bool:
    """Return whether more than ``MOST_LEVELS`` arrays and objects lie in each other; the JSON may be cut off.

    The decoder's own limit is Python's: 1,000 levels in 3.11, 10,000 in 3.13.
    """
    if data.count(b"{") + data.count(b"[") <= MOST_LEVELS:
        return False
    opened = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
    steps = (opened.get(mark[0], 0) for mark in _MARKS.finditer(data))
    return any(depth > MOST_LEVELS for depth in itertools.accumulate(steps))
