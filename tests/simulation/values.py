"""Values as they are compared, however either side writes them: written down a second time beside the engine."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

_NUMBERS = ("system_size_kw", "panel_count", "contract_amount")
_STATES = {"massachusetts": "ma", "texas": "tx"}

Row = dict[str, Any]


def plain(column: str, value: Any) -> Any:
    """Return a value as it is compared, however either side writes it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(microsecond=0)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value)).normalize() + 0
    text = str(value).strip()
    if column.endswith("_at"):
        return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
    if column in _NUMBERS or column.endswith("_id"):
        try:
            return Decimal(text).normalize() + 0
        except InvalidOperation:
            return text
    folded = text.casefold()
    if column == "mobile":
        return "".join(c for c in folded if c.isdigit())[-10:]
    if column == "state":
        return _STATES.get(folded, folded)
    if column == "zip":
        return folded.zfill(5)
    return folded or None


def as_it_stands(value: Any) -> Any:
    """Return an id as a number where it is written as one; another spelling is another id."""
    number = whole(value)
    return number if str(number) == value else value


def number_in(value: Any) -> str | None:
    """Return the number that an id has, whatever stands around it."""
    found = re.search("[1-9][0-9]*", str(value))
    return None if found is None else found[0]


def whole(value: Any) -> Any:
    """Return an id as a number, whatever the column's type is."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value
