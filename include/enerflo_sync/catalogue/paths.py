"""The paths of one record: the location and kind of each value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError

Path = tuple[str, ...]

# Maximum depth: the mirror reads no deeper either.
DEEPEST = 20
_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
_EXAMPLE = 24
_LOOKS_LIKE_A_TIME = re.compile(r"\d{4}-\d\d-\d\d")


def leaves(record: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every path to a value, with the value; for a list, the paths of its first item.

    Empty lists and objects count as values, since nothing is below them.
    """
    if isinstance(record, dict) and record and len(path) < DEEPEST:
        for name, value in record.items():
            yield from leaves(value, (*path, name))
    elif isinstance(record, list) and record and len(path) < DEEPEST:
        yield from leaves(record[0], (*path, "0"))
    else:
        yield path, record


def kind_of(value: Any) -> str:
    """Return the kind of a value: the type that a declared column for it would have, or ``nothing``."""
    match value:
        case None | "" | []:
            return "nothing"
        # The pattern {} would match every object.
        case dict() if not value:
            return "nothing"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return _kind_of_text(value)
        case _:
            return "json"


def _kind_of_text(value: str) -> str:
    if _LOOKS_LIKE_A_TIME.match(value):
        with suppress(BadRecordError):
            if parse_time(value) is not None:
                return "date" if len(value) == len("2026-11-27") else "timestamp"
    return "text"


def masked_example(value: Any) -> str:
    """Return the form of a value without its content: letters as ``a``, digits as ``9``."""
    if isinstance(value, bool):
        return str(value).lower()
    text = _LETTER.sub("a", _DIGIT.sub("9", str(value)))
    return text if len(text) <= _EXAMPLE else f"{text[: _EXAMPLE - 1]}…"


def value_at(record: Any, path: Path) -> Any:
    """Return the value at a path that :func:`leaves` yielded for a record of the same form."""
    for step in path:
        record = record[int(step)] if isinstance(record, list) else record[step]
    return record
