"""Personal data leaves the warehouse only masked, unless a person asks for it by name."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class PersonalData(StrEnum):
    """The class of personal data that a field holds (``personal_data`` in sync.yaml)."""

    NONE = "none"
    NAME = "name"
    EMAIL = "email"
    PHONE = "phone"
    ADDRESS = "address"
    FREE_TEXT = "free_text"


def shape(value: str, limit: int = 20) -> str:
    """Return the form of a text, and nothing of what it says: ``A9-99`` of ``B7-42``; long texts are cut."""
    kinds = (
        "9" if one.isdigit() else one if not one.isalpha() else "A" if one.isupper() else "a" for one in value
    )
    text = "".join(kinds)
    return text if len(text) <= limit else f"{text[:limit]}…"


def mask(value: Any, kind: PersonalData) -> Any:
    """Return ``value`` in a form that shows whether two values differ in shape, and not whom they name.

    Names keep their initials (``"J… D…"``), addresses of e-mail their last domain label, phones their last
    two digits, free text its length. ``None`` stays ``None``, since a missing value names nobody.
    """
    if value is None or kind is PersonalData.NONE:
        return value
    text = str(value)
    match kind:
        case PersonalData.NAME:
            return " ".join(f"{word[0]}…" for word in text.split()) or "…"
        case PersonalData.EMAIL:
            return f"…@….{text.rpartition('.')[2]}" if "@" in text else "…"
        case PersonalData.PHONE:
            digits = [character for character in text if character.isdigit()]
            return f"…{''.join(digits[-2:])}" if len(digits) > 4 else "…"
        case _:
            return f"[{len(text)} characters]"
