"""Texts with ``{column}`` in them, which build a value from a row's other columns.

``{a|b}`` takes the first of several columns that is not null. If a column of a template is null, the template
gives no value: the value is left out, or the next template of a list is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from enerflo_sync.crm.names import literal

_HOLE = re.compile(r"\{([^{}]*)\}")
# A column may have blanks in its name, but not blanks alone.
_COLUMN = re.compile(r"[^|{}]*[^\s|{}][^|{}]*")


def columns_of(templates: str | Sequence[str]) -> list[str]:
    """Return the columns that templates name, each once, in order of appearance.

    :raises ValueError: a brace is left open, or holds no column.
    """
    found: dict[str, None] = {}
    for template in _listed(templates):
        rest = _HOLE.sub("", template)
        if "{" in rest or "}" in rest:
            raise ValueError("a brace without its other half")
        for names in _HOLE.findall(template):
            for name in names.split("|"):
                if not _COLUMN.fullmatch(name):
                    raise ValueError(f"{{{names}}} names no column")
                found[name] = None
    return list(found)


def checked(templates: str | list[str]) -> str | list[str]:
    """Return templates as they are, for a check of a configuration.

    :raises ValueError: what is expected instead of them.
    """
    try:
        columns_of(templates)
    except ValueError as error:
        raise ValueError(f"text with {{column}} in it, and not {error}") from None
    return templates


def checked_column(name: str) -> str:
    """Return a column's name as it is, for a check of a configuration: it becomes a template of its own.

    :raises ValueError: what is expected instead of it.
    """
    if not _COLUMN.fullmatch(name):
        raise ValueError("the name of a column alone, as in appointment_at, without braces")
    return name


def filled(templates: str | Sequence[str], row: Mapping[str, Any]) -> str | None:
    """Return the first template whose columns ``row`` fills, as text; None where it fills none."""
    return next((text for text in (_fill(one, row) for one in _listed(templates)) if text is not None), None)


def _fill(template: str, row: Mapping[str, Any]) -> str | None:
    pieces, at = [], 0
    for hole in _HOLE.finditer(template):
        value = next((row[name] for name in hole[1].split("|") if row.get(name) is not None), None)
        if value is None:
            return None
        pieces += [template[at : hole.start()], str(value)]
        at = hole.end()
    return "".join([*pieces, template[at:]])


def template_sql(templates: str | Sequence[str], column_text: Callable[[str], str]) -> str:
    """Return the value of :func:`filled` as an SQL expression of type text.

    :param column_text: the expression of a column as text.
    """
    options = [_concatenated(template, column_text) for template in _listed(templates)]
    return options[0] if len(options) == 1 else f"coalesce({', '.join(options)})"


def _concatenated(template: str, column_text: Callable[[str], str]) -> str:
    pieces, at = [], 0
    for hole in _HOLE.finditer(template):
        if hole.start() > at:
            pieces.append(literal(template[at : hole.start()]))
        names = [column_text(name) for name in hole[1].split("|")]
        pieces.append(names[0] if len(names) == 1 else f"coalesce({', '.join(names)})")
        at = hole.end()
    if at < len(template) or not pieces:
        pieces.append(literal(template[at:]))
    return f"({' || '.join(pieces)})::text"


def _listed(templates: str | Sequence[str]) -> Iterable[str]:
    return [templates] if isinstance(templates, str) else templates
