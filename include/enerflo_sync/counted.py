"""Numbers as a person reads them, alone and with what they count."""

from __future__ import annotations


def number(value: int) -> str:
    """Return ``value`` with a comma between thousands: ``4,310``."""
    return f"{value:,}"


def count_of(value: int, noun: str, nouns: str | None = None) -> str:
    """Return the number with its noun, in the plural where it has to be: ``1 row``, ``4,310 rows``.

    :param nouns: the plural, where it is not the noun with an s: ``entries``.
    """
    return f"{number(value)} {noun if value == 1 else nouns or f'{noun}s'}"
