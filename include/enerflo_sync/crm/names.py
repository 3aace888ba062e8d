"""Names of other people's tables and columns in a file and in SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^".]+)')


def relation(text: str) -> tuple[str, str]:
    """Return schema and table of ``schema.table``; a part that contains a dot must be in double quotes.

    Parts are taken letter by letter, as in the catalog: upper case is not folded.

    :raises ValueError: the text is not two names with a dot between them.
    """
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        parts.append(match["quoted"].replace('""', '"') if match["quoted"] else match["plain"].strip())
        position = match.end()
        if position == len(text) or text[position] != ".":
            break
        position += 1
    if position != len(text) or len(parts) != 2 or not all(parts):
        raise ValueError(text)
    return parts[0], parts[1]


# A plan quotes the same few hundred names thousands of times.
@lru_cache(maxsize=4096)
def quoted(*parts: str) -> str:
    """Return names as an SQL identifier for a statement with ``%(name)s`` parameters, always quoted."""
    return ".".join('"' + part.replace('"', '""').replace("%", "%%") + '"' for part in parts)


def pasted(*parts: str) -> str:
    """Return names as an SQL identifier for a person to paste into a client that has no parameters."""
    return quoted(*parts).replace("%%", "%")


def literal(text: str) -> str:
    """Return text as an SQL literal for a statement with ``%(name)s`` parameters."""
    body = text.replace("'", "''").replace("%", "%%")
    return "E'" + body.replace("\\", "\\\\") + "'" if "\\" in body else f"'{body}'"


def jsonb_object(values: Iterable[tuple[str, str]]) -> str:
    """Return the expression of one jsonb object from names and SQL expressions, of any number."""
    pairs = [f"{literal(name)}, {value}" for name, value in values]
    # A PostgreSQL function accepts at most 100 arguments.
    parts = [pairs[at : at + 50] for at in range(0, len(pairs), 50)] or [[]]
    objects = [f"jsonb_build_object({', '.join(part)})" for part in parts]
    return objects[0] if len(objects) == 1 else f"({' || '.join(objects)})"
