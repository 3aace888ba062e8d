"""The form that a lead's fields must have to be sent, and their conversion to it (REFERENCE.md §6.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enerflo_sync.crm.templates import filled
from enerflo_sync.enerflo.leads import REQUIRED
from enerflo_sync.errors import BadRecordError
from enerflo_sync.outbox.kept import is_respelled
from enerflo_sync.outbox.us_states import state_code

# The columns of a customer in the mirror that can be written; Enerflo's fields have the same names.
LEAD_FIELDS = (*REQUIRED, "email", "mobile")
# Only for these fields another spelling is the same value. A code, phone number or e-mail address must be
# equal.
_FREE_TEXTS = ("first_name", "last_name", "address", "city")

_EXTENSION = re.compile(r"(?:,|;|#|\bext(?:ension)?\b\.?|x)\s*\.?\s*\d{1,6}\s*$", re.IGNORECASE)
_PHONE = re.compile(r"[\d\s()+./-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_ZIP = re.compile(r"(\d{3,5})(?:-(\d{4}))?")
_LONG_ZIP = re.compile(r"\d{7,9}")
_ONE_COLUMN = re.compile(r"\{([^{}]*)\}")


def normalised(field: str, value: object) -> str | None:
    """Return a lead's field as it is sent; None if there is nothing to send.

    :raises ValueError: the value cannot be brought into the required form. The text does not contain the
        value.
    """
    text = _text(value)
    if text is None:
        return None
    found = _RULES[field](text) if field in _RULES else text
    if found is None:
        raise ValueError(field)
    return found


def comparable(field: str, value: object) -> str | None:
    """Return a field as :func:`normalised` does, or unchanged if it cannot be normalised."""
    try:
        return normalised(field, value)
    except ValueError:
        return _text(value)


def is_respelled_field(field: str, wanted: object, present: object, *, cut: bool = True) -> bool:
    """Return whether Enerflo's text is the sent text in another spelling.

    :param cut: whether a text counts that is only the beginning of the sent text.
    """
    sent = comparable(field, wanted)
    if field not in _FREE_TEXTS or sent is None or not isinstance(present, str):
        return False
    return is_respelled(sent, present, cut=cut)


def lead_body(values: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, object]:
    """Return the fields of a new lead in the form in which Enerflo accepts them.

    :param values: the CRM's values by field of :data:`LEAD_FIELDS`.
    :param columns: the CRM's name of each field, for the error text.
    :raises BadRecordError: fields are missing or unusable; the text names them and contains no value.
    """
    body: dict[str, object] = {}
    missing, unfit = [], []
    for field in LEAD_FIELDS:
        name = columns.get(field, field)
        try:
            found = normalised(field, values.get(field))
        except ValueError:
            unfit.append(name)
            continue
        if found is not None:
            body[field] = found
        elif field in REQUIRED:
            missing.append(name)
    if missing or unfit:
        texts = [
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("unusable", unfit))
            if names
        ]
        raise BadRecordError(f"the lead cannot be sent ({'; '.join(texts)}): correct it in the CRM.")
    return body


def typed(templates: str | Sequence[str], row: Mapping[str, Any]) -> Any:
    """Return the first value that templates make from a row; a template of one column keeps its type."""
    for template in [templates] if isinstance(templates, str) else templates:
        alone = _ONE_COLUMN.fullmatch(template)
        names = alone[1].split("|") if alone else []
        found = next((row[name] for name in names if row.get(name) is not None), None)
        found = filled(template, row) if found is None else found
        if found is not None:
            return found
    return None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _zip(text: str) -> str | None:
    """Return a ZIP code of 5 or 5+4 digits; leading zeros that a numeric column lost are restored."""
    short = _ZIP.fullmatch(text.replace(" ", ""))
    if short is not None:
        return short[1].zfill(5) + (f"-{short[2]}" if short[2] else "")
    if _LONG_ZIP.fullmatch(text):
        digits = text.zfill(9)
        return f"{digits[:5]}-{digits[5:]}"
    return None


def _phone(text: str) -> str | None:
    number = _EXTENSION.sub("", text)
    if _PHONE.fullmatch(number) is None:
        return None
    digits = re.sub(r"\D", "", number)
    if len(digits) == 11 and digits[0] == "1":
        digits = digits[1:]
    return digits if len(digits) == 10 else None


def _email(text: str) -> str | None:
    return text if _EMAIL.fullmatch(text) and len(text) <= 254 else None


_RULES: Mapping[str, Callable[[str], str | None]] = {
    "state": state_code,
    "zip": _zip,
    "mobile": _phone,
    "email": _email,
}
