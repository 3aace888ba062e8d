"""How texts of change orders and installs are compared: without case, one blank between words."""

from __future__ import annotations


def folded_sql(text: str) -> str:
    """Return a text as it is compared: without case, and with one blank between words."""
    return f"lower(regexp_replace(btrim({text}), '\\s+', ' ', 'g'))"


def alike_sql(one: str, two: str) -> str:
    """Return the condition that two texts are the same as compared; null where one of them is."""
    # Folding costs far more than comparing, and most are spelled alike.
    return f"({one} = {two} or {folded_sql(one)} = {folded_sql(two)})"
