"""Read one field of a vendor record: normalise the vendor's empty values, and refuse implausible values.

Enerflo is a PHP application: it sends numbers as text, an empty object as ``[]``, and a missing one as
``""``. Every reader returns ``None`` for an empty value, and raises :class:`BadRecordError` with the field's
path if the value cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from enerflo_sync.enerflo.times import time_text
from enerflo_sync.errors import BadRecordError

BIGINT = 2**63 - 1
INTEGER = 2**31 - 1
TEXT_LIMIT = 1_000_000

Record = Mapping[str, Any]

# Both Python and PostgreSQL read such text as the same number; its length is harmless for both.
_NUMBER_TEXT = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?")


def nested(record: Record, name: str) -> Record:
    """Return the object at ``name``; an empty one if the value is missing, ``[]`` or ``""``."""
    value = record.get(name)
    if type(value) is dict:
        return value
    if value is None or value == [] or value == "":
        return {}
    raise BadRecordError("expected_object", field=name)


def rows(record: Record, name: str) -> list[Record]:
    """Return the list of objects at ``name``; an object keyed by id counts as the list of its values."""
    value = record.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRecordError("expected_list_of_objects", field=name)
    return value


def text(record: Record, name: str, *, limit: int = TEXT_LIMIT) -> str | None:
    """Return text; numbers become text. A text longer than ``limit`` characters is refused."""
    value = record.get(name)
    if type(value) is str and len(value) <= limit:
        return value or None
    if value is None or value == []:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRecordError("expected_text", field=name)
    value = str(value)
    if "e" in value and type(record.get(name)) is float:
        # As jsonb has it, from which a stored version is read again.
        value = format(Decimal(value), "f")
    if len(value) > limit:
        raise BadRecordError("text_too_long", field=name)
    return value or None


def integer(record: Record, name: str, *, low: int = 0, high: int = BIGINT) -> int | None:
    """Return a whole number between ``low`` and ``high``; ``"12"`` and ``12.0`` are accepted."""
    value = record.get(name)
    if type(value) is int and low <= value <= high:
        return value
    if value is None or value == "" or value == []:
        return None
    if type(value) is not int:
        spelled = str(value).strip() if isinstance(value, str | float) else ""
        number = Decimal(spelled) if _NUMBER_TEXT.fullmatch(spelled) else None
        if number is None or number != number.to_integral_value():
            raise BadRecordError("expected_whole_number", field=name)
        value = int(number)
    if not low <= value <= high:
        raise BadRecordError("number_out_of_range", field=name)
    return int(value)


def identity(record: Record, name: str) -> int:
    """Return the record's own id: a whole number from 1 to 2^63 - 1.

    :raises BadRecordError: it is missing or not such a number.
    """
    found = integer(record, name, low=1)
    if found is None:
        raise BadRecordError("missing_id", field=name)
    return found


def number(record: Record, name: str, *, low: float, high: float) -> str | None:
    """Return a finite number between ``low`` and ``high`` as exact decimal text, ready for ``numeric``."""
    value = record.get(name)
    if (type(value) is float or type(value) is int) and low <= value <= high:
        return str(value)
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRecordError("expected_number", field=name)
    spelled = value.strip() if isinstance(value, str) else value
    if isinstance(spelled, str) and not _NUMBER_TEXT.fullmatch(spelled):
        raise BadRecordError("expected_number", field=name)
    # Compared as an integer, which may be larger than any float.
    if not low <= (float(spelled) if isinstance(spelled, str) else spelled) <= high:
        raise BadRecordError("number_out_of_range", field=name)
    return str(spelled)


def moment(record: Record, name: str, *others: str) -> str | None:
    """Return the time under the first of the names that has a value, as ISO text with its offset."""
    place = name
    try:
        found = time_text(record.get(name))
        for place in others if found is None else ():
            found = found or time_text(record.get(place))
    except BadRecordError as error:
        raise BadRecordError("not_a_time", field=place) from error
    return found


def first(*values: Any) -> Any:
    """Return the first value that is neither None nor a zero, since a zero means unset.

    Every spelling of zero counts as zero: ``0``, ``-0.0``, ``"0.00"``, ``"0e3"``.

    :param values: numbers, or number text from :func:`number`.
    """
    for value in values:
        if value is not None and not _is_zero(value):
            return value
    return next((value for value in values if value is not None), None)


def _is_zero(value: Any) -> bool:
    # The digits before the exponent decide: the text is valid here, and as a float it could underflow to
    # zero.
    return not value.lower().partition("e")[0].strip("+-0.") if isinstance(value, str) else value == 0
